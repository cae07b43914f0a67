/// Takes small values off an input; what is not there reads as zero.
struct FuzzInput {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    var isEmpty: Bool { rest.isEmpty }
    var remaining: [UInt8] { Array(rest) }

    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    mutating func number() -> UInt64 { (0..<8).reduce(0) { result, _ in result << 8 | UInt64(byte()) } }

    mutating func bytes(_ count: Int) -> [UInt8] {
        let taken = rest.prefix(count)
        rest = rest.dropFirst(count)
        return Array(taken)
    }

    /// A block behind its length of two bytes.
    mutating func block() -> [UInt8] { bytes(Int(byte()) << 8 | Int(byte())) }
}

/// An input as a generator: the fuzzer chooses every draw; when the input is used up, a counter goes on so that no loop waits for ever.
struct FuzzRandom: RandomNumberGenerator {
    private var input: FuzzInput
    private var counter: UInt64 = 0

    init(_ input: FuzzInput) { self.input = input }

    var isEmpty: Bool { input.isEmpty }

    mutating func next() -> UInt64 {
        if input.isEmpty {
            counter &+= 1
            return counter
        }
        // Most draws choose among a few cases: one byte spread over the word, or now and then a whole word.
        let first = input.byte()
        return first == 0xFF ? input.number() : UInt64(first) &* 0x0101_0101_0101_0101
    }
}

/// Stops the run: libFuzzer keeps the input.
func require(_ condition: @autoclosure () -> Bool, _ message: @autoclosure () -> String = "") {
    if !condition() { fatalError("fuzz: \(message())") }
}

import Foundation

/// Keys and the order in which threads ask for them, the same for all systems of a run.
final class Workload: Sendable {
    static let keyBytes = 17

    let keyCount: Int
    /// One for each thread.
    let threads: [ThreadWork]
    private let folder: URL

    /// By Zipf's law.
    /// - Parameters:
    ///   - skew: the exponent; 0: each key equally often.
    ///   - length: numbers until a thread's sequence begins again.
    convenience init(keyCount: Int, threads: Int, skew: Double, length: Int, seed: UInt64) throws {
        var random = SplitMix(state: seed)
        // Ranks are spread over the numbers: neighbours in memory are not equally popular.
        let numbers = Array(0..<UInt32(keyCount)).shuffled(using: &random)
        let zipf = Zipf(count: keyCount, skew: skew)
        try self.init(
            keyCount: keyCount, sequences: (0..<threads).map { _ in (0..<length).map { _ in numbers[zipf.rank(using: &random)] } })
    }

    /// Each thread goes round a part of the keys that is its own.
    static func cyclic(keyCount: Int, threads: Int) throws -> Workload {
        let part = keyCount / threads
        return try Workload(keyCount: keyCount, sequences: (0..<threads).map { Array(UInt32($0 * part)..<UInt32(($0 + 1) * part)) })
    }

    private init(keyCount: Int, sequences: [[UInt32]]) throws {
        self.keyCount = keyCount
        threads = sequences.map(ThreadWork.init)
        let process = ProcessInfo.processInfo.processIdentifier
        folder = FileManager.default.temporaryDirectory.appending(path: "peercache-bench-\(process)-\(UInt32.random(in: .min ... .max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for (index, sequence) in sequences.enumerated() {
            try sequence.map(\.littleEndian).withUnsafeBytes { try Data($0).write(to: URL(filePath: file(index))) }
        }
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// Files with the threads' sequences, for programs in other languages.
    var files: [String] { threads.indices.map(file) }

    private func file(_ thread: Int) -> String { folder.appending(path: "sequence-\(thread)").path }

    /// The key with a number: 17 bytes.
    static func key(_ number: Int) -> String {
        let digits = String(number)
        return "key:" + String(repeating: "0", count: 13 - digits.count) + digits
    }

    /// A value that no system can store in less.
    static func value(bytes: Int) -> [UInt8] { (0..<bytes).map { UInt8(truncatingIfNeeded: $0 | 1) } }
}

/// Where one thread is in its sequence. Used by one thread at a time: `@unchecked Sendable` is safe because threads are started and joined
/// around each use.
final class ThreadWork: @unchecked Sendable {
    static let batch = 1024

    let sequence: [UInt32]
    private var position = 0

    init(sequence: [UInt32]) { self.sequence = sequence }

    /// Calls `body` with the next numbers.
    func next<Result>(_ body: (UnsafeBufferPointer<UInt32>) -> Result) -> Result {
        if position + Self.batch > sequence.count { position = 0 }
        defer { position += Self.batch }
        return sequence.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[position..<position + Self.batch])) }
    }
}

/// Bytes of all keys, by number, in memory of their own: each thread has one, so that threads share no key.
final class KeyBytes: @unchecked Sendable {  // written once, here
    let all: UnsafeBufferPointer<UnsafeRawBufferPointer>
    private let storage: UnsafeMutableRawPointer
    private static let stride = 24  // what an allocator gives for 17

    convenience init(count: Int) { self.init((0..<count).lazy.map { Array(Workload.key($0).utf8) }, count: count) }

    /// As many keys of 17 bytes.
    init(_ texts: some Sequence<[UInt8]>, count: Int) {
        storage = .allocate(byteCount: count * Self.stride, alignment: 8)
        let keys = UnsafeMutableBufferPointer<UnsafeRawBufferPointer>.allocate(capacity: count)
        for (number, text) in texts.enumerated() {
            let start = storage + number * Self.stride
            start.copyMemory(from: text, byteCount: Workload.keyBytes)
            keys.initializeElement(at: number, to: UnsafeRawBufferPointer(start: start, count: Workload.keyBytes))
        }
        all = UnsafeBufferPointer(keys)
    }

    deinit {
        all.deallocate()
        storage.deallocate()
    }
}

/// Draws ranks by Zipf's law, exactly.
struct Zipf {
    private let cumulative: [Double]

    init(count: Int, skew: Double) {
        var sum = 0.0
        cumulative = (1...count).map {
            sum += pow(Double($0), -skew)
            return sum
        }
    }

    /// 0..<count; 0 is drawn most often.
    func rank(using random: inout SplitMix) -> Int {
        let wanted = Double(random.next() >> 11) / Double(1 << 53) * (cumulative.last ?? 0)
        var low = 0, high = cumulative.count - 1
        while low < high {
            let middle = (low + high) / 2
            if cumulative[middle] > wanted { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// A seeded generator.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}

/// Roughly how often each hash was used lately: a count-min sketch of 4-bit counters (Cormode and Muthukrishnan, 2005) that is halved from
/// time to time (Einziger et al., "TinyLFU: A Highly Efficient Cache Admission Policy", 2017). 16 counters an entry, 8 bytes.
///
/// All four counters of a hash are in one line: two words for each, one bit picks the word and four the counter in it.
struct FrequencySketch: ~Copyable {
    static let frequencyMax = 15
    private static let wordsPerLine = 8
    private static let linesPerSlice = 64
    private static let resetMask: UInt64 = 0x7777_7777_7777_7777
    /// Increments per word that lead to a halving; half of them count again afterwards.
    private static let incrementsPerWord = 10

    private var table = LineTable()
    private var increments = 0
    /// Lines at and above are still to be halved, up to `halvingEnd`.
    private var halvingNext = 0
    private var halvingEnd = 0

    init() {}

    var bytes: Int { table.bytes }
    var pieces: Int { table.wholePieces }
    /// Without memory every frequency is 0.
    var isEmpty: Bool { table.lines == 0 }

    /// 0...15; never less than the uses since the last halvings, up to 15. O(1), one cache line.
    @inline(__always)
    func frequency(_ hash: UInt32) -> Int {
        guard !isEmpty else { return 0 }
        let words = table.line(hash)
        let remix = Self.remix(hash)
        var lowest: UInt64 = 15
        for row in 0..<4 {
            let (word, shift) = Self.counter(remix, row)
            lowest = min(lowest, Words.load(words + word &* 8) &>> shift & 15)
        }
        return Int(truncatingIfNeeded: lowest)
    }

    /// Counts a use. O(1); halves one more slice while a halving is under way.
    @inline(__always)
    mutating func increment(_ hash: UInt32) {
        guard !isEmpty else { return }
        let words = table.line(hash)
        let remix = Self.remix(hash)
        var changed = false
        for row in 0..<4 {
            let (word, shift) = Self.counter(remix, row)
            let counters = Words.load(words + word &* 8)
            guard counters &>> shift & 15 < 15 else { continue }
            Words.store(words + word &* 8, counters &+ 1 &<< shift)
            changed = true
        }
        if changed { increments &+= 1 }
        if halvingNext < halvingEnd {
            halveSlice()
        } else if increments >= table.lines &* Self.wordsPerLine &* Self.incrementsPerWord {
            increments /= 2
            halvingNext = 0
            halvingEnd = table.lines
        }
    }

    @inline(__always)
    func isResizeDue(entries: Int) -> Bool { table.isResizeDue(to: Self.lines(entries)) }

    /// One step towards the size for `entries`. False when memory was refused.
    mutating func resize<Memory: PolicyMemory & ~Copyable>(entries: Int, _ memory: borrowing Memory) -> Bool {
        guard table.resize(to: Self.lines(entries), memory) else { return false }
        halvingEnd = min(halvingEnd, table.lines)
        return true
    }

    mutating func removeAll<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) {
        table.removeAll(memory)
        increments = 0
        halvingEnd = 0
    }

    // MARK: Parts

    @inline(__always)
    private static func lines(_ entries: Int) -> Int { (entries &+ (wordsPerLine &- 1)) / wordsPerLine }

    /// Bits independent of those that picked the line (the last step of MurmurHash3, Appleby).
    @inline(__always)
    private static func remix(_ hash: UInt32) -> UInt32 {
        var mixed = (hash ^ hash &>> 16) &* 0x85EB_CA6B
        mixed = (mixed ^ mixed &>> 13) &* 0xC2B2_AE35
        return mixed ^ mixed &>> 16
    }

    @inline(__always)
    private static func counter(_ remix: UInt32, _ row: Int) -> (word: Int, shift: UInt64) {
        let byte = remix &>> UInt32(truncatingIfNeeded: row &* 8)
        return (row &* 2 &+ Int(byte & 1), UInt64(byte &>> 1 & 15) &* 4)
    }

    /// 4 KiB. Until the last slice, hashes of some lines weigh twice as much as those of others: for a 500th of an increment per entry.
    private mutating func halveSlice() {
        let end = min(halvingNext &+ Self.linesPerSlice, halvingEnd)
        while halvingNext < end {
            let words = table.line(at: halvingNext)
            for word in 0..<Self.wordsPerLine {
                Words.store(words + word &* 8, Words.load(words + word &* 8) &>> 1 & Self.resetMask)
            }
            halvingNext &+= 1
        }
    }
}

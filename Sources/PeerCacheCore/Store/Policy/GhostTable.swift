/// The hashes of entries that were evicted lately, without order between lines: 15 a line, the newest in place of the line's oldest.
///
/// A hash of 0 is not remembered. A line that was split keeps hashes of its other half until they are overwritten.
struct GhostTable: ~Copyable {
    static let hashesPerLine = 15

    private var table = LineTable()

    init() {}

    var bytes: Int { table.bytes }
    var pieces: Int { table.wholePieces }

    /// O(1), one cache line.
    mutating func insert(_ hash: UInt32) {
        guard table.lines > 0 else { return }
        let words = table.line(hash)
        // The last word says where the next hash goes.
        let cursor = Int(Words.load32(words + Self.hashesPerLine &* 4)) % Self.hashesPerLine
        Words.store32(words + cursor &* 4, hash)
        Words.store32(words + Self.hashesPerLine &* 4, UInt32(cursor + 1))
    }

    /// Whether the hash was remembered; it no longer is. O(1), one cache line.
    mutating func remove(_ hash: UInt32) -> Bool {
        guard table.lines > 0, hash != 0 else { return false }
        let words = table.line(hash)
        for index in 0..<Self.hashesPerLine where Words.load32(words + index &* 4) == hash {
            Words.store32(words + index &* 4, 0)
            return true
        }
        return false
    }

    @inline(__always)
    func isResizeDue(ghosts: Int) -> Bool { table.isResizeDue(to: Self.lines(ghosts)) }

    /// One step towards the size for `ghosts` hashes. False when memory was refused.
    mutating func resize<Memory: PolicyMemory & ~Copyable>(ghosts: Int, _ memory: borrowing Memory) -> Bool {
        table.resize(to: Self.lines(ghosts), memory)
    }

    mutating func removeAll<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) { table.removeAll(memory) }

    @inline(__always)
    private static func lines(_ ghosts: Int) -> Int { (ghosts &+ (hashesPerLine &- 1)) / hashesPerLine }
}

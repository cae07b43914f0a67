/// A table of 64-byte lines that are found by hash and grow a few at a time: linear hashing (Litwin, "Linear Hashing: A New Tool for File
/// and Table Addressing", 1980). A new line begins as a copy of the one that its hashes were in before, so nothing is forgotten.
///
/// Below 16 KiB it is one piece, reallocated in steps of 512 bytes; from there on it gains and loses whole pieces. So it is never more than
/// a fraction of a piece above what is wanted, and no step copies more than 16 KiB.
///
/// Its words are written atomically: pieces may be pages into which readers without a lock look by mistake.
struct LineTable: ~Copyable {
    static let lineBytes = 64
    static let pieceBytes = 16 << 10
    private static let pieceLines = pieceBytes / lineBytes
    private static let stepLines = 8

    private(set) var lines = 0
    /// Bytes allocated, the directory included.
    private(set) var bytes = 0
    /// Of these, how many pieces of 16 KiB.
    var wholePieces: Int { lines / Self.pieceLines }
    /// Twice the largest power of two in `lines`, less 1.
    private var mask: UInt32 = 0
    private var pieces = 0
    private var directory: UnsafeMutablePointer<UnsafeMutableRawPointer>?
    private var directoryBytes = 0

    init() {}

    deinit { assert(bytes == 0, "the memory was not given back") }

    /// The line of a hash. Only when there are ``lines``.
    @inline(__always)
    func line(_ hash: UInt32) -> UnsafeMutableRawPointer {
        let index = hash & mask
        return line(at: Int(index < UInt32(truncatingIfNeeded: lines) ? index : index & (mask >> 1)))
    }

    /// - Parameter index: in 0..<``lines``.
    @inline(__always)
    func line(at index: Int) -> UnsafeMutableRawPointer {
        assert(index < lines)
        // There is a directory while there are lines.
        return directory.unsafelyUnwrapped[index / Self.pieceLines] + index % Self.pieceLines * Self.lineBytes
    }

    /// Whether ``resize(to:_:)`` has something to do.
    @inline(__always)
    func isResizeDue(to wanted: Int) -> Bool {
        let rounded = Self.rounded(wanted)
        // Room to come back: a number of entries that swings about a border must not allocate and free.
        return rounded > lines || (pieces > 1 && rounded + Self.pieceLines < lines)
    }

    /// One step towards `wanted` lines. False, and nothing has changed, when memory was refused.
    mutating func resize<Memory: PolicyMemory & ~Copyable>(to wanted: Int, _ memory: borrowing Memory) -> Bool {
        let rounded = Self.rounded(wanted)
        if rounded <= lines {
            if isResizeDue(to: wanted) { removePiece(memory) }
            return true
        }
        if pieces > 0, lines >= Self.pieceLines { return addPiece(lines: Self.pieceLines, memory) }
        let lines = min(rounded, Self.pieceLines)
        return pieces == 0 ? addPiece(lines: lines, memory) : enlargePiece(lines: lines, memory)
    }

    mutating func removeAll<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) {
        while pieces > 0 { removePiece(memory) }
    }

    /// Above a piece, another one only when three quarters of it are wanted.
    @inline(__always)
    private static func rounded(_ wanted: Int) -> Int {
        wanted <= pieceLines
            ? (wanted &+ (stepLines &- 1)) / stepLines &* stepLines
            : (wanted &+ pieceLines / 4) / pieceLines &* pieceLines
    }

    // MARK: Steps

    private mutating func addPiece<Memory: PolicyMemory & ~Copyable>(lines added: Int, _ memory: borrowing Memory) -> Bool {
        guard lines + added <= Int(Int32.max), enlargeDirectoryIfFull(memory), let directory else { return false }
        guard let piece = memory.allocateLines(bytes: added * Self.lineBytes) else {
            if pieces == 0 { removeDirectory(memory) }
            return false
        }
        directory[pieces] = piece
        pieces += 1
        bytes += added * Self.lineBytes
        append(lines: added)
        return true
    }

    private mutating func enlargePiece<Memory: PolicyMemory & ~Copyable>(lines wanted: Int, _ memory: borrowing Memory) -> Bool {
        guard let directory, let piece = memory.allocateLines(bytes: wanted * Self.lineBytes) else { return false }
        Words.copy(to: piece, from: directory[0], bytes: lines * Self.lineBytes)
        memory.deallocateLines(directory[0], bytes: lines * Self.lineBytes)
        directory[0] = piece
        bytes += (wanted - lines) * Self.lineBytes
        append(lines: wanted - lines)
        return true
    }

    private mutating func append(lines added: Int) {
        let first = lines
        setLines(lines + added)
        for index in first..<lines {
            if index == 0 {
                for word in 0..<Self.lineBytes / 8 { Words.store(line(at: 0) + word * 8, 0) }
            } else {
                let topBit = 1 << (Int.bitWidth - 1 - index.leadingZeroBitCount)
                Words.copy(to: line(at: index), from: line(at: index - topBit), bytes: Self.lineBytes)
            }
        }
    }

    private mutating func setLines(_ count: Int) {
        lines = count
        mask = count == 0 ? 0 : UInt32(truncatingIfNeeded: (2 << (Int.bitWidth - 1 - count.leadingZeroBitCount)) - 1)
    }

    private mutating func removePiece<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) {
        guard let directory, pieces > 0 else { return }
        let removed = pieces == 1 ? lines : Self.pieceLines
        pieces -= 1
        memory.deallocateLines(directory[pieces], bytes: removed * Self.lineBytes)
        bytes -= removed * Self.lineBytes
        setLines(lines - removed)
        if pieces == 0 { removeDirectory(memory) }
    }

    // MARK: Directory

    private mutating func enlargeDirectoryIfFull<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) -> Bool {
        let pointerBytes = MemoryLayout<UnsafeMutableRawPointer>.stride
        guard pieces * pointerBytes == directoryBytes else { return true }
        let larger = max(64, directoryBytes * 2)
        guard let allocated = memory.allocate(bytes: larger) else { return false }
        let pointers = allocated.bindMemory(to: UnsafeMutableRawPointer.self, capacity: larger / pointerBytes)
        if let directory { pointers.update(from: directory, count: pieces) }
        removeDirectory(memory)
        directory = pointers
        directoryBytes = larger
        bytes += larger
        return true
    }

    private mutating func removeDirectory<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) {
        if let directory { memory.deallocate(UnsafeMutableRawPointer(directory), bytes: directoryBytes) }
        directory = nil
        bytes -= directoryBytes
        directoryBytes = 0
    }
}

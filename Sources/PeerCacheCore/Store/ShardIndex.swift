internal import Synchronization

/// Finds entries by hash: for each range of hashes (a slot, or some neighbours) a block of 2...16 cache lines with twelve places each;
/// where that is not enough, a directory of blocks over the next bits of the hash (Fagin et al., "Extendible Hashing", 1979).
///
/// So the entries of a slot lie together in order of hash, which iteration needs, and growing moves at most 192 entries. An entry lies in
/// the line that its hash names or one of the next two; ``IndexLine/overflow`` says whether to look on. At most 36 entries of one hash fit:
/// hostile keys cost three lines, and crowd each other out.
struct ShardIndex: ~Copyable {
    /// Lines looked at.
    static let probeMax = 3

    let entries: EntryMemory
    /// Words of the ranges, those of this shard.
    let roots: UnsafeMutablePointer<Atomic<UInt32>>
    let firstRoot: Int
    let rootCount: Int
    /// hash >> rootShift is the range.
    let rootShift: UInt32

    @inline(__always)
    static func line(_ hash: UInt32, _ lines: Int) -> Int {
        Int(truncatingIfNeeded: (UInt64(hash &* 0x9E37_79B1) &* UInt64(truncatingIfNeeded: lines)) &>> 32)
    }

    @inline(__always)
    func address(_ offset: Int) -> UnsafeMutableRawPointer { entries.base + offset }

    @inline(__always)
    func line(_ word: IndexWord, _ number: Int) -> IndexLine { IndexLine(address: address(word.offset) + number &* IndexLine.bytes) }

    // MARK: Ranges and directories

    /// Where a word is kept: at a range, or in its directory.
    struct Place {
        var address: UnsafeMutableRawPointer
        var root: UnsafeMutableRawPointer
        /// Directory, and position in it.
        var directory: IndexWord
        var position: Int

        var word: IndexWord { IndexWord(bits: Words.load32(address)) }
    }

    func root(_ hash: UInt32) -> UnsafeMutableRawPointer { UnsafeMutableRawPointer(roots + (Int(hash &>> rootShift) &- firstRoot)) }

    /// Position of a hash in the directory of its range.
    @inline(__always)
    static func position(_ hash: UInt32, rootShift: UInt32, depth: Int) -> Int {
        Int((hash &<< (32 &- rootShift)) &>> (32 &- UInt32(truncatingIfNeeded: depth)))
    }

    func place(_ hash: UInt32) -> Place {
        let root = root(hash)
        let word = IndexWord(bits: Words.load32(root))
        guard word.isDirectory else { return Place(address: root, root: root, directory: .empty, position: 0) }
        let position = Self.position(hash, rootShift: rootShift, depth: word.depth)
        return Place(address: address(word.offset) + position * 4, root: root, directory: word, position: position)
    }

    @inline(__always)
    func block(_ hash: UInt32) -> IndexWord {
        let word = IndexWord(bits: Words.load32(root(hash)))
        guard word.isDirectory else { return word }
        let position = Self.position(hash, rootShift: rootShift, depth: word.depth)
        return IndexWord(bits: Words.load32(address(word.offset) + position &* 4))
    }

    /// The first hash behind the block that this hash leads to; nil: it was the last of the range. Hashes without a block are passed over
    /// one word of the directory at a time.
    func end(of place: Place, _ hash: UInt32) -> UInt32? {
        guard !place.directory.isEmpty else { return nil }
        let depth = place.directory.depth
        let words = address(place.directory.offset)
        let bits = place.word.bits
        var end = place.position + 1
        while end < 1 << depth, Words.load32(words + end * 4) == bits { end += 1 }
        guard end < 1 << depth else { return nil }
        return (hash >> rootShift) << rootShift | UInt32(end) << (rootShift - UInt32(depth))
    }

    // MARK: Places

    /// The first handle under this hash for which `matches` is true, or 0.
    @inline(__always)
    func find(_ hash: UInt32, _ matches: (UInt32) -> Bool) -> UInt32 {
        let block = block(hash)
        guard !block.isEmpty else { return 0 }
        let lines = block.lines
        var number = Self.line(hash, lines)
        for _ in 0..<min(lines, Self.probeMax) {
            let line = line(block, number)
            var (places, overflow) = line.matches(UInt8(truncatingIfNeeded: hash))
            while places != 0 {
                let handle = line.handle(places.trailingZeroBitCount)
                if matches(handle) { return handle }
                places &= places &- 1
            }
            if overflow == 0 { return 0 }
            number = number &+ 1 == lines ? 0 : number &+ 1
        }
        return 0
    }

    /// Whether ``insert(_:_:)`` will succeed.
    func hasRoom(_ hash: UInt32) -> Bool {
        let block = block(hash)
        guard !block.isEmpty else { return false }
        var number = Self.line(hash, block.lines)
        for _ in 0..<min(block.lines, Self.probeMax) {
            if line(block, number).count < IndexLine.places { return true }
            number = number + 1 == block.lines ? 0 : number + 1
        }
        return false
    }

    /// False: the lines are full, nothing changed.
    func insert(_ hash: UInt32, _ handle: UInt32) -> Bool { insert(hash, handle, into: block(hash)) }

    func insert(_ hash: UInt32, _ handle: UInt32, into block: IndexWord) -> Bool {
        guard !block.isEmpty else { return false }
        let first = Self.line(hash, block.lines)
        var number = first
        for _ in 0..<min(block.lines, Self.probeMax) {
            if line(block, number).insert(UInt8(truncatingIfNeeded: hash), handle) {
                var passed = first
                while passed != number {
                    line(block, passed).overflow += 1
                    passed = passed + 1 == block.lines ? 0 : passed + 1
                }
                return true
            }
            number = number + 1 == block.lines ? 0 : number + 1
        }
        return false
    }

    /// Removes the handle. True: its line is nearly empty, so ``shrink(_:_:)`` may be worth while.
    func remove(_ hash: UInt32, _ handle: UInt32) -> Bool {
        let block = block(hash)
        guard let (number, place) = locate(hash, handle, block) else {
            assertionFailure("an entry is not in the index")
            return false
        }
        line(block, number).occupied &= ~(1 << UInt32(place))
        var passed = Self.line(hash, block.lines)
        while passed != number {
            line(block, passed).overflow -= 1
            passed = passed + 1 == block.lines ? 0 : passed + 1
        }
        return line(block, number).count <= IndexLine.places / 4
    }

    /// The entry lies elsewhere now.
    func moved(_ hash: UInt32, from old: UInt32, to new: UInt32) {
        let block = block(hash)
        guard let (number, place) = locate(hash, old, block) else { return assertionFailure("an entry is not in the index") }
        line(block, number).setHandle(place, new)
    }

    private func locate(_ hash: UInt32, _ handle: UInt32, _ block: IndexWord) -> (line: Int, place: Int)? {
        guard !block.isEmpty else { return nil }
        var number = Self.line(hash, block.lines)
        for _ in 0..<min(block.lines, Self.probeMax) {
            var places = line(block, number).matches(UInt8(truncatingIfNeeded: hash)).places
            while places != 0 {
                if line(block, number).handle(places.trailingZeroBitCount) == handle { return (number, places.trailingZeroBitCount) }
                places &= places - 1
            }
            number = number + 1 == block.lines ? 0 : number + 1
        }
        return nil
    }

    /// Calls `body` for each handle of a block.
    @inline(__always)
    func forEach(in block: IndexWord, _ body: (UInt32) -> Void) {
        guard !block.isEmpty else { return }
        for number in 0..<block.lines {
            let line = line(block, number)
            var places = line.occupied
            while places != 0 {
                body(line.handle(places.trailingZeroBitCount))
                places &= places &- 1
            }
        }
    }

    func count(_ block: IndexWord) -> Int {
        guard !block.isEmpty else { return 0 }
        return (0..<block.lines).reduce(0) { $0 + line(block, $1).count }
    }

    /// The entry of the lowest stamp in the lines of this hash; 0 when they are empty.
    func lowestStamp(_ hash: UInt32) -> UInt32 {
        let block = block(hash)
        guard !block.isEmpty else { return 0 }
        var lowest: UInt32 = 0
        var number = Self.line(hash, block.lines)
        for _ in 0..<min(block.lines, Self.probeMax) {
            var places = line(block, number).occupied
            while places != 0 {
                let handle = line(block, number).handle(places.trailingZeroBitCount)
                if lowest == 0 || entries[handle].stamp < entries[lowest].stamp { lowest = handle }
                places &= places - 1
            }
            number = number + 1 == block.lines ? 0 : number + 1
        }
        return lowest
    }
}

internal import Synchronization

/// Finds entries by hash: for each range of hashes a block of 2...16 cache lines with twelve places each. The ranges of a shard are in an
/// array of roots; where a block is not enough, a directory of blocks over the next bits of the hash takes its place (Fagin et al.,
/// "Extendible Hashing", 1979), and in a directory that is full another one.
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

    /// Where the word of a block is kept: in the roots or in a directory.
    struct Place {
        /// First word of the directory; of the roots too.
        var words: UnsafeMutableRawPointer
        /// Where the directory's own word is kept; nil for the roots.
        var owner: UnsafeMutableRawPointer?
        /// Number of words and position among them.
        var count: Int
        var position: Int
        /// A word stands for 2^shift hashes.
        var shift: UInt32

        var address: UnsafeMutableRawPointer { words + position * 4 }
        var word: IndexWord { IndexWord(bits: Words.load32(address)) }

        /// Positions that lead to the same block as this one. In the roots each has its own.
        var run: Range<Int> {
            guard owner != nil else { return position..<position + 1 }
            let bits = word.bits
            var (first, end) = (position, position + 1)
            while first > 0, Words.load32(words + (first - 1) * 4) == bits { first -= 1 }
            while end < count, Words.load32(words + end * 4) == bits { end += 1 }
            return first..<end
        }
    }

    func place(_ hash: UInt32) -> Place {
        let first = Int(hash &>> rootShift) &- firstRoot
        var place = Place(words: UnsafeMutableRawPointer(roots), owner: nil, count: rootCount, position: first, shift: rootShift)
        while case let word = place.word, word.isDirectory { place = inside(word, place, hash) }
        return place
    }

    /// The place of a hash in the directory that is kept at `place`.
    func inside(_ directory: IndexWord, _ place: Place, _ hash: UInt32) -> Place {
        let shift = place.shift &- UInt32(directory.depth)
        let position = Int(hash &>> shift) & ((1 &<< directory.depth) &- 1)
        return Place(words: address(directory.offset), owner: place.address, count: 1 << directory.depth, position: position, shift: shift)
    }

    /// The first hash behind the block, or the hole, that `hash` leads to.
    func end(of place: Place, _ hash: UInt32) -> UInt64 {
        let run = place.run
        let beyond = UInt64(run.upperBound - place.position) << UInt64(place.shift)
        return ((UInt64(hash) >> UInt64(place.shift)) << UInt64(place.shift)) + beyond
    }

    /// The hashes of this shard.
    var hashes: Range<UInt64> {
        UInt64(firstRoot) << UInt64(rootShift)..<UInt64(firstRoot + rootCount) << UInt64(rootShift)
    }

    @inline(__always)
    func block(_ hash: UInt32) -> IndexWord {
        var word = IndexWord(bits: Words.load32(UnsafeMutableRawPointer(roots + (Int(hash &>> rootShift) &- firstRoot))))
        var shift = rootShift
        while word.isDirectory {
            shift &-= UInt32(truncatingIfNeeded: word.depth)
            let position = Int(hash &>> shift) & ((1 &<< word.depth) &- 1)
            word = IndexWord(bits: Words.load32(address(word.offset) + position &* 4))
        }
        return word
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

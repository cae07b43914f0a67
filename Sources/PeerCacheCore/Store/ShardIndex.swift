/// Finds entries by hash: open addressing with linear probing in Robin Hood order (Celis, "Robin Hood Hashing", 1986).
///
/// A word is tag (32 bits, mixed from the hash) and handle + 1; 0 is empty. Words of one run lie in order of their home, so a search ends
/// at the first word whose home lies behind its own. No word lies more than 63 behind its home: keys that share a hash, or were chosen to
/// collide, cost at most 64 looks, and crowding each other out. The array has 64 words more than homes, so probing never wraps.
struct ShardIndex: ~Copyable {
    /// Most words looked at.
    static let probeMax = 64
    private static let bitsMin: UInt32 = 6
    /// 2^30 homes: 8 GiB of words in one shard.
    private static let bitsMax: UInt32 = 30

    private var words: UnsafeMutablePointer<UInt64>?
    /// log2 of the number of homes; 0: no array.
    private var bits: UInt32 = 0
    private let seed: UInt64

    init(seed: UInt64) { self.seed = seed }

    deinit { words?.deallocate() }

    /// Number of homes.
    var capacity: Int { bits == 0 ? 0 : 1 << Int(bits) }

    /// Number of words, empty ones included.
    var wordCount: Int { bits == 0 ? 0 : capacity + Self.probeMax }

    /// Bytes counted.
    var charge: Int { bits == 0 ? 0 : Self.charge(bits) }

    private static func charge(_ bits: UInt32) -> Int { AllocatorClass.charge(((1 << Int(bits)) + probeMax) * 8) }

    /// More entries than this make it grow.
    var entriesMax: Int { capacity / 16 * 13 }

    /// Seeded, so that two stores do not collide alike.
    @inline(__always)
    func tag(_ hash: UInt64) -> UInt32 {
        let mixed = hash ^ seed
        return UInt32(truncatingIfNeeded: ((mixed ^ (mixed >> 32)) &* 0x9E37_79B9_7F4A_7C15) >> 32)
    }

    @inline(__always)
    private func home(_ tag: UInt32) -> Int { Int(tag >> (32 &- bits)) }

    @inline(__always)
    private func home(_ word: UInt64) -> Int { home(UInt32(truncatingIfNeeded: word >> 32)) }

    private static func word(_ tag: UInt32, _ handle: UInt32) -> UInt64 { UInt64(tag) << 32 | UInt64(handle &+ 1) }

    /// The handle in a word; nil when it is empty.
    func handle(at position: Int) -> UInt32? {
        guard let words, words[position] != 0 else { return nil }
        return UInt32(truncatingIfNeeded: words[position]) &- 1
    }

    /// The home of the word at a position that is not empty.
    func home(at position: Int) -> Int { words.map { home($0[position]) } ?? 0 }

    /// The first handle under `tag` for which `matches` is true, or ``Entry/none``. At most ``probeMax`` looks.
    @inline(__always)
    func find(_ tag: UInt32, _ matches: (UInt32) -> Bool) -> UInt32 {
        guard let words else { return Entry.none }
        let start = home(tag)
        var position = start
        while position < start &+ Self.probeMax {
            let word = words[position]
            if word == 0 { return Entry.none }
            if UInt32(truncatingIfNeeded: word >> 32) == tag {
                let handle = UInt32(truncatingIfNeeded: word) &- 1
                if matches(handle) { return handle }
            } else if home(word) > start {
                return Entry.none
            }
            position &+= 1
        }
        return Entry.none
    }

    /// Nil: inserted. Else nothing changed, because a word would come to lie too far behind its home: something must go from the words of
    /// the returned positions, or the index must grow.
    mutating func insert(_ tag: UInt32, _ handle: UInt32) -> Range<Int>? {
        guard let words else { return 0..<0 }
        let start = home(tag)
        var position = start
        while words[position] != 0, home(words[position]) <= start {
            position += 1
            if position - start >= Self.probeMax { return start..<position }
        }
        var end = position
        while words[end] != 0 {
            let displacement = end - home(words[end])
            if displacement >= Self.probeMax - 1 { return end - displacement..<end + 1 }
            end += 1
        }
        (words + position + 1).update(from: words + position, count: end - position)
        words[position] = Self.word(tag, handle)
        return nil
    }

    /// Removes the word of this tag and handle.
    mutating func remove(_ tag: UInt32, _ handle: UInt32) {
        guard let words, let position = position(tag, handle) else { return assertionFailure("an entry is not in the index") }
        var end = position + 1
        while words[end] != 0, home(words[end]) < end { end += 1 }
        (words + position).update(from: words + position + 1, count: end - 1 - position)
        words[end - 1] = 0
    }

    /// The entry under this tag moved to another handle.
    mutating func entryMoved(_ tag: UInt32, from old: UInt32, to new: UInt32) {
        guard let words, let position = position(tag, old) else { return assertionFailure("an entry is not in the index") }
        words[position] = Self.word(tag, new)
    }

    private func position(_ tag: UInt32, _ handle: UInt32) -> Int? {
        guard let words else { return nil }
        let word = Self.word(tag, handle)
        let start = home(tag)
        return (start..<start + Self.probeMax).first { words[$0] == word }
    }

    /// Doubles the homes. False, and nothing changed, when the budget lacks the bytes; old and new words are both counted meanwhile.
    mutating func grow(_ budget: borrowing ByteBudget) -> Bool {
        let larger = max(Self.bitsMin, bits + 1)
        guard larger <= Self.bitsMax, budget.reserve(Self.charge(larger)) else { return false }
        return rebuild(larger, budget)
    }

    /// Halves the homes when fewer than an eighth are used; gives the array back when none is.
    mutating func shrinkIfSparse(count: Int, _ budget: borrowing ByteBudget) {
        if count == 0 {
            budget.release(charge)
            words?.deallocate()
            words = nil
            bits = 0
            return
        }
        guard bits > Self.bitsMin, count < capacity / 8 else { return }
        let bytes = Self.charge(bits - 1)
        // Above a limit that was lowered nothing can be reserved: there the copy is taken for a moment, and twice as much given back.
        if !budget.reserve(bytes) {
            guard budget.isExceeded else { return }
            budget.take(bytes)
        }
        _ = rebuild(bits - 1, budget)
    }

    /// Moves all words to an array of another size, whose bytes are counted already. False: they did not fit, nothing changed.
    private mutating func rebuild(_ newBits: UInt32, _ budget: borrowing ByteBudget) -> Bool {
        var other = ShardIndex(seed: seed)
        other.bits = newBits
        let array = UnsafeMutablePointer<UInt64>.allocate(capacity: other.wordCount)
        array.initialize(repeating: 0, count: other.wordCount)
        other.words = array
        for position in 0..<wordCount {
            guard let word = words?[position], word != 0 else { continue }
            if other.insert(UInt32(truncatingIfNeeded: word >> 32), UInt32(truncatingIfNeeded: word) &- 1) != nil {
                budget.release(other.charge)
                return false
            }
        }
        budget.release(charge)
        swap(&words, &other.words)
        bits = newBits
        return true
    }
}

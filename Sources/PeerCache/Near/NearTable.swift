internal import PeerCacheCore
internal import Synchronization

/// Index and records of one shard in one block of memory, at most half full. Readers look at it while a writer changes it, so every word is
/// atomic; a shard that grows makes a new block and retires the old one.
///
/// The index has 8-byte slots (tag, position of the record + 1; 0: empty) with linear probing.
struct NearTable {
    typealias Words = UnsafeMutablePointer<Atomic<UInt64>>

    /// A lookup gives up after this many slots and an insertion displaces a record instead: keys of one hash cost the others nothing (SEC19).
    static let probesMax = 64
    static let slotsMin = 32
    private static let headerBytes = 64

    let base: UnsafeMutableRawPointer

    @inline(__always)
    init(at base: UnsafeMutableRawPointer) { self.base = base }

    /// - Parameter slotCount: a power of two, at least ``slotsMin``.
    init(slotCount: Int) {
        let records = slotCount / 2
        let bytes = Self.headerBytes + records * NearRecord.wordCount * 8 + slotCount * 8 + records
        base = .allocate(byteCount: bytes, alignment: 64)
        // Zero bytes are zero atomics.
        base.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        base.storeBytes(of: slotCount, as: Int.self)
    }

    func deallocate() { base.deallocate() }

    @inline(__always)
    var slotCount: Int { base.load(as: Int.self) }
    @inline(__always)
    var mask: Int { slotCount &- 1 }
    @inline(__always)
    var recordsMax: Int { slotCount / 2 }

    /// The words of a record. First, so that each has a cache line of its own.
    @inline(__always)
    func record(_ position: Int) -> Words {
        (base + (Self.headerBytes &+ position &* (NearRecord.wordCount &* 8))).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    @inline(__always)
    var slots: Words {
        (base + (Self.headerBytes &+ slotCount &* (NearRecord.wordCount &* 4))).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// The second chances of CLOCK: set by a hit, taken by the hand. Beside the records, since readers write them: a mark that is set while
    /// its record moves may be lost, or help another.
    @inline(__always)
    var marks: UnsafeMutablePointer<Atomic<UInt8>> {
        (base + (Self.headerBytes &+ slotCount &* (NearRecord.wordCount &* 4 &+ 8))).assumingMemoryBound(to: Atomic<UInt8>.self)
    }

    func put(_ record: NearRecord, at position: Int, marked: UInt8 = 0) {
        let words = self.record(position)
        for index in 0..<NearRecord.wordCount { words[index].store(record.words[index], ordering: .relaxed) }
        marks[position].store(marked, ordering: .relaxed)
    }

    // MARK: Looking up

    enum Look {
        /// `lifetime` is the record's third word.
        case found(position: Int, object: UInt64, lifetime: UInt64, clock: UInt64, mark: UnsafeMutablePointer<Atomic<UInt8>>)
        case missing
        /// A writer changed something meanwhile.
        case disturbed
    }

    /// Finds the record of a key.
    /// - Parameter isUndisturbed: whether what was read up to now belongs together; a writer, who holds the lock, says true.
    @inline(__always)
    func find(hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer, isUndisturbed: () -> Bool) -> Look {
        let tag = hash & 0xFFFF_FFFF, mask = mask, slots = slots
        let name = NearRecord.Name(cache: cache, key: key)
        var at = Int(truncatingIfNeeded: tag) & mask
        for _ in 0..<Self.probesMax {
            let slot = slots[at].load(ordering: .relaxed)
            if slot == 0 { break }
            if slot >> 32 == tag {
                // Every slot that was ever written leads to a record of this block.
                let position = Int(truncatingIfNeeded: slot & 0xFFFF_FFFF) &- 1
                let words = record(position)
                if words[0].load(ordering: .relaxed) == hash {
                    let object = words[1].load(ordering: .relaxed), lifetime = words[2].load(ordering: .relaxed),
                        clock = words[3].load(ordering: .relaxed)
                    let tail = (
                        words[5].load(ordering: .relaxed), words[6].load(ordering: .relaxed), words[7].load(ordering: .relaxed)
                    )
                    // Before the key's address is followed.
                    guard isUndisturbed() else { return .disturbed }
                    if name.isEqual(tail) {
                        return .found(position: position, object: object, lifetime: lifetime, clock: clock, mark: marks + position)
                    }
                }
            }
            at = (at &+ 1) & mask
        }
        return isUndisturbed() ? .missing : .disturbed
    }

    /// The position of a record with this hash, of any key, that is older than the stamp. Under the shard's lock.
    func find(hash: UInt64, below stamp: Stamp) -> Int? {
        let tag = hash & 0xFFFF_FFFF
        var at = Int(truncatingIfNeeded: tag) & mask
        for _ in 0..<Self.probesMax {
            let slot = slots[at].load(ordering: .relaxed)
            if slot == 0 { return nil }
            if slot >> 32 == tag {
                let position = Int(truncatingIfNeeded: slot & 0xFFFF_FFFF) - 1, record = NearRecord(record(position))
                if record.hash == hash, record.stamp < stamp { return position }
            }
            at = (at + 1) & mask
        }
        return nil
    }

    /// False when no slot within reach is free.
    func place(_ tag: UInt32, position: Int) -> Bool {
        var at = Int(tag) & mask
        for _ in 0..<Self.probesMax {
            if slots[at].load(ordering: .relaxed) == 0 {
                slots[at].store(Self.slot(tag, position), ordering: .relaxed)
                return true
            }
            at = (at + 1) & mask
        }
        return false
    }

    /// Lets the slot that leads to one position lead to another, or empties it.
    func redirect(_ tag: UInt32, from position: Int, to other: Int?) {
        let wanted = Self.slot(tag, position)
        var at = Int(tag) & mask
        for _ in 0..<Self.probesMax {
            if slots[at].load(ordering: .relaxed) == wanted {
                if let other { slots[at].store(Self.slot(tag, other), ordering: .relaxed) } else { vacate(at) }
                return
            }
            at = (at + 1) & mask
        }
    }

    /// Gives the last slot within a tag's reach to the tag, with the position it leads to, which is returned.
    func displace(_ tag: UInt32) -> Int {
        let at = (Int(tag) + Self.probesMax - 1) & mask
        let position = Int(slots[at].load(ordering: .relaxed) & 0xFFFF_FFFF) - 1
        slots[at].store(Self.slot(tag, position), ordering: .relaxed)
        return position
    }

    private static func slot(_ tag: UInt32, _ position: Int) -> UInt64 { UInt64(tag) << 32 | UInt64(truncatingIfNeeded: position + 1) }

    /// Empties a slot and moves back what had to pass over it, so that no deletion marks are needed (Knuth, TAOCP 6.4, algorithm R).
    private func vacate(_ at: Int) {
        var hole = at, next = at
        while true {
            next = (next + 1) & mask
            let slot = slots[next].load(ordering: .relaxed)
            if slot == 0 { break }
            let home = Int(slot >> 32) & mask
            guard (next &- home) & mask >= (next &- hole) & mask else { continue }
            slots[hole].store(slot, ordering: .relaxed)
            hole = next
        }
        slots[hole].store(0, ordering: .relaxed)
    }
}

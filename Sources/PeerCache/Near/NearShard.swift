internal import PeerCacheCore

/// One part of the near store. All members are used under the shard's lock.
///
/// Records lie densely in one array; an index of 8-byte slots (tag, record number + 1; 0: empty) finds them by linear probing, at most half
/// full. Removing shifts later slots back, so there are no deletion marks, and moves the last record into the gap.
struct NearShard {
    /// A lookup gives up after this many slots and an insertion displaces a record instead: keys of one hash cost the others nothing (SEC19).
    static let probesMax = 64
    /// After this many second chances the hand takes the next record anyway: an insertion must not walk the whole shard.
    static let chancesMax = 64
    static let slotsMin = 32

    // First: what a hit reads, in the cache line of the lock.
    private var slots: UnsafeMutablePointer<UInt64>
    private var mask: Int
    private(set) var records: UnsafeMutablePointer<NearRecord>
    private(set) var count = 0
    private var cacheFloors: UnsafeMutablePointer<Stamp>?
    private var cacheFloorCount = 0
    var hits: UInt64 = 0
    var misses: UInt64 = 0
    private var hand = 0
    var sweepPosition = 0
    /// What was invalidated in a range of hashes: the highest stamp, and how often.
    private struct Floor {
        var stamp = Stamp.zero
        var raises: UInt32 = 0
    }
    /// For each of this shard's part of the 4,096 ranges of hashes.
    private let floors: UnsafeMutablePointer<Floor>
    private let floorCount: Int

    init(floorCount: Int) {
        (slots, records) = Self.allocate(slotCount: Self.slotsMin)
        mask = Self.slotsMin - 1
        self.floorCount = floorCount
        floors = .allocate(capacity: floorCount)
        floors.initialize(repeating: Floor(), count: floorCount)
    }

    private static func allocate(slotCount: Int) -> (UnsafeMutablePointer<UInt64>, UnsafeMutablePointer<NearRecord>) {
        let slots = UnsafeMutablePointer<UInt64>.allocate(capacity: slotCount)
        slots.initialize(repeating: 0, count: slotCount)
        let bytes = slotCount / 2 * MemoryLayout<NearRecord>.stride
        let records = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
        return (slots, records.bindMemory(to: NearRecord.self, capacity: slotCount / 2))
    }

    /// Frees everything but the objects, which the caller has taken.
    func destroy() {
        slots.deallocate()
        records.deallocate()
        floors.deallocate()
        cacheFloors?.deallocate()
    }

    // MARK: Looking up

    /// The record of a key, current or not.
    @inline(__always)
    func find(hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer) -> UnsafeMutablePointer<NearRecord>? {
        let tag = hash & 0xFFFF_FFFF
        var at = Int(tag) & mask
        for _ in 0..<Self.probesMax {
            let slot = slots[at]
            if slot == 0 { return nil }
            if slot >> 32 == tag {
                let record = records + (Int(slot & 0xFFFF_FFFF) &- 1)
                if record.pointee.hash == hash, record.pointee.cache == cache, NearRecord.hasKey(record, key) { return record }
            }
            at = (at &+ 1) & mask
        }
        return nil
    }

    /// Neither expired nor below its cache's floor.
    @inline(__always)
    func isCurrent(_ record: UnsafeMutablePointer<NearRecord>, nowMilliseconds: UInt64) -> Bool {
        guard record.pointee.expires > nowMilliseconds else { return false }
        guard Int(record.pointee.cache) < cacheFloorCount else { return true }
        return record.pointee.stamp > cacheFloor(record.pointee.cache)
    }

    // MARK: Floors

    /// - Parameter range: number of the range of hashes within this shard.
    func floor(range: Int) -> Stamp { floors[range & (floorCount - 1)].stamp }

    /// Invalidations in the range so far; wraps around.
    func raises(range: Int) -> UInt32 { floors[range & (floorCount - 1)].raises }

    func raiseFloor(range: Int, to stamp: Stamp) {
        let index = range & (floorCount - 1)
        floors[index].raises &+= 1
        floors[index].stamp = max(floors[index].stamp, stamp)
    }

    @inline(__always)
    func cacheFloor(_ cache: UInt16) -> Stamp {
        guard let cacheFloors, Int(cache) < cacheFloorCount else { return .zero }
        return cacheFloors[Int(cache)]
    }

    mutating func raiseCacheFloor(_ cache: UInt16, to stamp: Stamp) {
        guard stamp > cacheFloor(cache) else { return }
        if Int(cache) >= cacheFloorCount {
            var wanted = max(8, cacheFloorCount)
            while wanted <= Int(cache) { wanted *= 2 }
            let grown = UnsafeMutablePointer<Stamp>.allocate(capacity: wanted)
            grown.initialize(repeating: .zero, count: wanted)
            if let cacheFloors {
                grown.update(from: cacheFloors, count: cacheFloorCount)
                cacheFloors.deallocate()
            }
            (cacheFloors, cacheFloorCount) = (grown, wanted)
        }
        cacheFloors?[Int(cache)] = stamp
    }

    // MARK: Changing

    /// Adds a record of a key that is not there. Records that had to go are appended to `out`.
    mutating func insert(_ record: NearRecord, out: inout [NearRecord]) {
        if count >= (mask + 1) / 2 { grow(out: &out) }
        if place(record.tag, position: count) {
            (records + count).initialize(to: record)
            count += 1
            return
        }
        // All slots within reach are taken: take over the last of them together with its record.
        let at = (Int(record.tag) + Self.probesMax - 1) & mask
        let position = Int(slots[at] & 0xFFFF_FFFF) - 1
        out.append(records[position])
        records[position] = record
        slots[at] = Self.slot(record.tag, position)
    }

    /// Takes a record out; the caller releases the object and frees the key. Any pointer to a record of this shard is void afterwards.
    mutating func remove(_ record: UnsafeMutablePointer<NearRecord>) -> NearRecord {
        let removed = record.pointee, position = record - records
        if let at = slotIndex(of: removed.tag, position: position) { vacate(at) }
        fill(position)
        return removed
    }

    /// CLOCK: takes out the record under the hand unless it was hit since the hand last passed. Nil when the shard is empty.
    mutating func evict(nowMilliseconds: UInt64) -> NearRecord? {
        guard count > 0 else { return nil }
        var chances = 0
        while true {
            if hand >= count { hand = 0 }
            let record = records + hand
            hand += 1
            if record.pointee.isReferenced, chances < Self.chancesMax, isCurrent(record, nowMilliseconds: nowMilliseconds) {
                record.pointee.isReferenced = false
                chances += 1
            } else {
                return remove(record)
            }
        }
    }

    /// Leaves the shard empty but for its floors; the caller gets the old records and deallocates them.
    mutating func takeAll() -> UnsafeMutableBufferPointer<NearRecord> {
        let all = UnsafeMutableBufferPointer(start: records, count: count)
        slots.deallocate()
        (slots, records) = Self.allocate(slotCount: Self.slotsMin)
        (mask, count, hand, sweepPosition) = (Self.slotsMin - 1, 0, 0, 0)
        return all
    }

    // MARK: Index

    private static func slot(_ tag: UInt32, _ position: Int) -> UInt64 { UInt64(tag) << 32 | UInt64(truncatingIfNeeded: position + 1) }

    /// False when no slot within reach is free.
    private mutating func place(_ tag: UInt32, position: Int) -> Bool {
        var at = Int(tag) & mask
        for _ in 0..<Self.probesMax {
            if slots[at] == 0 {
                slots[at] = Self.slot(tag, position)
                return true
            }
            at = (at + 1) & mask
        }
        return false
    }

    private func slotIndex(of tag: UInt32, position: Int) -> Int? {
        let wanted = Self.slot(tag, position)
        var at = Int(tag) & mask
        for _ in 0..<Self.probesMax {
            if slots[at] == wanted { return at }
            at = (at + 1) & mask
        }
        return nil
    }

    /// Empties a slot and moves back what had to pass over it (Knuth, TAOCP 6.4, algorithm R).
    private mutating func vacate(_ at: Int) {
        var hole = at, next = at
        while true {
            next = (next + 1) & mask
            let slot = slots[next]
            if slot == 0 { break }
            let home = Int(slot >> 32) & mask
            guard (next &- home) & mask >= (next &- hole) & mask else { continue }
            slots[hole] = slot
            hole = next
        }
        slots[hole] = 0
    }

    /// Moves the last record into a gap.
    private mutating func fill(_ position: Int) {
        count -= 1
        guard position != count else { return }
        let tag = records[count].tag
        if let at = slotIndex(of: tag, position: count) { slots[at] = Self.slot(tag, position) }
        records[position] = records[count]
    }

    private mutating func grow(out: inout [NearRecord]) {
        let (oldSlots, oldRecords) = (slots, records)
        let slotCount = (mask + 1) * 2
        (slots, records) = Self.allocate(slotCount: slotCount)
        mask = slotCount - 1
        records.update(from: oldRecords, count: count)
        oldSlots.deallocate()
        oldRecords.deallocate()
        // From the end: the last record, which fills a gap, has its slot by then.
        for position in stride(from: count - 1, through: 0, by: -1) where !place(records[position].tag, position: position) {
            out.append(records[position])
            fill(position)
        }
    }
}

internal import Synchronization

/// The entries of a range of slots. All of it is under one lock, ``ShardCell/lock``; readers without the lock find their way through
/// ``gate`` (`ByteStore+Read.swift`).
///
/// Nothing in here calls another shard. What shards share (the arena, the byte budget, the caches, the ages) are counters that need no
/// lock, or a lock that is only ever taken last.
struct Shard: ~Copyable, @unchecked Sendable {  // unchecked: its memory is reached through its lock only, or atomic
    let number: Int
    let shared: StoreShared
    let gate: Gate
    let entries: EntryMemory
    let index: ShardIndex
    var slab: Slab
    /// Order of values.
    var order: ValueOrder
    /// By writing; collected from the back.
    var tombstones = EntryList()
    /// Of everything that expires.
    var wheel: TimerWheel
    var slots: SlotTable
    var entering = EnteringFloors()
    var counts = ShardCounts()
    /// The last shard asked whether it has older values.
    var donorHand = 0
    /// Hash from which ``dropCleared(looksMax:bytesMax:)`` goes on.
    var clearingHash: UInt64 = 0

    init(
        number: Int, shared: StoreShared, gate: Gate, index: consuming ShardIndex, slab: consuming Slab, order: consuming ValueOrder,
        wheel: TimerWheel, slots: consuming SlotTable
    ) {
        self.number = number
        self.shared = shared
        self.gate = gate
        entries = index.entries
        self.index = index
        self.slab = slab
        self.order = order
        self.wheel = wheel
        self.slots = slots
    }

    // MARK: Looking up

    /// The handle of what is held for the key: tombstone, expired and cleared too; 0 when nothing is. O(1), at most 36 looks.
    @inline(__always)
    func find(_ id: KeyID, _ key: UnsafeRawBufferPointer) -> UInt32 {
        let hash = UInt32(truncatingIfNeeded: id.hash &>> 32)
        return index.find(hash) { handle in
            let entry = entries[handle]
            return entry.hash == hash && entry.cache == id.cache.value && KeyBytes.areEqual(self.key(entry), key)
        }
    }

    @inline(__always)
    func isCleared(_ entry: EntryRef) -> Bool {
        shared.caches.pointee.isCleared(entry.cache, clock: entry.clock, origin: entry.origin)
    }

    /// The value that a reader may have: no tombstone, not expired, not cleared. It becomes the last used.
    @inline(__always)
    mutating func use(_ id: KeyID, _ key: UnsafeRawBufferPointer, now: Tick) -> EntryRef? {
        let handle = find(id, key)
        guard handle != 0 else { return nil }
        let entry = entries[handle]
        guard !entry.state.isTombstone, !entry.isDead(at: now), !isCleared(entry) else { return nil }
        order.hit(handle, entries)
        return entry
    }

    /// What is held, unless it was cleared with its cache.
    func held(_ id: KeyID, _ key: UnsafeRawBufferPointer) -> EntryInfo? {
        let handle = find(id, key)
        guard handle != 0, !isCleared(entries[handle]) else { return nil }
        return entries[handle].info
    }

    /// The guard of a key with nothing held.
    func floor(_ id: KeyID) -> Stamp {
        max(entering.floor(id.bucket, id.cache.value) ?? slots.floor(id.bucket), shared.caches.pointee.floor(id.cache.value))
    }

    /// Something was dropped of a cache.
    mutating func raiseFloor(_ bucket: BucketIndex, to stamp: Stamp, of cache: UInt16) {
        slots.raiseFloor(bucket, to: stamp)
        entering.raise(bucket) { $0 == cache ? stamp : .zero }
    }

    // MARK: The one way out

    /// `due`: expired, and out of the wheel already.
    enum DropReason { case evicted, expired, due, collected, cleared, discarded, requested }

    /// Removes an entry that no newer one replaces: the floor of its bucket rises to its stamp. Nothing else removes entries, but
    /// ``forget(_:)`` (`STORE.md` §1.3).
    mutating func drop(_ handle: UInt32, _ reason: DropReason) {
        let entry = entries[handle]
        raiseFloor(entry.bucket, to: entry.stamp, of: entry.cache)
        switch reason {
        case .evicted: counts.evictions += 1
        case .expired, .due: counts.expiries += 1
        case .collected: counts.collections += 1
        case .cleared: counts.clearances += 1
        case .discarded, .requested: break
        }
        remove(handle, isInWheel: reason != .due && entry.state.expires)
    }

    /// Unlinks an entry everywhere and gives its memory back.
    /// - Parameter isInWheel: the wheel has given out those that it found due.
    mutating func remove(_ handle: UInt32, isInWheel: Bool) {
        let entry = entries[handle]
        let (hash, chunk, state) = (entry.hash, entry.chunk, entry.state)
        account(entry, sign: -1)
        if isInWheel { wheel.remove(handle, entries) }
        if state.isTombstone { tombstones.unlink(handle, entries) } else { order.removed(handle, entries) }
        var isSparse = false
        gate.change { isSparse = index.remove(hash, handle) }
        freeChunks(chunk, isChain: state.isChain)
        freeEntry(handle)
        if isSparse { index.shrink(hash, &slab, gate) }
    }

    /// Takes an entry into the counts of its cache and kind, or out of them.
    @inline(__always)
    mutating func account(_ entry: EntryRef, sign: Int) {
        let bytes = sign &* charge(entry)
        let isTombstone = entry.state.isTombstone
        counts.entries &+= sign
        if isTombstone {
            counts.tombstones &+= sign
            shared.budget.pointee.tombstoneBytes.wrappingAdd(bytes, ordering: .relaxed)
        }
        shared.caches.pointee.counts(entry.cache, shard: number)?.pointee.add(bytes: bytes, isTombstone: isTombstone, sign: sign)
    }

    /// Bytes of an entry: its share of entry page and index, and its chunks.
    @inline(__always)
    func charge(_ entry: EntryRef) -> Int { entry.charge(entries.base) }

    // MARK: Slots

    /// Removes all entries and floors of a slot without raising floors: the peer lost its standing and starts anew (`STORE.md` §5).
    /// O(entries of the slot and its neighbours), under the lock throughout: nobody sees it half forgotten.
    mutating func forget(_ slot: Int) {
        forgetEntries(slot) { _ in true }
        slots.forget(slot)
    }

    /// Removes the entries of some caches from a slot without raising floors.
    mutating func forgetEntries(_ slot: Int, where isGone: (UInt16) -> Bool) {
        var cursor: UInt32? = UInt32(slot) << 18
        while let start = cursor {
            cursor = withUnsafeTemporaryAllocation(of: UInt32.self, capacity: IndexWord.linesMax * IndexLine.places) { handles in
                let (count, next) = gather(slot, from: start, into: handles)
                for handle in handles[..<count] where isGone(entries[handle].cache) {
                    remove(handle, isInWheel: entries[handle].state.expires)
                }
                return next
            }
        }
        entering.end(slot, where: isGone)
        publishAge()
    }

    /// Whether a slot has neither entries nor floors. O(entries of its first blocks).
    func isBlank(_ slot: Int) -> Bool {
        guard slots.hasNoFloor(slot) else { return false }
        return withUnsafeTemporaryAllocation(of: UInt32.self, capacity: IndexWord.linesMax * IndexLine.places) { handles in
            var cursor: UInt32? = UInt32(slot) << 18
            while let start = cursor {
                let (count, next) = gather(slot, from: start, into: handles)
                if count > 0 { return false }
                cursor = next
            }
            return true
        }
    }

    /// The entries of a slot in the block of this hash, from the hash on, in no order.
    /// - Returns: how many, and the first hash of the slot beyond the block; nil: the block was the last.
    func gather(_ slot: Int, from hash: UInt32, into handles: UnsafeMutableBufferPointer<UInt32>) -> (Int, next: UInt32?) {
        let place = index.place(hash)
        var count = 0
        index.forEach(in: place.word) { handle in
            let found = entries[handle].hash
            guard found >= hash, Int(found >> 18) == slot else { return }
            handles[count] = handle
            count += 1
        }
        let next = index.end(of: place, hash)
        return (count, Int(next >> 18) == slot ? UInt32(truncatingIfNeeded: next) : nil)
    }
}

/// Counters of one shard.
struct ShardCounts: Sendable {
    var evictions = 0
    var expiries = 0
    var collections = 0
    var clearances = 0
    var forgotten = ForgottenCounts()
    /// Values and tombstones held.
    var entries = 0
    var tombstones = 0
}

/// Keys compared eight bytes at a time.
enum KeyBytes {
    @inline(__always)
    static func areEqual(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard left.count == right.count else { return false }
        guard let ours = left.baseAddress, let theirs = right.baseAddress else { return true }  // both are empty
        return areEqual(ours, theirs, left.count)
    }

    @inline(__always)
    static func areEqual(_ ours: UnsafeRawPointer, _ theirs: UnsafeRawPointer, _ count: Int) -> Bool {
        guard count >= 8 else {
            var offset = 0
            while offset < count {
                if ours.load(fromByteOffset: offset, as: UInt8.self) != theirs.load(fromByteOffset: offset, as: UInt8.self) { return false }
                offset &+= 1
            }
            return true
        }
        var offset = 0
        while offset < count &- 8 {
            if ours.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                != theirs.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            {
                return false
            }
            offset &+= 8
        }
        // The last word overlaps the one before unless the length is a multiple of eight.
        return ours.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            == theirs.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
    }
}

internal import Synchronization

/// The entries of a range of slots. All of it is under one lock, ``ShardCell/lock``.
///
/// Nothing in here calls another shard. What shards share (the byte budget, the caches, the ages) are counters that need no lock, or a
/// lock that is only ever taken last.
struct Shard: ~Copyable, @unchecked Sendable {  // unchecked: its memory is reached through its lock only
    let number: Int
    let shared: StoreShared
    var index: ShardIndex
    var entries = EntryTable()
    /// By last use; evicted from the back.
    var values = EntryList()
    /// By writing; collected from the back.
    var tombstones = EntryList()
    var slots: SlotTable
    var counts = ShardCounts()
    /// Entries from here up were looked at in this round of ``expire(now:dropsMax:looksMax:)``, or of ``dropCleared(looksMax:bytesMax:)``.
    var expiryCursor = 0
    var clearingCursor = 0

    init(number: Int, shared: StoreShared, slots: consuming SlotTable, seed: UInt64) {
        self.number = number
        self.shared = shared
        self.slots = slots
        index = ShardIndex(seed: seed)
    }

    deinit {
        for position in 0..<entries.count { entries[UInt32(position)].pointee.bytes.deallocate() }
    }

    // MARK: Looking up

    /// The handle of what is held for the key: tombstone, expired and cleared too; ``Entry/none`` when nothing is. O(1), at most 64 looks.
    @inline(__always)
    func find(_ id: KeyID, _ key: UnsafeRawBufferPointer) -> UInt32 {
        index.find(index.tag(id.hash)) { handle in
            let entry = entries[handle]
            return entry.pointee.hash == id.hash && entry.pointee.cache == id.cache.value && entry.pointee.hasKey(key)
        }
    }

    @inline(__always)
    func isCleared(_ entry: UnsafeMutablePointer<Entry>) -> Bool {
        shared.caches.pointee.isCleared(entry.pointee.cache, clock: entry.pointee.clock, origin: entry.pointee.origin)
    }

    /// The value that a reader may have: no tombstone, not expired, not cleared. It becomes the last used.
    @inline(__always)
    mutating func use(_ id: KeyID, _ key: UnsafeRawBufferPointer, now: Tick) -> UnsafeMutablePointer<Entry>? {
        let handle = find(id, key)
        guard handle != Entry.none else { return nil }
        let entry = entries[handle]
        guard !entry.pointee.isTombstone, !entry.pointee.isDead(at: now), !isCleared(entry) else { return nil }
        entry.pointee.touched = now.value
        values.moveToFront(handle, entries)
        return entry
    }

    /// What is held, unless it was cleared with its cache.
    func held(_ id: KeyID, _ key: UnsafeRawBufferPointer) -> EntryInfo? {
        let handle = find(id, key)
        guard handle != Entry.none, !isCleared(entries[handle]) else { return nil }
        return entries[handle].pointee.info
    }

    /// The guard of a key with nothing held.
    func floor(_ id: KeyID) -> Stamp { max(slots.floor(id.bucket), shared.caches.pointee.floor(id.cache.value)) }

    // MARK: The one way out

    enum DropReason { case evicted, expired, collected, cleared, discarded, requested }

    /// Removes an entry that no newer one replaces: the floor of its bucket rises to its stamp. Nothing else removes entries, but
    /// ``forget(_:)`` (`STORE.md` §1.3).
    /// - Returns: the handle that the entry now at `handle` had before. Equal to `handle` if the dropped one was the last.
    @discardableResult
    mutating func drop(_ handle: UInt32, _ reason: DropReason) -> UInt32 {
        let entry = entries[handle]
        slots.raiseFloor(BucketIndex(hash: entry.pointee.hash), to: entry.pointee.stamp)
        switch reason {
        case .evicted: counts.evictions += 1
        case .expired: counts.expiries += 1
        case .collected: counts.collections += 1
        case .cleared: counts.clearances += 1
        case .discarded, .requested: break
        }
        return remove(handle)
    }

    /// Unlinks an entry everywhere, gives its bytes back and closes the hole with the last entry.
    private mutating func remove(_ handle: UInt32) -> UInt32 {
        let entry = entries[handle]
        unaccount(entry)
        index.remove(index.tag(entry.pointee.hash), handle)
        if entry.pointee.isTombstone { tombstones.unlink(handle, entries) } else { values.unlink(handle, entries) }
        slots.unlink(handle, entries)
        let charge = entry.pointee.charge
        entry.pointee.bytes.deallocate()
        shared.budget.pointee.release(charge)

        let last = UInt32(entries.count - 1)
        entries.removeByMovingLast(handle, shared.budget.pointee)
        if handle != last {
            let moved = entries[handle]
            index.entryMoved(index.tag(moved.pointee.hash), from: last, to: handle)
            if moved.pointee.isTombstone { tombstones.entryMoved(to: handle, entries) } else { values.entryMoved(to: handle, entries) }
            slots.entryMoved(to: handle, entries)
        }
        index.shrinkIfSparse(count: entries.count, shared.budget.pointee)
        return last
    }

    /// Adds an entry to the counts of its cache and kind; called when it has its content.
    mutating func account(_ entry: UnsafeMutablePointer<Entry>) { account(entry, sign: 1) }

    /// Takes an entry out of the counts, before its content changes.
    mutating func unaccount(_ entry: UnsafeMutablePointer<Entry>) { account(entry, sign: -1) }

    private mutating func account(_ entry: UnsafeMutablePointer<Entry>, sign: Int) {
        let bytes = sign * (entry.pointee.charge + MemoryLayout<Entry>.stride)
        if entry.pointee.expires { counts.expiring += sign }
        if entry.pointee.isTombstone {
            counts.tombstones += sign
            shared.budget.pointee.tombstoneBytes.wrappingAdd(bytes, ordering: .relaxed)
        }
        guard let cell = shared.caches.pointee.cell(entry.pointee.cache) else { return }
        cell.pointee.bytes.wrappingAdd(bytes, ordering: .relaxed)
        if entry.pointee.isTombstone {
            cell.pointee.tombstones.wrappingAdd(sign, ordering: .relaxed)
        } else {
            cell.pointee.entries.wrappingAdd(sign, ordering: .relaxed)
        }
    }

    // MARK: Slots

    /// Removes all entries and floors of a slot without raising floors: the peer lost its standing and starts anew (`STORE.md` §5).
    /// O(entries of the slot), under the lock throughout: nobody sees it half forgotten.
    mutating func forget(_ slot: Int) {
        while case let head = slots.head(slot), head != Entry.none { _ = remove(head) }
        slots.forget(slot)
        publishAge()
    }
}

/// Counters of one shard.
struct ShardCounts: Sendable {
    var evictions = 0
    var expiries = 0
    var collections = 0
    var clearances = 0
    var forgotten = ForgottenCounts()
    /// Entries that expire some day.
    var expiring = 0
    /// Tombstones held.
    var tombstones = 0
}

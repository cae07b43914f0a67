extension Shard {
    /// Most entries dropped under one lock by a writer that needs room.
    private static let evictionsMax = 256

    /// The one routine behind `set`, `remove` and `apply`: find, guard, memory, then mint and store (`CONTRACT.md` §4).
    ///
    /// Memory comes before the stamp: until it is there the lock may be released, and two writers of a key must not mint in one order and
    /// store in the other.
    /// - Parameters:
    ///   - stamp: nil: ask `mint`, once, with the guard.
    ///   - mayWait: false: other shards have nothing more to give; what does not fit is forgotten.
    ///   - mayChooseDonor: whether a shard with much older values is asked before own values are evicted.
    mutating func write(
        _ request: WriteRequest, stamp: Stamp?, mayWait: Bool, mayChooseDonor: Bool, mint: (Stamp) -> Stamp
    ) -> WriteStep {
        guard slots.isHeld(request.id.slot.index) else { return .done(.notHolder, .zero) }
        var found = findUncleared(request)
        if let stamp, let refusal = refusal(request, stamp, found) { return .done(refusal, stamp) }

        let isTooLarge =
            request.key.count > WriteRequest.keyBytesMax || request.value.count > shared.budget.pointee.valueBytesMax
        var reserved: Int? = nil
        if !isTooLarge, !isDeadWhateverTheStamp(request) {
            switch makeRoom(request, &found, mayWait: mayWait, mayChooseDonor: mayChooseDonor) {
            case .reserved(let bytes): reserved = bytes
            case .none: break
            case .step(let step): return step
            }
        }

        let final = stamp ?? mint(guardStamp(request, found))
        if stamp == nil, let refusal = refusal(request, final, found) {
            shared.budget.pointee.release(reserved ?? 0)
            return .done(refusal, final)
        }
        let life = request.life(final)
        guard let reserved, !isDead(life) else {
            shared.budget.pointee.release(reserved ?? 0)
            let reason: WritableKeyPath<ForgottenCounts, Int> = isTooLarge ? \.tooLarge : isDead(life) ? \.expired : \.noRoom
            counts.forgotten[keyPath: reason] += 1
            return discard(request, final, found)
        }
        if found == Entry.none { insert(request, final, life) } else { replace(found, request, final, life, reserved: reserved) }
        publishAge()
        return .done(.stored, final)
    }

    // MARK: The guard

    /// What is held; if it was cleared with its cache it goes first.
    private mutating func findUncleared(_ request: WriteRequest) -> UInt32 {
        let handle = find(request.id, request.key)
        guard handle != Entry.none, isCleared(entries[handle]) else { return handle }
        drop(handle, .cleared)
        return Entry.none
    }

    private func guardStamp(_ request: WriteRequest, _ found: UInt32) -> Stamp {
        found == Entry.none ? floor(request.id) : entries[found].pointee.stamp
    }

    /// Nil when the stamp is above the guard.
    private mutating func refusal(_ request: WriteRequest, _ stamp: Stamp, _ found: UInt32) -> WriteResult? {
        let guardStamp = guardStamp(request, found)
        if stamp > guardStamp { return nil }
        if found != Entry.none { return stamp == guardStamp ? .stored : .superseded }
        counts.forgotten.floor += 1
        return .forgotten
    }

    private func isDead(_ life: WriteRequest.Life) -> Bool { if case .dead = life { true } else { false } }

    private func isDeadWhateverTheStamp(_ request: WriteRequest) -> Bool {
        switch request.content {
        case .value(_, let ttl): ttl.map { $0 <= .zero } ?? false
        case .tombstone: isDead(request.life(.zero))
        }
    }

    /// A write that cannot be stored counts as stored and dropped at once: else the old value would be a stale hit (`STORE.md` §1.4).
    private mutating func discard(_ request: WriteRequest, _ stamp: Stamp, _ found: UInt32) -> WriteStep {
        if found != Entry.none { drop(found, .discarded) }
        slots.raiseFloor(request.id.bucket, to: stamp)
        publishAge()
        return .done(.forgotten, stamp)
    }

    // MARK: Room

    private enum Room {
        case reserved(Int)
        case none
        case step(WriteStep)
    }

    /// Reserves what the write takes beyond what it replaces, evicting as needed. `found` follows its entry, which is not evicted.
    private mutating func makeRoom(_ request: WriteRequest, _ found: inout UInt32, mayWait: Bool, mayChooseDonor: Bool) -> Room {
        var evicted = 0
        while true {
            let isNew = found == Entry.none
            let bytes = max(0, request.charge - (isNew ? 0 : entries[found].pointee.charge))
            if !isNew || growTables(), shared.budget.pointee.reserve(bytes) { return .reserved(bytes) }
            if evicted == 0, mayWait, mayChooseDonor,
                let donor = shared.ages.pointee.donor(for: number, own: oldestUse, now: request.now)
            {
                return .step(.blocked(bytes: bytes, donor: donor))
            }
            if evicted >= Self.evictionsMax { return mayWait ? .step(.again) : .none }
            guard let victim = victim(sparing: found) else {
                if !mayWait { return .none }
                return .step(.blocked(bytes: bytes + EntryTable.segmentCharge, donor: shared.ages.pointee.next()))
            }
            drop(victim, .evicted)
            evicted += 1
            if !isNew { found = find(request.id, request.key) }
        }
    }

    /// Makes room for one more entry in table and index. False: no bytes for it.
    private mutating func growTables() -> Bool {
        if entries.count >= index.entriesMax, !index.grow(shared.budget.pointee) { return false }
        return entries.growIfFull(shared.budget.pointee)
    }

    /// The next to go: the oldest tombstone while all together take more than their share, else the least recently used value, else the
    /// oldest tombstone. Nil when there is none but `spared`.
    private func victim(sparing spared: UInt32) -> UInt32? {
        var tombstone = tombstones.back
        if tombstone == spared, tombstone != Entry.none { tombstone = entries[tombstone].pointee.newer }
        var value = values.back
        if value == spared, value != Entry.none { value = entries[value].pointee.newer }
        let prefersTombstone = value == Entry.none || shared.budget.pointee.hasTooManyTombstones
        let chosen = prefersTombstone && tombstone != Entry.none ? tombstone : value
        return chosen == Entry.none ? nil : chosen
    }

    /// Evicts until `bytes` are released, at most 256 entries.
    /// - Returns: bytes released.
    mutating func evict(bytes: Int) -> Int {
        var released = 0
        var evicted = 0
        while released < bytes, evicted < Self.evictionsMax, let victim = victim(sparing: Entry.none) {
            released += entries[victim].pointee.charge + MemoryLayout<Entry>.stride
            drop(victim, .evicted)
            evicted += 1
        }
        publishAge()
        return released
    }

    private var oldestUse: UInt32? { values.back == Entry.none ? nil : entries[values.back].pointee.touched }

    /// Tells the other shards how old the oldest value is. Hits do not: what they read may be older than the truth.
    func publishAge() { shared.ages.pointee.publish(number, oldestUse) }

    // MARK: Storing

    private mutating func insert(_ request: WriteRequest, _ stamp: Stamp, _ life: WriteRequest.Life) {
        let tag = index.tag(request.id.hash)
        while let crowded = index.insert(tag, UInt32(entries.count)) {
            // Homes spread when the index grows, but equal hashes share theirs for ever: grow only while that looks like bad luck.
            if entries.count > index.capacity / 2, index.grow(shared.budget.pointee) { continue }
            guard let victim = lowestStamp(crowded) else { return assertionFailure("the index has no room and nothing in it") }
            drop(victim, .evicted)
        }
        let handle = entries.append(
            Entry(
                hash: request.id.hash, clock: stamp.clock, bytes: Self.allocate(request), origin: stamp.origin, expiry: 0,
                valueBytes: 0, keyBytes: 0, cache: request.id.cache.value, newer: Entry.none, older: Entry.none,
                slotNext: Entry.none, slotBack: Entry.none, touched: 0, isTombstone: false, expires: false))
        fill(handle, request, stamp, life)
        slots.link(handle, entries)
    }

    /// - Parameter reserved: bytes that the new content takes beyond the old; counted already.
    private mutating func replace(
        _ handle: UInt32, _ request: WriteRequest, _ stamp: Stamp, _ life: WriteRequest.Life, reserved: Int
    ) {
        let entry = entries[handle]
        unaccount(entry)
        if entry.pointee.isTombstone { tombstones.unlink(handle, entries) } else { values.unlink(handle, entries) }
        let (old, new) = (entry.pointee.charge, request.charge)
        if old != new {
            entry.pointee.bytes.deallocate()  // before the new one is taken: the bound holds at every moment
            entry.pointee.bytes = Self.allocate(request)
            shared.budget.pointee.release(old + reserved - new)
        }
        fill(handle, request, stamp, life)
    }

    private static func allocate(_ request: WriteRequest) -> UnsafeMutableRawPointer {
        .allocate(byteCount: AllocatorClass.usable(request.charge), alignment: 16)
    }

    /// Writes content into an entry that has its bytes but is in no list.
    private mutating func fill(_ handle: UInt32, _ request: WriteRequest, _ stamp: Stamp, _ life: WriteRequest.Life) {
        let entry = entries[handle]
        entry.pointee.clock = stamp.clock
        entry.pointee.origin = stamp.origin
        entry.pointee.keyBytes = UInt16(request.key.count)
        entry.pointee.valueBytes = UInt32(request.value.count)
        entry.pointee.touched = request.now.value
        entry.pointee.isTombstone = request.isTombstone
        entry.pointee.expires = false
        if case .until(let tick) = life {
            entry.pointee.expires = true
            entry.pointee.expiry = tick.value
        }
        let bytes = entry.pointee.bytes
        if let key = request.key.baseAddress { bytes.copyMemory(from: key, byteCount: request.key.count) }
        if let value = request.value.baseAddress { (bytes + request.key.count).copyMemory(from: value, byteCount: request.value.count) }
        account(entry)
        if request.isTombstone { tombstones.pushFront(handle, entries) } else { values.pushFront(handle, entries) }
    }

    /// The entry of the lowest stamp in these positions of the index.
    private func lowestStamp(_ positions: Range<Int>) -> UInt32? {
        var lowest: UInt32? = nil
        for position in positions {
            guard let handle = index.handle(at: position) else { continue }
            if let known = lowest, entries[known].pointee.stamp <= entries[handle].pointee.stamp { continue }
            lowest = handle
        }
        return lowest
    }
}

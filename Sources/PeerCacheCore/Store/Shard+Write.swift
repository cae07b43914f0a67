extension Shard {
    /// Most entries dropped under one lock by a writer that needs room.
    static let evictionsMax = 256
    /// Due entries that a writer drops first.
    private static let expiriesPerWrite = 16

    /// The one routine behind `set`, `remove` and `apply`: find, guard, memory, then mint and store (`CONTRACT.md` §4).
    ///
    /// Memory comes before the stamp: until it is there the lock may be released, and two writers of a key must not mint in one order and
    /// store in the other.
    /// - Parameters:
    ///   - stamp: nil: ask `mint`, once, with the guard.
    ///   - pending: memory got in earlier rounds; empty again when the answer is `.done`.
    ///   - mayWait: false: other shards have nothing more to give; what does not fit is forgotten.
    ///   - mayChooseDonor: whether a shard with much older values is asked before own values are evicted.
    mutating func write(
        _ request: WriteRequest, stamp: Stamp?, _ pending: inout PendingWrite, mayWait: Bool, mayChooseDonor: Bool,
        mint: (Stamp) -> Stamp?
    ) -> WriteStep {
        let step = attempt(request, stamp: stamp, &pending, mayWait: mayWait, mayChooseDonor: mayChooseDonor, mint: mint)
        if case .done = step, pending.chunk | pending.entry | pending.pieces != 0 { release(&pending) }
        return step
    }

    @inline(__always)
    private mutating func attempt(
        _ request: WriteRequest, stamp: Stamp?, _ pending: inout PendingWrite, mayWait: Bool, mayChooseDonor: Bool,
        mint: (Stamp) -> Stamp?
    ) -> WriteStep {
        guard slots.isHeld(request.id.slot.index) else { return .done(.notHolder, .zero) }
        if wheel.isBehind(request.now) { _ = expire(now: request.now, dropsMax: Self.expiriesPerWrite, looksMax: 64) }
        var found = findUncleared(request)
        if let stamp, let refusal = refusal(request, stamp, found, isMinted: false) { return .done(refusal, stamp) }

        let isTooLarge =
            request.key.count > WriteRequest.keyBytesMax || request.value.count > shared.budget.pointee.valueBytesMax
            || !makeQuotaRoom(request, sparing: found)
        var hasRoom = false
        if !isTooLarge, !isDeadWhateverTheStamp(request) {
            switch makeRoom(request, &found, &pending, mayWait: mayWait, mayChooseDonor: mayChooseDonor) {
            case .ready, .progress: hasRoom = true
            case .none: break
            case .step(let step): return step
            }
        }

        guard let final = stamp ?? mint(guardStamp(request, found)) else { return .done(.refused, .zero) }
        if stamp == nil, let refusal = refusal(request, final, found, isMinted: true) { return .done(refusal, final) }
        // Among versions it would be the lowest: it counts as kept and dropped at once, so that everything of before is below the floor.
        if request.isTombstone, request.value.isEmpty, shared.caches.pointee.isVersioned(request.id.cache.value) {
            return discard(request, final, found)
        }
        let life = request.life(final)
        guard hasRoom, !isDead(life) else {
            let reason: WritableKeyPath<ForgottenCounts, Int> = isTooLarge ? \.tooLarge : isDead(life) ? \.expired : \.noRoom
            counts.forgotten[keyPath: reason] += 1
            return discard(request, final, found)
        }
        store(request, final, life, found, &pending)
        publishAge()
        return .done(.stored, final)
    }

    // MARK: The guard

    /// What is held; if it was cleared with its cache it goes first.
    @inline(__always)
    private mutating func findUncleared(_ request: WriteRequest) -> UInt32 {
        let handle = find(request.id, request.key)
        guard handle != 0, isCleared(entries[handle]) else { return handle }
        drop(handle, .cleared)
        return 0
    }

    private func guardStamp(_ request: WriteRequest, _ found: UInt32) -> Stamp {
        found == 0 ? floor(request.id) : entries[found].stamp
    }

    /// Nil when the stamp is above the guard, and the version not below the held one.
    private mutating func refusal(_ request: WriteRequest, _ stamp: Stamp, _ found: UInt32, isMinted: Bool) -> WriteResult? {
        switch judge(request, stamp, found, isMinted: isMinted) {
        case .older: return .superseded
        case .newer: return nil
        case nil: break
        }
        let guardStamp = guardStamp(request, found)
        if stamp > guardStamp { return nil }
        if found != 0 { return stamp == guardStamp ? .stored : .superseded }
        counts.forgotten.floor += 1
        return .forgotten
    }

    private func isDead(_ life: WriteRequest.Life) -> Bool { if case .dead = life { true } else { false } }

    private func isDeadWhateverTheStamp(_ request: WriteRequest) -> Bool {
        switch request.content {
        case .value(_, let ttl, _): ttl.map { $0 <= .zero } ?? false
        case .tombstone: isDead(request.life(.zero))
        }
    }

    /// A write that cannot be stored counts as stored and dropped at once: else the old value would be a stale hit (`STORE.md` §1.4).
    private mutating func discard(_ request: WriteRequest, _ stamp: Stamp, _ found: UInt32) -> WriteStep {
        if found != 0 { drop(found, .discarded) }
        raiseFloor(request.id.bucket, to: stamp, of: request.id.cache.value)
        publishAge()
        return .done(.forgotten, stamp)
    }

    // MARK: Storing

    /// Publishes what was written into the pending memory. There is room for it in the index.
    @inline(__always)
    private mutating func store(
        _ request: WriteRequest, _ stamp: Stamp, _ life: WriteRequest.Life, _ found: UInt32, _ pending: inout PendingWrite
    ) {
        fill(pending, request)
        let handle = found == 0 ? pending.entry : found
        let entry = entries[handle]
        var (old, wasChain) = (UInt32(0), false)
        var replaced: (state: EntryRef.State, era: UInt8, cost: Int)? = nil  // a value that stays in its list
        if found != 0 {
            account(entry, sign: -1)
            let state = entry.state
            (old, wasChain) = (entry.chunk, state.isChain)
            if state.expires { wheel.remove(handle, entries) }
            if state.isTombstone {
                tombstones.unlink(handle, entries)
            } else if request.isTombstone {
                order.removed(handle, entries)
            } else {
                replaced = (state, entry.era, charge(entry))
            }
        }
        var expiry: Tick? = nil
        if case .until(let tick) = life { expiry = tick }
        let state = EntryRef.State(
            isTombstone: request.isTombstone, isChain: request.layout.isChain, expires: expiry != nil, policy: replaced?.state.bits ?? 0)
        let (hash, chunk, isNew) = (request.hash, pending.chunk, found == 0)
        gate.change {
            entry.publish(
                hash: hash, chunk: chunk, valueBytes: UInt32(truncatingIfNeeded: request.value.count), expiry: expiry?.value ?? 0,
                stamp: stamp, cache: request.id.cache.value, state: state, era: replaced?.era ?? 0)
            if isNew {
                let isInserted = index.insert(hash, handle)
                assert(isInserted)
            }
        }
        pending.chunk = 0
        pending.pieces = 0
        pending.pieceCount = 0
        if isNew { pending.entry = 0 }
        if old != 0 { freeChunks(old, isChain: wasChain) }
        account(entry, sign: 1)
        if let expiry { wheel.insert(handle, expiry: expiry, entries) }
        if request.isTombstone {
            tombstones.pushFront(handle, entries)
        } else if let replaced {
            order.replaced(handle, costBefore: replaced.cost, explicit: request.isExplicit, entries)
        } else {
            order.inserted(handle, explicit: request.isExplicit, count: counts.entries, now: request.now, entries)
            if order.isResizeDue { order.resizeUnlessRefused(CountedMemory(shared)) }
        }
    }
}

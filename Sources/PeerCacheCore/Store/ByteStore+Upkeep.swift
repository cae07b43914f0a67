internal import Synchronization

extension ByteStore {
    /// Where ``sweep(now:bytesMax:)`` goes on.
    struct Upkeep: Sendable {
        /// Next shard to evict from above a lowered limit, or to collect tombstones from.
        var hand = 0
        /// ``ByteStore/clearings`` when the running round through all shards began, and when the last complete one did.
        var clearingRound = 0
        var clearingsDone = 0
        /// Shard of the running round; at ``ByteStore/shardCount`` it is complete.
        var clearingShard = Int.max
        var startsShard = false
    }

    private static let dropsPerLock = 64
    private static let looksPerLock = 1024

    /// Drops entries whose time is up, up to `entriesMax`, at most 64 under one lock, shard after shard. To be called regularly: an idle
    /// store gives memory back too.
    /// - Returns: entries dropped.
    package func expire(now: Tick, entriesMax: Int) -> Int {
        var (dropped, idle) = (0, 0)
        while idle < shardCount, dropped < entriesMax {
            let hand = expiryHand.wrappingAdd(1, ordering: .relaxed).oldValue
            let dropsMax = min(Self.dropsPerLock, entriesMax - dropped)
            let slice = cells[hand & (shardCount - 1)].lock.withLock { shard in
                shard.wheel.isBehind(now) ? shard.expire(now: now, dropsMax: dropsMax, looksMax: Self.looksPerLock) : nil
            }
            dropped += slice?.dropped ?? 0
            idle = slice?.isComplete ?? true ? idle + 1 : 0
        }
        return dropped
    }

    /// Fits the policy's own tables to what is held, evicts down to a limit that was lowered, collects the oldest tombstones above 5 % of the
    /// limit, and drops entries of cleared caches: in this order, until entries of `bytesMax` bytes were dropped or looked at.
    /// - Returns: whether work is left.
    package func sweep(now: Tick, bytesMax: Int) -> Bool {
        upkeep.withLock { upkeep in
            var left = bytesMax
            return fitOrders(&left) || shrink(&upkeep, &left) || collect(&upkeep, &left) || clear(&upkeep, &left)
        }
    }

    /// Sets the limit and returns; nothing more is taken above it, and ``sweep(now:bytesMax:)`` gives back what is. A limit below
    /// the store's smallest is raised to that: 1 MiB, more for a store that was made larger (8 MiB from there on, 64 KiB per shard).
    package func setLimit(_ bytes: Int) {
        let isLower = bytes < shared.budget.pointee.limit
        shared.budget.pointee.setLimit(max(limitFloor, bytes))
        if isLower { for number in 0..<shardCount { cells[number].lock.withLock { $0.order.expectNothing() } } }
    }

    /// State and counters. O(shards × caches), one lock after the other.
    package var memory: StoreMemory {
        var memory = StoreMemory()
        memory.limit = shared.budget.pointee.limit
        memory.counted = shared.budget.pointee.counted
        memory.free = shared.arena.pointee.pageCounts.free * Arena.pageBytes
        for cache in 0..<UInt16(shared.caches.pointee.count) { memory.charged += usage(of: CacheIndex(cache)).bytes }
        for number in 0..<shardCount {
            let (counts, slots) = cells[number].lock.withLock { ($0.counts, $0.slots.heldCount) }
            memory.entries += counts.entries - counts.tombstones
            memory.tombstones += counts.tombstones
            memory.slotsHeld += slots
            memory.evictions += counts.evictions
            memory.expiries += counts.expiries
            memory.collections += counts.collections
            memory.clearances += counts.clearances
            memory.forgotten.floor += counts.forgotten.floor
            memory.forgotten.tooLarge += counts.forgotten.tooLarge
            memory.forgotten.noRoom += counts.forgotten.noRoom
            memory.forgotten.expired += counts.forgotten.expired
        }
        return memory
    }

    /// Bytes counted for the policy's own tables: sketches, ghosts, lists of quotas. O(shards).
    package var policyBytes: Int {
        (0..<shardCount).reduce(0) { bytes, number in
            bytes + cells[number].lock.withLock { $0.order.heapCharge + $0.order.pages * Arena.pageCharge }
        }
    }

    // MARK: Parts of a sweep; each returns whether it has work left

    /// Gives pages back to the system: free ones first, then those of shard after shard.
    private func shrink(_ upkeep: inout Upkeep, _ left: inout Int) -> Bool {
        var idle = 0
        while shared.budget.pointee.isExceeded, idle < shardCount {
            if shared.arena.pointee.trim(shared.budget.pointee) > 0 { continue }
            if left <= 0 { return true }
            let slice = cells[upkeep.hand & (shardCount - 1)].lock.withLock { $0.givePages(1, dropsMax: Self.dropsPerLock) }
            idle = slice.dropped == 0 && slice.pages == 0 ? idle + 1 : 0
            left -= slice.bytes
            upkeep.hand &+= 1
        }
        return false
    }

    private func collect(_ upkeep: inout Upkeep, _ left: inout Int) -> Bool {
        var idle = 0
        while shared.budget.pointee.hasTooManyTombstones, idle < shardCount {
            if left <= 0 { return true }
            let slice = cells[upkeep.hand & (shardCount - 1)].lock.withLock { $0.collectTombstones(dropsMax: Self.dropsPerLock) }
            idle = slice.dropped == 0 ? idle + 1 : 0
            left -= slice.bytes
            upkeep.hand &+= 1
        }
        return false
    }

    /// Sketches and ghosts that are too large for what is left, or got no memory when they should have grown: values are evicted for that.
    private func fitOrders(_ left: inout Int) -> Bool {
        for number in 0..<shardCount {
            let memory = CountedMemory(shared)
            while let isGranted = cells[number].lock.withLock({ $0.order.isResizeDue ? $0.order.resize(memory) : nil }) {
                if left <= 0 { return true }
                left -= Arena.pageBytes
                if isGranted { continue }
                if shared.budget.pointee.isExceeded { break }  // they shrink with the values
                guard makePages(1, from: number, except: nil) > 0 else { return false }
                // Less than a piece comes from the heap.
                guard cells[number].lock.withLock({ $0.order.pages == 0 }) else { continue }
                _ = shared.arena.pointee.trim(shared.budget.pointee, for: CountedMemory.heapCharge(LineTable.pieceBytes))
            }
        }
        return false
    }

    /// One round through all shards after the last floor was raised. An entry at or below a floor was inserted before that, as each write
    /// compares the floor under its shard's lock.
    private func clear(_ upkeep: inout Upkeep, _ left: inout Int) -> Bool {
        let raised = clearings.load(ordering: .acquiring)
        if upkeep.clearingRound != raised {  // the running round may have passed entries that the new floor clears
            upkeep.clearingRound = raised
            upkeep.clearingShard = 0
            upkeep.startsShard = true
        }
        while upkeep.clearingsDone != raised {
            if left <= 0 { return true }
            let starts = upkeep.startsShard
            let bytesMax = left
            let slice = cells[upkeep.clearingShard].lock.withLock { shard in
                if starts { shard.startClearing() }
                return shard.dropCleared(looksMax: Self.looksPerLock, bytesMax: bytesMax)
            }
            left -= slice.bytes + (slice.looks - slice.dropped) * EntryRef.bytes
            upkeep.startsShard = slice.isComplete
            guard slice.isComplete else { continue }
            upkeep.clearingShard += 1
            if upkeep.clearingShard == shardCount { upkeep.clearingsDone = raised }
        }
        return false
    }
}

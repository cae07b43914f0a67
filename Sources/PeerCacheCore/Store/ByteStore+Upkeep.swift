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

    /// Looks per wanted drop.
    private static let looksPerDrop = 16
    private static let dropsPerLock = 64

    /// Drops entries whose time is up, up to `entriesMax`, and looks at 16 times as many at most, going on where the last call ended. To be
    /// called regularly: an idle store gives memory back too.
    /// - Returns: entries dropped.
    package func expire(now: Tick, entriesMax: Int) -> Int {
        var dropped = 0
        var looks = entriesMax.multipliedReportingOverflow(by: Self.looksPerDrop).overflow ? Int.max : entriesMax * Self.looksPerDrop
        var completed = 0
        while completed < shardCount, dropped < entriesMax, looks > 0 {
            let hand = expiryHand.load(ordering: .relaxed)
            let (dropsMax, looksMax) = (min(Self.dropsPerLock, entriesMax - dropped), min(Self.dropsPerLock * Self.looksPerDrop, looks))
            let slice = cells[hand & (shardCount - 1)].lock.withLock { $0.expire(now: now, dropsMax: dropsMax, looksMax: looksMax) }
            dropped += slice.dropped
            looks -= slice.looks
            if slice.isComplete {
                completed += 1
                // Two callers may finish the same shard: only one moves on.
                _ = expiryHand.compareExchange(expected: hand, desired: hand &+ 1, ordering: .relaxed)
            }
        }
        return dropped
    }

    /// Evicts down to a limit that was lowered, collects the oldest tombstones above 5 % of the limit, and drops entries of cleared caches:
    /// in this order, until entries of `bytesMax` bytes were dropped or looked at.
    /// - Returns: whether work is left.
    package func sweep(now: Tick, bytesMax: Int) -> Bool {
        upkeep.withLock { upkeep in
            var left = bytesMax
            return shrink(&upkeep, &left) || collect(&upkeep, &left) || clear(&upkeep, &left)
        }
    }

    /// Sets the limit and returns at once; nothing more is taken above it, and ``sweep(now:bytesMax:)`` gives back what is. A limit below
    /// the store's smallest is raised to that: 1 MiB, more for a store that was made larger (8 MiB from there on, 64 KiB per shard).
    package func setLimit(_ bytes: Int) { shared.budget.pointee.setLimit(max(limitFloor, bytes)) }

    /// State and counters. O(shards), one lock after the other.
    package var memory: StoreMemory {
        var memory = StoreMemory()
        memory.limit = shared.budget.pointee.limit
        memory.counted = shared.budget.pointee.counted
        for number in 0..<shardCount {
            let (counts, held, slots) = cells[number].lock.withLock { ($0.counts, $0.heldCounts, $0.slots.heldCount) }
            memory.entries += held.values
            memory.tombstones += held.tombstones
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

    // MARK: Parts of a sweep; each returns whether it has work left

    private func shrink(_ upkeep: inout Upkeep, _ left: inout Int) -> Bool {
        var idle = 0
        while shared.budget.pointee.isExceeded, idle < shardCount {
            if left <= 0 { return true }
            let slice = cells[upkeep.hand & (shardCount - 1)].lock.withLock { $0.shrink(dropsMax: Self.dropsPerLock) }
            idle = slice.dropped == 0 ? idle + 1 : 0
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
                return shard.dropCleared(looksMax: Self.dropsPerLock * Self.looksPerDrop, bytesMax: bytesMax)
            }
            left -= slice.bytes + (slice.looks - slice.dropped) * MemoryLayout<Entry>.stride
            upkeep.startsShard = slice.isComplete
            guard slice.isComplete else { continue }
            upkeep.clearingShard += 1
            if upkeep.clearingShard == shardCount { upkeep.clearingsDone = raised }
        }
        return false
    }
}

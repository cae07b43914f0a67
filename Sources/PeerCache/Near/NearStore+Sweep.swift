internal import PeerCacheCore
internal import Synchronization

extension NearStore {
    private static let sweepPerLock = 256

    /// Looks at the next entries in turn and drops those that are expired or below their cache's floor.
    /// - Parameters:
    ///   - nowMilliseconds: since 1970.
    ///   - entriesMax: how many to look at; the next call goes on from there. Every entry is met at least once in as many calls as
    ///     the store has entries / `entriesMax`, but for those that move while others are removed.
    /// - Returns: how many were dropped.
    /// - Complexity: O(`entriesMax`), at most 256 under one lock.
    @discardableResult
    package func sweep(nowMilliseconds: UInt64, entriesMax: Int) -> Int {
        var budget = entriesMax, dropped = 0, shardsLeft = shardCount
        while budget > 0, shardsLeft > 0 {
            let index = sweepShard.load(ordering: .relaxed)
            let shard = shard(at: index & (shardCount - 1))
            var out = NearRetired()
            var slice = min(budget, Self.sweepPerLock)
            let given = slice
            shard.lock.lock()
            let isAtEnd = shard.sweep(&slice, isCurrent: { isCurrent($0, nowMilliseconds: nowMilliseconds) }, out: &out)
            for record in out.records { uncount(record) }
            shard.lock.unlock()
            dropped += out.records.count
            retire(out)
            budget -= given - slice
            if isAtEnd {
                shardsLeft -= 1
                // Another sweep may have gone on already.
                _ = sweepShard.compareExchange(expected: index, desired: index &+ 1, ordering: .relaxed)
            }
        }
        return dropped
    }

    /// Drops everything; floors stay. Copies stored meanwhile by other threads may survive.
    /// - Complexity: O(entries), one shard under a lock at a time.
    package func removeAll() {
        for index in 0..<shardCount {
            let shard = shard(at: index)
            var out = NearRetired()
            shard.lock.lock()
            shard.removeAll(out: &out)
            for record in out.records { uncount(record) }
            shard.lock.unlock()
            retire(out)
        }
    }

    /// New bounds, at once for insertions. Evicts until the store is within them.
    /// - Complexity: O(1) for each entry that has to go.
    package func setLimits(_ limits: Limits, nowMilliseconds: UInt64) {
        entriesMax.store(limits.entriesMax, ordering: .relaxed)
        costMax.store(limits.costMax, ordering: .relaxed)
        var isLeft = true
        while isLeft, isAboveLimits {
            var out = NearRetired()
            for _ in 0..<Self.evictionsPerLock where isLeft && isAboveLimits {
                isLeft = evictElsewhere(nowMilliseconds: nowMilliseconds, out: &out)
            }
            retire(out)
        }
    }

    private var isAboveLimits: Bool {
        entries.load(ordering: .relaxed) > entriesMax.load(ordering: .relaxed)
            || cost.load(ordering: .relaxed) > costMax.load(ordering: .relaxed)
    }

    /// What is held. The parts are read one after the other.
    package var usage: Usage { Usage(entries: entries.load(ordering: .relaxed), cost: cost.load(ordering: .relaxed)) }
}

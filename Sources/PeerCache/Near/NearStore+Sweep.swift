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
            var out: [NearRecord] = []
            shard.lock.lock()
            let slice = min(budget, Self.sweepPerLock)
            let (seen, isAtEnd) = sweep(shard, count: slice, nowMilliseconds: nowMilliseconds, out: &out)
            shard.lock.unlock()
            release(out)
            dropped += out.count
            budget -= seen
            if isAtEnd {
                shardsLeft -= 1
                // Another sweep may have gone on already.
                _ = sweepShard.compareExchange(expected: index, desired: index &+ 1, ordering: .relaxed)
            }
        }
        return dropped
    }

    private func sweep(_ shard: Shard, count: Int, nowMilliseconds: UInt64, out: inout [NearRecord]) -> (seen: Int, isAtEnd: Bool) {
        var seen = 0
        while seen < count {
            let position = shard.state.pointee.sweepPosition
            guard position < shard.state.pointee.count else { break }
            seen += 1
            let record = shard.state.pointee.records + position
            if shard.state.pointee.isCurrent(record, nowMilliseconds: nowMilliseconds) {
                shard.state.pointee.sweepPosition += 1
            } else {
                remove(record, from: shard, out: &out)  // another record has moved to this position
            }
        }
        let isAtEnd = shard.state.pointee.sweepPosition >= shard.state.pointee.count
        if isAtEnd { shard.state.pointee.sweepPosition = 0 }
        return (seen, isAtEnd)
    }

    /// Drops everything; floors stay. Copies stored meanwhile by other threads may survive.
    /// - Complexity: O(entries), but O(1) under each lock.
    package func removeAll() {
        for index in 0..<shardCount {
            let shard = shard(at: index)
            shard.lock.lock()
            let all = shard.state.pointee.takeAll()
            shard.lock.unlock()
            for record in all { uncount(record) }
            release(all)
            all.deallocate()
        }
    }

    /// New bounds, at once for insertions. Evicts until the store is within them.
    /// - Complexity: O(1) for each entry that has to go.
    package func setLimits(_ limits: Limits, nowMilliseconds: UInt64) {
        entriesMax.store(limits.entriesMax, ordering: .relaxed)
        costMax.store(limits.costMax, ordering: .relaxed)
        var isLeft = true
        while isLeft, isAboveLimits {
            var out: [NearRecord] = []
            for _ in 0..<Self.evictionsPerLock where isLeft && isAboveLimits {
                isLeft = evictElsewhere(nowMilliseconds: nowMilliseconds, out: &out)
            }
            release(out)
        }
    }

    private var isAboveLimits: Bool {
        entries.load(ordering: .relaxed) > entriesMax.load(ordering: .relaxed)
            || cost.load(ordering: .relaxed) > costMax.load(ordering: .relaxed)
    }

    /// What is held and how often it was of use. The parts are read one after the other.
    /// - Complexity: O(shards).
    package var usage: Usage {
        var usage = Usage(entries: entries.load(ordering: .relaxed), cost: cost.load(ordering: .relaxed))
        for index in 0..<shardCount {
            let shard = shard(at: index)
            shard.lock.lock()
            usage.hits += shard.state.pointee.hits
            usage.misses += shard.state.pointee.misses
            shard.lock.unlock()
        }
        return usage
    }
}

internal import Synchronization

extension ByteStore {
    /// Smallest quota of a cache.
    package static let quotaMin = 1 << 20

    /// Lets the values of a cache take no more than `bytes`, entry and rounding included, and evicts what is above that; nil: as much as the
    /// others leave. Others may evict its values too: a quota is a ceiling and no reserve. Writes at the same time may exceed it, each by its
    /// own entry until it returns. A value that is larger alone cannot be kept. Nothing happens when the cache is unknown.
    ///
    /// - Parameter bytes: at least ``quotaMin``; a lower one counts as that.
    /// - Throws: when there are quotas for 64 caches, or there is no room. Nothing has changed then.
    /// - Complexity: O(entries), each shard under its lock, if the cache had none or loses it; else O(what is evicted).
    package func setQuota(_ cache: CacheIndex, _ bytes: Int?) throws(StoreError) {
        guard let cell = shared.caches.pointee.cell(cache.value) else { return }
        try quotas.withLock { (quotas) throws(StoreError) in
            let charge = shardCount * ValueOrder.setCharge
            let hasQuota = quotas.contains(cache.value)
            if bytes != nil, !hasQuota {
                guard quotas.count < ValueOrder.quotasMax else { throw .tooManyQuotas(max: ValueOrder.quotasMax) }
                while !shared.budget.pointee.reserve(charge) { try makeRoom(forFixed: charge) }
                quotas.append(cache.value)
            }
            if (bytes != nil) != hasQuota {
                for number in 0..<shardCount { cells[number].lock.withLock { $0.setHasQuota(bytes != nil, cache.value) } }
            }
            cell.pointee.quota.store(bytes.map { max(Self.quotaMin, $0) } ?? 0, ordering: .relaxed)
            if bytes == nil, hasQuota {
                quotas.removeAll { $0 == cache.value }
                shared.budget.pointee.release(charge)
            }
        }
        evictEvenly(cache.value)
        keepQuota(cache.value, from: 0)
    }

    /// Takes what a cache has above its quota from each shard by what that has of it.
    private func evictEvenly(_ cache: UInt16) {
        let all = shared.caches.pointee.valueBytes(cache)
        guard let excess = excess(cache), all > 0 else { return }
        for number in 0..<shardCount {
            let own = shared.caches.pointee.counts(cache, shard: number)?.pointee.valueBytesNow ?? 0
            var share = Int(Double(excess) * (Double(own) / Double(all)))
            while share > 0 {
                let freed = cells[number].lock.withLock { $0.evict(cache, bytes: share) }
                share = freed == 0 ? 0 : share - freed
            }
        }
    }

    /// Evicts what a cache has above its quota, shard after shard: when the one that was written to has nothing left to give.
    func keepQuota(_ cache: UInt16, from first: Int) {
        for step in 0..<shardCount {
            while let excess = excess(cache) {
                if cells[(first + step) & (shardCount - 1)].lock.withLock({ $0.evict(cache, bytes: excess) }) == 0 { break }
            }
        }
    }

    /// Bytes above the quota; nil: none.
    private func excess(_ cache: UInt16) -> Int? {
        guard let quota = shared.caches.pointee.cell(cache)?.pointee.quota.load(ordering: .relaxed), quota > 0 else { return nil }
        let excess = shared.caches.pointee.valueBytes(cache) - quota
        return excess > 0 ? excess : nil
    }
}

extension Shard {
    /// Evicts values of the cache until the request's fits below its quota, as far as this shard has others. False: it is larger than that
    /// alone.
    mutating func makeQuotaRoom(_ request: WriteRequest, sparing found: UInt32) -> Bool {
        let cache = request.id.cache.value
        guard let quota = shared.caches.pointee.cell(cache)?.pointee.quota.load(ordering: .relaxed), quota > 0, !request.isTombstone else {
            return true
        }
        let incoming = EntryRef.ownCharge + request.layout.charge
        guard incoming <= quota else { return false }
        let replaced = found != 0 && !entries[found].state.isTombstone ? charge(entries[found]) : 0
        let excess = shared.caches.pointee.valueBytes(cache) + incoming - replaced - quota
        if excess > 0 { _ = evict(cache, bytes: excess, incoming: incoming, sparing: found) }
        return true
    }

    /// Evicts values of a cache with a quota until `bytes` are free, but no more than 256.
    /// - Returns: bytes freed.
    mutating func evict(_ cache: UInt16, bytes: Int, incoming: Int = 0, sparing spared: UInt32 = 0) -> Int {
        var (freed, dropped) = (0, 0)
        while freed < bytes, dropped < Self.evictionsMax {
            let victim = order.victim(of: cache, incoming: incoming, sparing: spared, entries)
            guard victim != 0 else { break }
            freed += charge(entries[victim])
            drop(victim, .evicted)
            dropped += 1
        }
        publishAge()
        return freed
    }

    /// Gives the values of a cache lists of their own, or takes those away. Nothing changes when it is so already. O(entries).
    mutating func setHasQuota(_ hasQuota: Bool, _ cache: UInt16) {
        guard order.hasSet(of: cache) != hasQuota else { return }
        if hasQuota {
            order.addSet(for: cache, entries)
        } else {
            order.removeSet(of: cache, CountedMemory(shared), entries)
        }
        publishAge()
    }
}

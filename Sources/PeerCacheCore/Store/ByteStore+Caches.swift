internal import Synchronization

extension ByteStore {
    /// Most caches of a store.
    package static let cachesMax = CacheTable.cachesMax
    /// Smallest quota of a cache.
    package static let quotaMin = 1 << 20

    /// The index of a cache by its name; the same name gets the same index. A new one costs about 200 bytes, every 16th 256 and
    /// 384 for each shard more; values are evicted for that if need be.
    /// - Parameter cache: at most 128 bytes of UTF-8.
    /// - Throws: when the name is too long, there are 4,096 caches, or there is no room. Nothing has changed then.
    package func register(_ cache: String) throws(StoreError) -> CacheIndex {
        let bytes = cache.utf8.count
        guard bytes <= CacheTable.nameBytesMax else { throw .cacheNameTooLong(bytes: bytes, max: CacheTable.nameBytesMax) }
        while true {
            switch shared.caches.pointee.register(cache, shared.budget.pointee) {
            case .index(let index): return CacheIndex(index)
            case .full: throw .tooManyCaches(max: CacheTable.cachesMax)
            case .needs(let bytes): try makeRoom(forFixed: bytes)
            }
        }
    }

    /// The name of a registered cache.
    package func name(of cache: CacheIndex) -> String? { shared.caches.pointee.name(cache.value) }

    /// Clears a cache up to `stamp`: from now on its entries at or below are misses, and writes at or below are refused. Entries above stay.
    /// O(1); ``sweep(now:bytesMax:)`` drops what is left. Nothing changes when the floor is as high already.
    package func raiseCacheFloor(_ cache: CacheIndex, to stamp: Stamp) {
        guard shared.caches.pointee.raiseFloor(cache.value, to: stamp) else { return }
        clearings.wrappingAdd(1, ordering: .acquiringAndReleasing)
    }

    /// The floor of a cache, ``Stamp/zero`` unless it was cleared once. It rides on claims, seals and slot transfers (`CONTRACT.md` §4).
    package func cacheFloor(_ cache: CacheIndex) -> Stamp { shared.caches.pointee.floor(cache.value) }

    /// Lets the cache take no more than `bytes`, and evicts what it has above that; nil: as much as the others leave. Others may evict its
    /// values too: a quota is a ceiling and no reserve. Writes at the same time may exceed it, each by its own entry until it returns; a
    /// fill may not be admitted.
    ///
    /// At first and at last the cache's values get another list, in which they are all taken for used just now.
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
        keepQuota(cache.value, from: 0)
    }

    /// Evicts what a cache has above its quota, from shard to shard.
    func keepQuota(_ cache: UInt16, from first: Int) {
        guard let quota = shared.caches.pointee.cell(cache)?.pointee.quota.load(ordering: .relaxed), quota > 0 else { return }
        for step in 0..<shardCount {
            var excess = shared.caches.pointee.usage(cache).bytes - quota
            while excess > 0 {
                let freed = cells[(first + step) % shardCount].lock.withLock { $0.evict(cache, bytes: excess) }
                if freed == 0 { break }
                excess = shared.caches.pointee.usage(cache).bytes - quota
            }
            if excess <= 0 { return }
        }
    }

    /// Gives pages back to the system, if need be from values that are evicted: one step towards room for what stays.
    private func makeRoom(forFixed bytes: Int) throws(StoreError) {
        if shared.arena.pointee.trim(shared.budget.pointee, for: bytes) > 0 { return }
        guard makePages(1, from: shared.ages.pointee.next(), except: nil) > 0 else {
            throw .noRoom(bytes: bytes, limit: shared.budget.pointee.limit)
        }
    }

    /// What the cache holds. O(shards). All zero when it is unknown.
    package func usage(of cache: CacheIndex) -> CacheUsage {
        shared.caches.pointee.usage(cache.value)
    }
}

internal import Synchronization

extension ByteStore {
    /// Most caches of a store.
    package static let cachesMax = CacheTable.cachesMax

    /// The index of a cache by its name; the same name gets the same index. A new one costs about 200 bytes, every 16th 256 and
    /// 512 for each shard more; values are evicted for that if need be.
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

    /// Gives pages back to the system, if need be from values that are evicted: one step towards room for what stays.
    func makeRoom(forFixed bytes: Int) throws(StoreError) {
        if shared.arena.pointee.trim(shared.budget.pointee, for: bytes) > 0 { return }
        guard makePages(1, from: shared.ages.pointee.next(), except: nil) > 0 else {
            throw .noRoom(bytes: bytes, limit: shared.budget.pointee.limit)
        }
    }

    /// What the cache holds. O(shards). All zero when it is unknown.
    package func usage(of cache: CacheIndex) -> CacheUsage { shared.caches.pointee.usage(cache.value) }
}

import PeerCache
import ShopAPI

// The only file that reads the library's snapshot and explanation: it turns them into what the shop answers.

extension CachePeer {
    /// Counters of one cache and the members, as `GET /stats` shows them.
    func statistics(cache name: String, store: ProductStore) -> ShopStatistics {
        let snapshot = self.snapshot()
        var cache = ShopStatistics.Cache()
        if let counters = snapshot.caches[name] {
            cache.nearHits = counters.nearHits
            cache.ownHits = counters.ownHits
            cache.peerHits = counters.peerHits
            cache.misses = counters.misses
            cache.loads = counters.loads
            cache.loadErrors = counters.loadErrors
            cache.coalescedWaits = counters.coalescedWaits
        }
        return ShopStatistics(
            members: snapshot.members.map { "\($0.address)" }.sorted(), isReady: readiness.isReady, cache: cache,
            databaseQueries: store.queryCount, productCount: store.productCount)
    }
}

extension Cache<Int, Product> {
    /// Where a product lives, as `GET /cache/:id` shows it.
    func explanation(of id: Int) async throws -> ShopExplanation {
        let found = try await explain(id)
        return ShopExplanation(
            owner: found.owner.map { "\($0)" }, replicas: found.replicas.map { "\($0)" }, stamp: found.stamp.map { "\($0)" },
            ageSeconds: found.age.map { $0 / .seconds(1) }, timeToLiveSeconds: found.timeToLiveLeft.map { $0 / .seconds(1) },
            lastRead: found.lastRead.map { "\($0)" })
    }
}

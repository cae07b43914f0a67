import PeerCache
import ShopAPI

// The only file that reads the library's snapshot and explanation: it turns them into what the shop answers.

extension CachePeer {
    /// Counters of one cache and the members, as `GET /stats` shows them.
    func statistics(cache name: String, store: ProductStore) -> ShopStatistics {
        let snapshot = self.snapshot()
        var cache = ShopStatistics.Cache()
        if let counters = snapshot.caches[name] {
            cache.nearHits = Int(counters.nearHits)
            cache.ownHits = Int(counters.ownHits)
            cache.peerHits = Int(counters.peerHits)
            cache.misses = Int(counters.misses)
            cache.loads = Int(counters.loads)
            cache.loadErrors = Int(counters.loadErrors)
            cache.coalescedWaits = Int(counters.coalescedWaits)
        }
        return ShopStatistics(
            members: snapshot.members.filter { $0.ownedSlots > 0 }.map(\.address).sorted(), memberCount: snapshot.memberCount,
            isReady: readiness.isReady, cache: cache, databaseQueries: store.queryCount, productCount: store.productCount)
    }

    /// The address that other peers dial, as soon as the peer listens; "none" when it does not within ten seconds.
    func listeningAddress() async -> String {
        for _ in 0..<1_000 {
            if let address { return address }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return "none"
    }
}

extension Cache<Int, Product> {
    /// Where a product lives, as `GET /cache/:id` shows it.
    func explanation(of id: Int, members: [PeerSnapshot.Member]) async throws -> ShopExplanation {
        let found = try await explain(id)
        let addresses = Dictionary(members.map { ($0.id, $0.address) }, uniquingKeysWith: { first, _ in first })
        return ShopExplanation(
            owner: found.ownerAddress, replicas: found.replicas.map { addresses[$0] ?? $0 }, isHeld: found.isHeld, stamp: found.stamp,
            ageSeconds: found.ageMilliseconds.map { Double($0) / 1_000 },
            timeToLiveSeconds: found.ttlLeftMilliseconds.map { Double($0) / 1_000 }, lastRead: found.lastRead?.rawValue)
    }
}

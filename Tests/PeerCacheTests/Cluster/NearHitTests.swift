import CAllocationCounter
import PeerCache
import Testing

@Suite(.timeLimit(.minutes(2))) struct NearHitTests {
    static let isCounting = peercache_test_allocations() >= 0

    /// The bar: a near hit takes no allocation. A variant that copies the key shows that the count would notice one.
    @Test(.enabled(if: isCounting, "allocations cannot be counted here")) func aNearHitDoesNotAllocate() async throws {
        try await withCluster(of: 2) { peers in
            let options = CacheOptions(nearFor: .seconds(3600))
            // On all peers: a key whose owner does not know the cache is loaded at the caller and not kept.
            let numbers = peers.map { $0.cache("numbers", key: Int.self, value: String.self, options: options) { "value \($0)" } }[0]
            let names = peers.map { $0.cache("names", key: String.self, value: [UInt8].self, options: options) { Array($0.utf8) } }[0]
            let name = "a key that is longer than a small string"
            // Not before the slots are gathered that the new caches made the peers hold.
            try await eventually("near copies") {
                _ = try await (numbers.get(7), names.get(name))
                let (first, second) = try await (numbers.explain(7), names.explain(name))
                return first.hasNearCopy && second.hasNearCopy
            }
            _ = try await numbers.get(7)
            #expect(allocations { numbers.peek(7) != nil } == 0)
            #expect(allocations { names.peek(name) != nil } == 0)
            #expect(allocations { names.peek(String(decoding: Array(name.utf8), as: UTF8.self)) != nil } >= 1000)

            // `get` on a near hit does not suspend, so the thread and its count stay the same.
            var hits = 0, counted: Int64 = 0
            for _ in 0..<2 {  // the first round makes the task's own memory grow
                let before = peercache_test_allocations()
                for _ in 0..<1000 { if try await numbers.get(7) != nil { hits += 1 } }
                counted = peercache_test_allocations() - before
            }
            #expect(hits == 2000)
            #expect(counted == 0)
        }
    }

    /// Allocations of this thread in a thousand calls.
    private func allocations(_ hit: () -> Bool) -> Int64 {
        let before = peercache_test_allocations()
        var hits = 0
        for _ in 0..<1000 where hit() { hits += 1 }
        let counted = peercache_test_allocations() - before
        #expect(hits == 1000)
        return counted
    }
}

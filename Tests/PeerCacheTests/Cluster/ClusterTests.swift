import PeerCacheCore
import PeerCache
import Testing

/// A database that counts its queries.
final class Rows: Sendable {
    private let state = Lock<(rows: [Int: String], queries: Int)>(([:], 0))

    subscript(id: Int) -> String? {
        get { state.withLock { $0.rows[id] } }
    }
    var queries: Int { state.withLock { $0.queries } }

    func set(_ id: Int, _ row: String?) { state.withLock { $0.rows[id] = row } }

    func query(_ id: Int) -> String? {
        state.withLock { state in
            state.queries += 1
            return state.rows[id]
        }
    }
}

@Suite(.timeLimit(.minutes(2))) struct ClusterTests {
    private func caches(_ peers: [CachePeer], _ rows: Rows, _ options: CacheOptions = .init()) -> [Cache<Int, String>] {
        peers.map { $0.cache("rows", key: Int.self, value: String.self, options: options) { rows.query($0) } }
    }

    @Test func everyPeerReadsWhatOneLoaded() async throws {
        let rows = Rows()
        for id in 0..<300 { rows.set(id, "row \(id)") }
        try await withCluster(of: 3) { peers in
            let caches = caches(peers, rows)
            for id in 0..<300 {
                for cache in caches { try await cache.expect(id, "row \(id)") }
            }
            #expect(rows.queries == 300)
            try await caches[0].expect(999, nil)
        }
    }

    @Test func concurrentMissesOnAllPeersLoadOnce() async throws {
        let loads = Lock(0)
        try await withCluster(of: 3) { peers in
            let caches = peers.map { peer in
                peer.cache("slow", key: String.self, value: String.self) { key in
                    loads.withLock { $0 += 1 }
                    try await Task.sleep(for: .milliseconds(100))
                    return "value of \(key)"
                }
            }
            try await withThrowingTaskGroup(of: String?.self) { group in
                for index in 0..<300 { group.addTask { try await caches[index % 3].get("k") } }
                for try await value in group { #expect(value == "value of k") }
            }
        }
        #expect(loads.withLock { $0 } == 1)
    }

    @Test func aWriteIsWhatEveryPeerReadsNext() async throws {
        let rows = Rows()
        try await withCluster(of: 3) { peers in
            // Without near copies there is no bound to wait for: the next read is the written value (CONTRACT.md F1).
            let caches = caches(peers, rows, .init(nearFor: .zero))
            for id in 0..<100 {
                rows.set(id, "old")
                for cache in caches { try await cache.expect(id, "old") }
                try await caches[id % 3].set(id, "new \(id)")
                for cache in caches { try await cache.expect(id, "new \(id)") }
                rows.set(id, nil)
                try await caches[(id + 1) % 3].remove(id)
                for cache in caches { try await cache.expect(id, nil) }
            }
        }
    }

    @Test func nearCopiesElsewhereHearOfAWrite() async throws {
        try await withCluster(of: 3) { peers in
            // An hour: only the invalidation can make the others read the new value within the test.
            let options = CacheOptions(nearFor: .seconds(3600))
            let caches = peers.map { $0.cache("near", key: Int.self, value: String.self, options: options) }
            for id in 0..<50 {
                try await caches[0].set(id, "old")
                for cache in caches { try await cache.expect(id, "old") }
                try await caches[1].set(id, "new")
                try await caches[1].expect(id, "new")
                for cache in caches { try await eventually("key \(id)") { try await cache.get(id) == "new" } }
            }
        }
    }

    @Test func removeAllEmptiesTheCacheOnAllPeersAndNoOther() async throws {
        try await withCluster(of: 3) { peers in
            let caches = peers.map { $0.cache("a", key: Int.self, value: String.self) }
            let others = peers.map { $0.cache("b", key: Int.self, value: String.self) }
            for id in 0..<200 {
                try await caches[id % 3].set(id, "a")
                try await others[id % 3].set(id, "b")
            }
            try await caches[1].removeAll()
            for id in 0..<200 {
                for cache in caches { try await cache.expect(id, nil) }
                try await others[0].expect(id, "b")
            }
            try await caches[0].set(1, "again")
            try await caches[2].expect(1, "again")
        }
    }

    @Test func getManyAsksEachOwnerAndLoadsWhatIsMissing() async throws {
        let rows = Rows()
        for id in 0..<2000 where id % 10 != 0 { rows.set(id, "row \(id)") }
        try await withCluster(of: 3) { peers in
            let caches = caches(peers, rows)
            for cache in caches {
                let found = try await cache.getMany(0..<2000)
                #expect(found.count == 1800)
                #expect(found[1] == "row 1" && found[10] == nil)
            }
        }
    }

    @Test func largeValuesTravelInChunks() async throws {
        try await withCluster(of: 2, configure: { $0.memory = .megabytes(128) }) { peers in
            let options = CacheOptions(nearFor: .zero)
            let caches = peers.map { $0.cache("large", key: Int.self, value: [UInt8].self, options: options) }
            for (id, count) in [0, 1, 256 * 1024, 256 * 1024 + 1, 1_000_000, 8 << 20].enumerated() {
                let value = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
                try await caches[0].set(id, value)
                for cache in caches { try await cache.expect(id, value) }
                let many = try await caches[1].getMany([id])
                #expect(many[id] == value)
            }
            try await expectError(.valueTooLarge) { try await caches[0].set(9, [UInt8](repeating: 0, count: (8 << 20) + 1)) }
        }
    }
}

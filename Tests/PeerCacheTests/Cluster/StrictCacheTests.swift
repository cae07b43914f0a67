import NIOCore
import PeerCacheCore
import Testing

@testable import PeerCache

/// Caches whose reads meet every completed write.
@Suite(.serialized) struct StrictCacheTests {
    private final class Source: Sendable {
        let rows = Lock<[Int: String]>([:])
        let loads = Lock(0)
        func load(_ key: Int) -> String? {
            loads.withLock { $0 += 1 }
            return rows.withLock { $0[key] }
        }
    }

    private let options = CacheOptions(copies: 3, readFrom: 2, ackedBy: 2)

    private func cache(_ peer: CachePeer, _ source: Source? = nil) -> Cache<Int, String> {
        guard let source else { return peer.cache("strict", key: Int.self, value: String.self, options: options) }
        return peer.cache("strict", key: Int.self, value: String.self, options: options) { source.load($0) }
    }

    private func isVoting(_ peers: [CachePeer]) -> Bool {
        peers.allSatisfy { $0.readiness.isReady && $0.snapshot().slotsSilent == 0 && $0.snapshot().memberCount == peers.count }
    }

    private func withStrictCluster(
        of count: Int, _ source: Source? = nil, _ body: ([CachePeer], [Cache<Int, String>]) async throws -> Void
    ) async throws {
        try await withCluster(of: count, configure: { $0.minimumPeers = count / 2 + 1 }) { peers in
            let caches = peers.map { cache($0, source) }
            try await eventually("all vote") { isVoting(peers) }
            try await body(peers, caches)
        }
    }

    @Test(arguments: [3, 4]) func everyPeerReadsWhatAnyPeerWrote(peers: Int) async throws {
        try await withStrictCluster(of: peers) { peers, caches in
            for key in 0..<200 {
                let writer = caches[key % caches.count]
                try await writer.set(key, "one \(key)")
                for cache in caches { #expect(try await cache.get(key) == "one \(key)") }
                try await caches[(key + 1) % caches.count].set(key, "two \(key)")
                for cache in caches { #expect(try await cache.get(key) == "two \(key)") }
                if key % 3 == 0 {
                    try await caches[(key + 2) % caches.count].remove(key)
                    for cache in caches { #expect(try await cache.get(key) == nil) }
                }
            }
            let all = try await caches[0].getMany(0..<200)
            #expect(all.count == (0..<200).count { $0 % 3 != 0 })
            try await caches[1].removeAll()
            for cache in caches { #expect(try await cache.getMany(0..<200).isEmpty) }
        }
    }

    @Test func aMissIsLoadedOnceAndStored() async throws {
        let source = Source()
        try await withStrictCluster(of: 3, source) { _, caches in
            for key in 0..<60 {
                source.rows.withLock { $0[key] = "row \(key)" }
                for cache in caches { #expect(try await cache.get(key) == "row \(key)") }
            }
            #expect(source.loads.withLock { $0 } == 60)
            source.rows.withLock { $0[1] = "new" }
            try await caches[2].remove(1)
            for cache in caches { #expect(try await cache.get(1) == "new") }
            #expect(try await caches[0].get(1_000) == nil)
        }
    }

    @Test func largeValuesReachAllVoters() async throws {
        try await withStrictCluster(of: 3) { _, caches in
            let large = String(repeating: "x", count: 700_000)
            try await caches[0].set(1, large)
            for cache in caches { #expect(try await cache.get(1) == large) }
        }
    }

    @Test func tooFewPeersAreAnErrorAndNoLoss() async throws {
        let source = Source()
        try await withCluster(
            of: 1,
            configure: {
                $0.minimumPeers = 2; $0.requestTimeout = .milliseconds(200)
            }
        ) { peers in
            let alone = peers[0].cache("strict", key: Int.self, value: String.self, options: options)
            await #expect(throws: PeerCacheError.self) { try await alone.set(1, "x") }
            do { _ = try await alone.get(1) } catch let error as PeerCacheError { #expect(error.code == .quorumUnavailable) }
            source.rows.withLock { $0[2] = "row" }
            let loading = peers[0].cache("loading", key: Int.self, value: String.self, options: options) { source.load($0) }
            #expect(try await loading.get(2) == "row")
        }
    }

    @Test func strictCachesNeedAMinimumOfPeers() async throws {
        let peer = try CachePeer(configuration: testConfiguration())
        let cache = cache(peer)
        await #expect { try await cache.get(1) } throws: { error in
            (error as? PeerCacheError)?.code == .invalidConfiguration && "\(error)".contains("minimumPeers")
        }
    }

    /// Whoever joins or takes over votes only when it knows what the former voters knew.
    @Test func whatWasWrittenOutlivesDeploys() async throws {
        try await withStrictCluster(of: 3) { peers, caches in
            for key in 0..<100 { try await caches[0].set(key, "value \(key)") }
            for round in 0..<2 {
                let seed = try #require(peers[0].address)
                let peer = try CachePeer(configuration: testConfiguration(seeds: [seed]) { $0.minimumPeers = 2 })
                let late = cache(peer)
                try await gracefully(peer) {
                    try await eventually("four vote") { isVoting(peers + [peer]) }
                    for key in 0..<100 where try await late.get(key) != "value \(key)" {
                        Issue.record("round \(round): key \(key) is gone")
                    }
                    try await late.set(round, "value \(round)")
                }
                try await eventually("three vote") { isVoting(peers) }
                for key in 0..<100 where try await caches[1].get(key) != "value \(key)" {
                    Issue.record("round \(round): key \(key) is lost")
                }
            }
        }
    }

    /// A voter that missed writes has them later though nobody reads; what it has dropped, or something newer, does not come back.
    @Test func aVoterThatMissedWritesIsRepaired() async throws {
        try await withStrictCluster(of: 3) { peers, caches in
            let cores = caches.map(\.core), late = cores[2]
            let hashes = (0..<40).map { cores[0].hash($0.keyBytes) }
            for (key, hash) in hashes.enumerated() {
                let stamp = peers[0].core.mint(above: .zero)
                for core in cores.prefix(2) {
                    key.keyBytes.withUnsafeBytes {
                        _ = core.store(.value(.init(string: "value \(key)"), ttl: nil, isFill: false), $0, hash, stamp)
                    }
                }
                if key.isMultiple(of: 4) { late.peer.store.raiseFloor(of: BucketIndex(hash: hash), to: stamp) }
                peers[key % 2].core.replicator.missed(hash, by: peers[2].core.me)
            }
            let dropped = Set(stride(from: 0, to: 40, by: 4).map { BucketIndex(hash: hashes[$0]) })
            func isHeld(_ key: Int) -> Bool { late.held(key.keyBytes, hashes[key]) != nil }
            try await eventually("repaired") { hashes.indices.allSatisfy { isHeld($0) || dropped.contains(BucketIndex(hash: hashes[$0])) } }
            for key in stride(from: 0, to: 40, by: 4) { #expect(!isHeld(key)) }
            #expect(peers.prefix(2).reduce(0) { $0 + $1.core.counters.value(.bucketsRepaired) } > 0)
            #expect(late.counters.value(.served) == 0)
        }
    }

    /// What voters answered for good is not asked again until the deadline.
    @Test func aValueThatVotersCannotKeepEndsTheWrite() async throws {
        try await withCluster(
            of: 3,
            configure: {
                $0.minimumPeers = 2
                $0.requestTimeout = .milliseconds(500)
            }
        ) { peers in
            var options = options
            options.memoryMax = .megabytes(1)
            let caches = peers.map { $0.cache("strict", key: Int.self, value: String.self, options: options) }
            try await eventually("all vote") { isVoting(peers) }
            try await caches[0].set(1, "small")
            let before = peers[0].core.counters.value(.copiesSent)
            try await expectError(.indeterminate) { try await caches[0].set(1, String(repeating: "x", count: 1_200_000)) }
            #expect(peers[0].core.counters.value(.copiesSent) == before + 2)
            #expect(try await caches[1].get(1) == nil)
        }
    }
}

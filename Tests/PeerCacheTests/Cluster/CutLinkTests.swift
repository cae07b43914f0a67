@testable import PeerCache
import PeerCacheCore
import PeerCacheTransport
import Testing

/// Copies of an owner that they have no connection to, while it may live and take writes of others.
@Suite(.timeLimit(.minutes(2))) struct CutLinkTests {
    private let ghost = PeerID(high: 1, low: 1)

    /// Two peers with copies of a key, and which believe that a third one, which nobody is connected to, owns it.
    private func withGhost(
        loader: (@Sendable (Int) async throws -> String?)? = nil, _ body: ([CachePeer], [Cache<Int, String>], Int) async throws -> Void
    ) async throws {
        try await withCluster(of: 2) { peers in
            let options = CacheOptions(copies: 3, nearFor: .zero)
            let caches = peers.map { $0.cache("c", key: Int.self, value: String.self, options: options, loader: loader) }
            let members = (peers.map(\.core.me) + [ghost]).map { PlacementMember(id: $0) }
            let placement = try Placement.build(members: members, digest: 0x6057, ranks: CacheOptions.copiesMax)
            let key = try #require((0..<1_000).first { placement.owner(of: Slot(hash: caches[0].core.hash($0.keyBytes))) == ghost })
            try await caches[0].set(key, "v")
            try await eventually("both have a copy") { caches.allSatisfy { $0.peek(key) == "v" } }
            let ids = peers.map(\.core.me) + [ghost]
            for peer in peers {
                peer.core.directory.follow(ids, nowNanoseconds: ClusterClock.monotonicNanoseconds)
                peer.core.table.publish(Routing(placement: placement, me: peer.core.me, view: peer.core.table.routing.view))
            }
            try await body(peers, caches, key)
        }
    }

    /// The owner may be dead, and its successor not known yet: nothing is missed meanwhile. Later it is more likely that it lives.
    @Test func copiesAnswerForALostOwnerForAWhile() async throws {
        try await withGhost { _, caches, key in
            for cache in caches { try await cache.expect(key, "v") }
            // Neither its own copy nor the other one's.
            try await eventually("copies do not answer any more") { try await caches[0].get(key) == nil }
            try await eventually("nor those of the other") { try await caches[1].get(key) == nil }
            #expect(caches.allSatisfy { $0.peek(key) == "v" })
        }
    }

    @Test func thenTheValueIsLoaded() async throws {
        try await withGhost(loader: { _ in "loaded" }) { _, caches, key in
            try await eventually("it is loaded") { try await caches[0].get(key) == "loaded" }
        }
    }

    @Test func theDirectoryKnowsSinceWhenAPeerIsLost() {
        let directory = ConnectionDirectory()
        #expect(directory.lostSince(ghost) == nil, "it is no member")
        for now: Int64 in [5, 9] {
            directory.follow([ghost], nowNanoseconds: now)
            #expect(directory.lostSince(ghost) == 5)
        }
        directory.follow([], nowNanoseconds: 10)
        #expect(directory.lostSince(ghost) == nil)
    }
}

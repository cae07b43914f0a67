import NIOCore
import PeerCacheCore
import Testing

@testable import PeerCache

/// Caches whose values carry a version of their data source.
@Suite(.serialized) struct SourceVersionCacheTests {
    private struct Row: Codable, Hashable, Sendable {
        var version: UInt64
        var text: String
    }

    private func cache(
        _ peer: CachePeer, _ options: CacheOptions, loader: (@Sendable (Int) async throws -> Row?)? = nil
    ) -> Cache<Int, Row> {
        peer.cache("rows", key: Int.self, value: Row.self, codec: .json.versioned { $0.version }, options: options, loader: loader)
    }

    private func loads(_ peers: [CachePeer]) -> UInt64 { peers.reduce(0) { $0 + ($1.snapshot().caches["rows"]?.loads ?? 0) } }

    @Test(arguments: [CacheOptions(copies: 2, nearFor: .zero), CacheOptions(copies: 3, readFrom: 2, ackedBy: 2)])
    func aLaggingWriterOrLoaderDoesNotBringBackWhatWasReplaced(options: CacheOptions) async throws {
        try await withCluster(of: 3, configure: { $0.minimumPeers = 2 }) { peers in
            let database = Lock<[Int: Row]>([:])
            let caches = peers.map { peer in cache(peer, options) { key in database.withLock { $0[key] } } }
            try await eventually("all vote") { peers.allSatisfy { $0.readiness.isReady && $0.snapshot().slotsSilent == 0 } }
            for key in 0..<30 {
                let old = Row(version: 1, text: "old \(key)"), new = Row(version: 2, text: "new \(key)")
                database.withLock { $0[key] = old }  // a replica that lags behind
                try await caches[key % 3].set(key, new)
                try await caches[(key + 1) % 3].set(key, old)
                for cache in caches { #expect(try await cache.get(key) == new) }
                // Removed as of version 3: what the replica still has is returned, but never stored.
                try await caches[(key + 2) % 3].remove(key, sourceVersion: 3)
                for cache in caches { #expect(try await cache.get(key) == old) }
                let before = loads(peers)
                for cache in caches { #expect(try await cache.get(key) == old) }
                #expect(loads(peers) > before)
                // The replica has caught up.
                database.withLock { $0[key] = Row(version: 3, text: "now \(key)") }
                for cache in caches { #expect(try await cache.get(key)?.version == 3) }
                let settled = loads(peers)
                for cache in caches { #expect(try await cache.get(key)?.version == 3) }
                #expect(loads(peers) == settled)
            }
        }
    }

    @Test func aRemovalSaysItsVersion() async throws {
        try await withCluster(of: 1) { peers in
            let versioned = cache(peers[0], .init()), plain = peers[0].cache("plain", key: Int.self, value: String.self)
            try await expectError(.invalidConfiguration) { try await versioned.remove(1) }
            try await expectError(.invalidConfiguration) { try await plain.remove(1, sourceVersion: 1) }
            try await versioned.set(1, Row(version: .max, text: "last"))
            #expect(try await versioned.get(1)?.text == "last")
            try await versioned.remove(1, sourceVersion: .max)
            #expect(try await versioned.get(1) == nil)
        }
    }
}

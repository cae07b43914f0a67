import NIOCore
@testable import PeerCache
import PeerCacheCore
import PeerCacheTransport
import Testing

/// Writes whose turn comes after their callers have given up, as at a peer that stood still meanwhile.
@Suite(.timeLimit(.minutes(2))) struct LateWriteTests {
    /// Asks for a write that began that many milliseconds ago, or will so.
    private func write(
        _ content: Content, of key: Int, at owner: CachePeer, by caller: Cache<Int, String>, begun milliseconds: Int64, deadline: UInt32
    ) async throws -> ResponseStatus {
        let core = caller.core, now = Int64(ClusterClock.wallMilliseconds)
        let stamp = Stamp(clock: UInt64(now + milliseconds) << 16, origin: 0)
        let kind: RequestKind = if case .tombstone = content { .remove } else { .set }
        let result = await core.peer.call(
            owner.core.me, patience: Patience(.seconds(20)), large: content.large, mustSend: false
        ) { id, _, frames in
            core.encode(kind, key.keyBytes, content, id: id, stamp: stamp, milliseconds: deadline) { frames.append($0) }
        }
        return try result.get().status
    }

    private func value(_ text: String) throws -> Content {
        .value(ByteBuffer(bytes: Array(text.utf8)), ttl: nil, isFill: false)
    }

    /// Two holders: the second one's cache, and a key that the first owns.
    private func withOwner(ackedBy acks: Int, _ body: (CachePeer, Cache<Int, String>, Int) async throws -> Void) async throws {
        let options = CacheOptions(copies: 3, ackedBy: acks, nearFor: .zero)
        try await withCluster(of: 2) { peers in
            let caches = peers.map { $0.cache("c", key: Int.self, value: String.self, options: options) }
            let key = try #require((0..<100).first { peers[0].core.table.routing.isOwned(caches[0].core.hash($0.keyBytes)) })
            try await body(peers[0], caches[1], key)
        }
    }

    @Test(arguments: [1, 2]) func whatComesTooLateIsNotDone(ackedBy acks: Int) async throws {
        try await withOwner(ackedBy: acks) { owner, cache, key in
            try await cache.set(key, "old")
            let values = ["new", String(repeating: "n", count: 300_000)]
            for content in try values.map(value) + [.tombstone()] {
                let status = try await write(content, of: key, at: owner, by: cache, begun: -5_000, deadline: 2_000)
                #expect(status == .tooLate)
                #expect(try await cache.get(key) == "old")
            }
            // However long its caller would wait: for an owner that says nothing it does not.
            let status = try await write(try value("new"), of: key, at: owner, by: cache, begun: -5_000, deadline: 60_000)
            #expect(status == .tooLate)
        }
    }

    @Test(arguments: [1, 2]) func whatSomebodyWaitsForIsDone(ackedBy acks: Int) async throws {
        try await withOwner(ackedBy: acks) { owner, cache, key in
            for (milliseconds, deadline) in [(-500, 60_000), (5_000, 1), (-5_000, 0)] as [(Int64, UInt32)] {
                let new = "\(milliseconds) \(deadline)"
                let status = try await write(try value(new), of: key, at: owner, by: cache, begun: milliseconds, deadline: deadline)
                #expect(status == .ok)
                #expect(try await cache.get(key) == new)
                #expect(try await write(.tombstone(), of: key, at: owner, by: cache, begun: milliseconds, deadline: deadline) == .ok)
                #expect(try await cache.get(key) == nil)
            }
            // Long values take their time.
            let long = String(repeating: "n", count: 300_000)
            #expect(try await write(try value(long), of: key, at: owner, by: cache, begun: -5_000, deadline: 60_000) == .ok)
            #expect(try await cache.get(key) == long)
        }
    }

    /// What a caller sends says when it began, so that the time in its own queues counts.
    @Test func aCallSaysWhenItBegan() async throws {
        try await runAlone(testConfiguration { $0.identity.weight = 0 }) { peer in
            let before = peer.core.clock.reading(), stamps = Lock<[Stamp]>([])
            let note: ScriptedPeer.Answer = { request, _ in
                if request.kind == .set || request.kind == .remove { stamps.withLock { $0.append(request.stamp) } }
                return false
            }
            try await ScriptedPeer.join(peer, weight: 1, script: { _ in .ok }, answer: note) { _, _ in
                let cache = peer.cache("c", key: Int.self, value: String.self, options: .init(copies: 1, nearFor: .zero))
                try await cache.set(1, "v")
                try await cache.remove(1)
            }
            let after = peer.core.clock.reading()
            #expect(stamps.withLock { $0.count } == 2)
            #expect(stamps.withLock { $0.allSatisfy { before <= $0.clock && $0.clock <= after } })
        }
    }
}

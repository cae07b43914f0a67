@testable import PeerCache
import PeerCacheCore
import PeerCacheTransport
import Testing

@Suite(.timeLimit(.minutes(2))) struct CallerJournalClusterTests {
    private func caches(_ peers: [CachePeer]) async throws -> [Cache<Int, String>] {
        let caches = peers.map { $0.cache("rows", key: Int.self, value: String.self, options: CacheOptions(nearFor: .zero)) }
        try await eventually("all peers are ready") { peers.allSatisfy(\.readiness.isReady) }
        return caches
    }

    @Test func entriesGoWhenTheOwnersWritesHaveCopies() async throws {
        try await withCluster(of: 3) { peers in
            let caches = try await caches(peers)
            for key in 0..<300 { try await caches[0].set(key, "v") }
            for key in 0..<50 { try await caches[0].remove(key) }
            try await eventually("all have copies") { peers[0].snapshot().journalEntries == 0 }
            #expect(peers[0].snapshot().journalOverflows == 0)
            for key in 0..<300 { try await caches[1].expect(key, key < 50 ? nil : "v") }
        }
    }

    /// An owner acknowledges a write and dies before it has sent a copy; the next owner holds what was before.
    @Test func theNextOwnerIsToldOfWhatTheLastOneAcknowledged() async throws {
        try await withCluster(of: 2) { peers in
            let caches = try await caches(peers)
            let written = Stamp(clock: ClusterClock.wallMilliseconds << 16, origin: 1)
            var keys: [Int] = []
            try await ScriptedPeer.join(
                peers[0], weight: 1,
                answer: { request, connection in
                    guard request.kind == .set || request.kind == .inspect || request.kind == .readClock else { return false }
                    var response = WireResponse(id: request.id, status: request.kind == .inspect ? .absent : .ok)
                    if request.kind == .set { response.stamp = written }
                    connection.respond(response)
                    return true
                }
            ) { owner, _ in
                try await eventually("all know the owner, and its slots are settled") {
                    peers.allSatisfy { $0.snapshot().memberCount == 3 && $0.snapshot().slotsUnsettled == 0 }
                        && peers.allSatisfy { PeerID($0.id).flatMap { owner.connection(to: $0) } != nil }
                }
                for key in 0..<200 where keys.count < 20 {
                    let explanation = try await caches[0].explain(key)
                    guard explanation.owner == owner.id.description else { continue }
                    keys.append(key)
                    // The holder has an older value, as a copy.
                    let holder = try #require(peers.first { $0.id == explanation.replicas.last })
                    let connection = try #require(PeerID(holder.id).flatMap { owner.connection(to: $0) })
                    try await apply(key, "old", Stamp(clock: written.clock - (1 << 16), origin: 1), over: connection)
                    try await caches[0].set(key, "new")
                }
                try #require(keys.count == 20)
                #expect(peers[0].snapshot().journalEntries == 20)
            }
            try await eventually("the owner is gone, and the next ones were told") {
                peers.allSatisfy { $0.snapshot().memberCount == 2 } && peers[0].snapshot().journalEntries == 0
                    && peers[0].core.counters.value(.journalReplays) == 20
            }
            for key in keys { for cache in caches { try await cache.expect(key, nil) } }
        }
    }

    /// An owner that acknowledges writes and then says nothing more, for as long as the caller would wait.
    @Test func aSilentOwnerDoesNotHoldUpTheOthers() async throws {
        try await withCluster(of: 2, configure: { $0.requestTimeout = .seconds(60) }) { peers in
            let caches = try await caches(peers)
            let written = Stamp(clock: ClusterClock.wallMilliseconds << 16, origin: 1)
            try await ScriptedPeer.join(
                peers[0], weight: 1, high: 0,
                answer: { request, connection in
                    guard request.kind == .set || request.kind == .inspect else { return false }
                    var response = WireResponse(id: request.id, status: request.kind == .inspect ? .absent : .ok)
                    if request.kind == .set { response.stamp = written }
                    connection.respond(response)
                    return true
                }
            ) { silent, _ in
                try await eventually("all know the owner, and its slots are settled") {
                    peers.allSatisfy { $0.snapshot().memberCount == 3 && $0.snapshot().slotsUnsettled == 0 }
                }
                let routing = peers[0].core.table.routing, hash = { caches[0].core.hash($0.keyBytes) } as (Int) -> UInt64
                let its = try #require((0..<1_000).first { routing.owner(hash($0)) == silent.id })
                // The copies of these are not at the silent one.
                let theirs = (0..<1_000).filter { routing.holders(hash($0), copies: 2) == [peers[1].core.me, peers[0].core.me] }
                try await caches[0].set(its, "v")
                try await eventually("it is being asked") { silent.count(of: .readClock) > 0 }
                for key in theirs.prefix(10) { try await caches[0].set(key, "v") }
                try await eventually("the other owner has answered") { peers[0].snapshot().journalEntries == 1 }
            }
        }
    }

    private func apply(_ key: Int, _ value: String, _ stamp: Stamp, over connection: PeerConnection) async throws {
        let deadline = ClusterClock.monotonicNanoseconds + 10_000_000_000
        let answer = await connection.call(deadlineNanoseconds: deadline) { id, frames in
            Array("rows".utf8).withUnsafeBytes { name in
                key.withKeyBytes { key in
                    Array(value.utf8).withUnsafeBytes { value in
                        var request = WireRequest(kind: .apply, cache: name)
                        request.id = id
                        request.key = key
                        request.value = value
                        request.stamp = stamp
                        frames.append(request)
                    }
                }
            }
        }
        #expect(try answer.get().status == .ok)
    }
}

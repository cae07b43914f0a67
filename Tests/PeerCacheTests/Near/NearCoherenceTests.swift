import NIOCore
@testable import PeerCache
import PeerCacheCore
import PeerCacheTransport
import Testing

/// A number that tests change while others read it.
private final class Number: Sendable {
    private let state: Lock<UInt64>

    init(_ value: UInt64) { state = Lock(value) }

    var value: UInt64 {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}

/// Near copies live an hour here: only what the owners say, or fail to say, can end them within a test.
@Suite(.timeLimit(.minutes(2))) struct NearCoherenceTests {
    private static let options = CacheOptions(copies: 1, nearFor: .seconds(3600), nearSampling: 1)

    /// The cache on each peer, once the slots are gathered that it made them hold: until then no near copies are made.
    private func caches(
        _ peers: [CachePeer], loader: (@Sendable (Int) async throws -> String?)? = nil
    ) async throws -> [Cache<Int, String>] {
        let caches = peers.map { $0.cache("near", key: Int.self, value: String.self, options: Self.options, loader: loader) }
        try await eventually("all peers are ready") { peers.allSatisfy(\.readiness.isReady) }
        return caches
    }

    /// Keys that a peer owns.
    private func keys(of peer: CachePeer, _ cache: Cache<Int, String>, in range: Range<Int>) async throws -> [Int] {
        var owned: [Int] = []
        for key in range where try await cache.explain(key).owner == peer.id { owned.append(key) }
        return owned
    }

    @Test func onlyWhoHasACopyIsTold() async throws {
        try await withCluster(of: 3) { peers in
            let caches = try await caches(peers)
            let key = try #require(try await keys(of: peers[0], caches[0], in: 0..<50).first)
            try await caches[0].set(key, "old")
            try await caches[1].expect(key, "old")
            try await caches[0].set(key, "new")
            try await eventually("the copy is gone") { try await caches[1].get(key) == "new" }
            #expect(peers[0].snapshot().invalidationsSent == 1 && peers[1].snapshot().invalidationsReceived == 1)
            #expect(peers[2].snapshot().invalidationsReceived == 0)
            // A removal by somebody else, and what the reader itself writes.
            try await caches[2].remove(key)
            try await eventually("the copy is gone") { try await caches[1].get(key) == nil }
            try await caches[1].set(key, "own")
            #expect(caches[1].peek(key) == "own")
            try await caches[2].set(key, "theirs")
            for cache in caches { try await eventually("all read the last one") { try await cache.get(key) == "theirs" } }
        }
    }

    @Test func copiesGotByGetManyAreToldAsWell() async throws {
        try await withCluster(of: 2) { peers in
            let caches = try await caches(peers)
            let keys = try await keys(of: peers[0], caches[0], in: 0..<100)
            for key in keys { try await caches[0].set(key, "old") }
            _ = try await caches[1].getMany(keys)
            for key in keys { #expect(caches[1].peek(key) == "old") }
            for key in keys { try await caches[0].set(key, "new") }
            for key in keys { try await eventually("key \(key)") { try await caches[1].get(key) == "new" } }
        }
    }

    /// Between the owner's reading of a value, without the store's lock, and the end of its answer.
    @Test(arguments: [3, 5000]) func whatIsReplacedWhileItIsReadIsToldOf(bytes: Int) async throws {
        try await withCluster(of: 2) { peers in
            let caches = try await caches(peers), core = caches[0].core
            let key = try #require(try await keys(of: peers[0], caches[0], in: 0..<50).first).keyBytes, hash = core.hash(key)
            @Sendable func write(_ letter: UInt8) -> Bool {
                core.storeOwned(key, hash, .value(ByteBuffer(repeating: letter, count: bytes), ttl: nil, isFill: false))?.isStored == true
            }
            let reader = try #require(PeerID(peers[1].id).flatMap { peers[0].core.directory.connection(to: $0) })
            try #require(write(1))
            core.withRequest(.get, key) { request in
                request.id = .max  // nobody waits for it
                let isAnswered = RequestServer(peer: peers[0].core).answerHeld(core, request, hash, reader, keepsNear: true) { write(2) }
                #expect(isAnswered && peers[0].snapshot().invalidationsSent == 1)
            }
        }
    }

    /// An evicted entry leaves copies elsewhere; what is loaded in its place is newer than they are.
    @Test func aLoadDropsOlderCopiesElsewhere() async throws {
        let row = Lock("old")
        try await withCluster(of: 2, configure: { $0.memory = .megabytes(2) }) { peers in
            let caches = try await caches(peers) { _ in row.withLock { $0 } }
            let keys = try await keys(of: peers[0], caches[0], in: 0..<600)
            let key = try #require(keys.first)
            try await caches[1].expect(key, "old")
            row.withLock { $0 = "new" }
            let filler = String(repeating: "x", count: 20_000)
            for other in keys.dropFirst() { try await caches[0].set(other, filler) }
            try #require(try await caches[0].explain(key).isHeld == false)
            #expect(caches[1].peek(key) == "old")
            try await caches[0].expect(key, "new")
            try await eventually("the older copy is gone") { try await caches[1].get(key) == "new" }
        }
    }

    @Test func aNewOwnerMakesTheOldOnesCopiesSuspect() async throws {
        try await withCluster(of: 2) { peers in
            let caches = try await caches(peers)
            var before: [Int: String] = [:]
            for key in 0..<300 {
                try await caches[1].set(key, "old")
                for cache in caches { try await cache.expect(key, "old") }
                before[key] = try await caches[0].explain(key).owner
            }
            try await runAlone(testConfiguration(seeds: [try #require(peers[0].address)])) { third in
                let thirds = try await self.caches([third])[0]
                try await eventually("all agree on three members") {
                    ([third] + peers).allSatisfy { $0.snapshot().memberCount == 3 && $0.readiness.isReady }
                }
                var moved = 0, kept = 0
                for key in 0..<300 {
                    if try await caches[0].explain(key).owner == before[key] {
                        if caches[0].peek(key) == "old" { kept += 1 }
                        continue
                    }
                    moved += 1
                    let hits = peers[0].snapshot().caches["near"]?.nearHits
                    _ = caches[0].peek(key)
                    #expect(peers[0].snapshot().caches["near"]?.nearHits == hits, "the copy of key \(key) comes from its former owner")
                    try await thirds.set(key, "new")
                    try await eventually("key \(key)") { try await caches[0].get(key) == "new" }
                }
                #expect(moved > 50 && kept > 100, "\(moved) have another owner; of the others \(kept) copies stayed")
            }
        }
    }

    @Test func anOwnerWithoutRoomForMoreSharersTakesCopiesBack() async throws {
        try await withCluster(of: 2, configure: { $0.memory = .megabytes(2) }) { peers in
            let caches = try await caches(peers)
            // 1,024 is what 1/64 of 2 MiB has room for; the near store holds some 1,700.
            let keys = try await keys(of: peers[0], caches[0], in: 0..<3200)
            for key in keys { try await caches[0].set(key, "old") }
            for key in keys { try await caches[1].expect(key, "old") }
            try await eventually("copies were taken back") { peers[1].snapshot().invalidationsReceived > 100 }
            let kept = keys.filter { caches[1].peek($0) != nil }.count
            #expect(kept > 500 && kept <= 1024, "\(kept) of \(keys.count)")
            #expect(peers[0].snapshot().sharersDisplaced > 100)
            for key in keys { try await caches[0].set(key, "new") }
            for key in keys { try await eventually("key \(key)") { try await caches[1].get(key) == "new" } }
        }
    }

    @Test func removeAllDropsNearCopiesEverywhere() async throws {
        try await withCluster(of: 3) { peers in
            let caches = try await caches(peers)
            for key in 0..<60 {
                try await caches[0].set(key, "old")
                for cache in caches { try await cache.expect(key, "old") }
            }
            try await caches[1].removeAll()
            for key in 0..<60 { for cache in caches { try await cache.expect(key, nil) } }
        }
    }

    @Test func strictCachesKeepNoNearCopiesUnlessAsked() {
        #expect(CacheOptions().nearLife == .seconds(1) && CacheOptions(copies: 3, ackedBy: 2).nearLife == .seconds(1))
        #expect(CacheOptions(copies: 3, readFrom: 2, ackedBy: 2).nearLife == .zero)
        #expect(CacheOptions(copies: 3, readFrom: 2, ackedBy: 2, nearFor: .seconds(2)).nearLife == .seconds(2))
    }

    // MARK: An owner that says what the test wants

    private static func hash(_ key: Int) throws -> UInt64 {
        let security = HandshakeSecurity.sharedSecret(try KeyRing(current: ClusterSecret("a secret of the tests, long enough")))
        let secret = try HashKey(nil, security: security, cluster: "test").hashSecret(cache: "near")
        return key.withKeyBytes { secret.hash($0) }
    }

    /// Joins an owner that answers reads with "v", the stamp 1 and the number that `number` holds, and says that it holds what `held` is the
    /// clock of. The body gets two of its keys, which have
    /// near copies already, and the connection.
    private func withScriptedOwner(
        held: Number = Number(0), _ body: (CachePeer, Cache<Int, String>, ScriptedPeer, Number, (Int, Int)) async throws -> Void
    ) async throws {
        let number = Number(5)
        try await withCluster(of: 1) { peers in
            let cache = try await caches(peers)[0]
            try await ScriptedPeer.join(
                peers[0], weight: 1,
                answer: { request, connection in
                    if request.kind == .inspect {
                        var response = WireResponse(id: request.id, status: .absent)
                        response.stamp = Stamp(clock: held.value, origin: 1)
                        connection.respond(response)
                    }
                    guard request.kind == .get else { return request.kind == .inspect }
                    var response = WireResponse(id: request.id, status: .ok)
                    response.stamp = Stamp(clock: 1 << 16, origin: 1)
                    response.near = request.flags.contains(.near) ? number.value : 0
                    Array("v".utf8).withUnsafeBytes {
                        response.value = $0
                        connection.respond(response)
                    }
                    return true
                }
            ) { owner, _ in
                try await eventually("the owner is placed") {
                    peers[0].snapshot().members.contains { $0.id == owner.id.description && $0.ownedSlots > 0 }
                }
                var keys: [Int] = []
                for key in 0..<100 where keys.count < 2 {
                    guard try await cache.explain(key).owner == owner.id.description else { continue }
                    keys.append(key)
                    try await cache.expect(key, "v")
                    #expect(cache.peek(key) == "v")
                }
                try #require(keys.count == 2)
                try await body(peers[0], cache, owner, number, (keys[0], keys[1]))
            }
        }
    }

    private func tell(
        _ peer: CachePeer, _ owner: ScriptedPeer, _ subject: WireInvalidation.Subject, number: UInt64
    ) async throws {
        let connection = try #require(PeerID(peer.id).flatMap { owner.connection(to: $0) })
        connection.post { _, frames in frames.append(WireInvalidation(subject, number: number)) }
        // Its answer comes after what was sent before has been dealt with.
        let answer = await connection.call(deadlineNanoseconds: ClusterClock.monotonicNanoseconds + 10_000_000_000) { id, frames in
            var request = WireRequest(kind: .readClock, cache: UnsafeRawBufferPointer(start: nil, count: 0))
            request.id = id
            frames.append(request)
        }
        if case .failure(let error) = answer { throw error }
    }

    private static let stamp = Stamp(clock: 2 << 16, origin: 1)

    @Test func aMissingMessageMakesAllCopiesOfTheOwnerSuspect() async throws {
        try await withScriptedOwner { peer, cache, owner, number, keys in
            try await tell(peer, owner, .key(hash: Self.hash(keys.0), below: Self.stamp), number: 6)
            #expect(cache.peek(keys.0) == nil && cache.peek(keys.1) == "v" && peer.snapshot().invalidationGaps == 0)
            // 7 is lost.
            try await tell(peer, owner, .key(hash: Self.hash(keys.0), below: Self.stamp), number: 8)
            #expect(cache.peek(keys.1) == nil && peer.snapshot().invalidationGaps == 1)
            number.value = 8
            try await cache.expect(keys.1, "v")
            #expect(cache.peek(keys.1) == "v")
            // The last message before an answer is lost: the answer tells.
            number.value = 9
            try await cache.expect(keys.0, "v")
            #expect(cache.peek(keys.1) == nil && cache.peek(keys.0) == nil && peer.snapshot().invalidationGaps == 2)
            try await cache.expect(keys.0, "v")
            #expect(cache.peek(keys.0) == "v")
            try await tell(peer, owner, .everything, number: 10)
            #expect(cache.peek(keys.0) == nil && peer.snapshot().invalidationGaps == 2)
        }
    }

    @Test func anAnswerThatPromisesNothingIsNotKept() async throws {
        try await withScriptedOwner { peer, cache, owner, number, keys in
            try await tell(peer, owner, .everything, number: 6)
            number.value = 0
            try await cache.expect(keys.0, "v")
            #expect(cache.peek(keys.0) == nil)
        }
    }

    @Test func aStampFromTheFutureRaisesNoFloor() async throws {
        try await withScriptedOwner { peer, cache, owner, number, keys in
            try await tell(peer, owner, .key(hash: Self.hash(keys.0), below: Stamp(clock: .max, origin: 1)), number: 6)
            #expect(cache.peek(keys.0) == nil && cache.peek(keys.1) == nil)
            try await cache.expect(keys.0, "v")
            #expect(cache.peek(keys.0) == "v")
        }
    }

    @Test func staleHitsAreCountedAmongTheSamples() async throws {
        let held = Number(0)
        try await withScriptedOwner(held: held) { peer, cache, owner, number, keys in
            /// Hits once and waits for the comparison; earlier hits may be compared with it. Whether all were stale, or none.
            func isStale(_ clock: UInt64) async throws -> Bool? {
                held.value = clock
                let before = try #require(peer.snapshot().caches["near"])
                #expect(cache.peek(keys.0) == "v")
                try await eventually("compared") { peer.snapshot().caches["near"].map { $0.nearSamples > before.nearSamples } ?? false }
                let after = try #require(peer.snapshot().caches["near"])
                let stale = after.nearStale - before.nearStale
                return stale == 0 ? false : stale == after.nearSamples - before.nearSamples ? true : nil
            }
            let same = try await isStale(1 << 16), newer = try await isStale(2 << 16)
            let later = try await isStale((ClusterClock.wallMilliseconds + 5000) << 16)
            #expect(same == false && newer == true && later == false)
            let figures = try #require(peer.snapshot().caches["near"])
            #expect(figures.nearStalePPM == Double(figures.nearStale) * 1_000_000 / Double(figures.nearSamples))
        }
    }

    @Test func aConnectionThatEndsMakesCopiesSuspect() async throws {
        try await withScriptedOwner { peer, cache, owner, number, keys in
            let id = try #require(PeerID(peer.id)), first = try #require(owner.connection(to: id)), digest = peer.snapshot().placementDigest
            first.close(.idle)
            try await eventually("the copies are suspect") { cache.peek(keys.0) == nil && cache.peek(keys.1) == nil }
            try await eventually("connected again") { owner.connection(to: id).map { $0 !== first } ?? false }
            try await eventually("copies are made again") {
                _ = try await cache.get(keys.0)
                return cache.peek(keys.0) == "v"
            }
            #expect(peer.snapshot().placementDigest == digest)
        }
    }
}

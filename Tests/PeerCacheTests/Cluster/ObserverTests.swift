import NIOCore
import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

@testable import PeerCache

@Suite(.timeLimit(.minutes(2)), .serialized) struct ObserverTests {
    private static let options = CacheOptions(nearFor: .zero)

    private func cache(_ peer: CachePeer) -> Cache<Int, String> {
        peer.cache("c", key: Int.self, value: String.self, options: Self.options)
    }

    /// Runs a peer until `body` ends.
    private func run(_ peer: CachePeer, _ body: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await peer.run() }
            try await body()
        }
    }

    /// Once an observer was ready before it knew any member, and a key that was held had no value.
    @Test func aReadyObserverReadsWhatIsHeld() async throws {
        try await withCluster(of: 2) { peers in
            let caches = peers.map(cache)
            try await caches[0].set(1, "one")
            for _ in 0..<10 {
                let observer = try CachePeer(configuration: testConfiguration(seeds: peers.compactMap(\.address)) { $0.role = .observer })
                let own = cache(observer)
                // Before it is ready, and with the first reading of its readiness.
                try await run(observer) { try await own.expect(1, "one") }
                let other = try CachePeer(configuration: testConfiguration(seeds: peers.compactMap(\.address)) { $0.role = .observer })
                try await run(other) {
                    try await eventually("it is ready") { other.readiness.isReady }
                    #expect(other.snapshot().memberCount > 0)
                    try await cache(other).expect(1, "one")
                }
            }
        }
    }

    @Test func anObserverThatFindsNobodySaysSo() async throws {
        let observer = try CachePeer(
            configuration: testConfiguration(seeds: ["127.0.0.1:9"]) {
                $0.role = .observer
                $0.requestTimeout = .milliseconds(200)
            })
        let own = cache(observer)
        try await run(observer) { try await expectError(.peerUnreachable) { _ = try await own.get(1) } }
        #expect(!observer.readiness.isReady)
    }

    @Test func anObserverReadsAndWritesAndIsNoMember() async throws {
        try await withCluster(of: 3) { peers in
            let caches = peers.map(cache)
            let observer = try CachePeer(configuration: testConfiguration(seeds: peers.compactMap(\.address)) { $0.role = .observer })
            let events = Lock<[PeerEvent]>([])
            let heard = observer.events
            let reader = Task { for await event in heard { events.withLock { $0.append(event) } } }
            defer { reader.cancel() }
            let own = cache(observer)
            try await run(observer) {
                try await eventually("it knows the members") { observer.snapshot().memberCount == 3 && observer.readiness.isReady }
                #expect(observer.snapshot().placementDigest == peers[0].snapshot().placementDigest)
                for key in 0..<60 { try await own.set(key, "value \(key)") }
                for key in 0..<60 { try await caches[key % 3].expect(key, "value \(key)") }
                for key in 0..<60 { try await own.expect(key, "value \(key)") }
                try await own.remove(7)
                try await caches[0].expect(7, nil)
                #expect(observer.snapshot().entries == 0 && observer.address == nil)

                let late = try CachePeer(configuration: testConfiguration(seeds: [try #require(peers[0].address)]))
                try await run(late) {
                    try await eventually("it sees a join") { observer.snapshot().memberCount == 4 }
                    let id = late.id
                    try await eventually("and tells") {
                        events.withLock { $0.contains { if case .joined(let member) = $0 { member.id == id } else { false } } }
                    }
                }
                try await eventually("it sees a departure") { observer.snapshot().memberCount == 3 }
                try await own.expect(8, "value 8")
                #expect(peers.allSatisfy { !$0.snapshot().members.contains { $0.id == observer.id } })
                #expect(!observer.snapshot().members.contains { $0.id == observer.id })
            }
            #expect(peers.allSatisfy { $0.snapshot().memberCount == 3 })
        }
    }

    /// Whatever its connections lead to may end: it finds the others, and hears of the deaths.
    @Test func anObserverOutlivesThePeersItIsConnectedTo() async throws {
        try await withCluster(of: 1) { peers in
            let seed = try #require(peers[0].address)
            let mortals = try (0..<2).map { _ in
                try CachePeer(configuration: testConfiguration(seeds: [seed]) { ($0.leaveGrace, $0.handOverTimeout) = (.zero, .zero) })
            }
            let observer = try CachePeer(configuration: testConfiguration(seeds: [seed]) { $0.role = .observer })
            let own = cache(observer)
            _ = cache(peers[0])
            for mortal in mortals { _ = cache(mortal) }
            try await run(observer) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for mortal in mortals { group.addTask { try await mortal.run() } }
                    try await eventually("three members") { observer.snapshot().memberCount == 3 }
                    // Calls lead to connections with all of them.
                    for key in 0..<30 { _ = try? await own.set(key, "early") }
                    group.cancelAll()
                }
                try await eventually("one member") { observer.snapshot().memberCount == 1 && observer.readiness.isReady }
                for key in 0..<30 { try await eventually("it writes") { (try? await own.set(key, "late")) != nil } }
                for key in 0..<30 { try await own.expect(key, "late") }
            }
        }
    }

    @Test func anObserverMustFindAPeer() throws {
        #expect(throws: PeerCacheError.self) { try CachePeer(configuration: testConfiguration { $0.role = .observer }) }
    }

    // MARK: SEC8

    /// What only peers may say ends the connection of an observer; what it may ask is answered.
    @Test func sec8_observersAreCutOff() async throws {
        try await withCluster(of: 2) { peers in
            _ = cache(peers[0])
            let port = Int(try #require(peers[0].address.flatMap { PeerAddress($0) }).port)
            let victim = try #require(PeerID(peers[1].id))
            let record = MemberRecord(id: victim, address: PeerAddress(host: "127.0.0.1", port: 1))
            let dead = MemberClaim(Member(record, status: .dead, cause: .crashed, since: .max), withRecord: true)
            let forbidden: [OwnedMessage] =
                [RequestKind.apply, .claim, .pull, .compare].map { .request(request($0, id: 1)) } + [
                    .gossip(.accusation(Accusation(.vote, victim, incarnation: 1))), .gossip(.claims(placement: 0, [dead])),
                    .gossip(.ping(sequence: 1, placement: 0, claims: [])), .gossip(.sync(members: [], wantsReply: true)),
                ]
            for message in forbidden {
                #expect(try await ask([message, .request(request(.readClock, id: 9))], port: port) == .closed, "\(message)")
            }
            let allowed: [OwnedMessage] = [.gossip(.digest(TableDigest(low: 0, high: 0, cutoff: 0))), .gossip(.fetch([victim]))]
            #expect(try await ask(allowed + [.request(request(.readClock, id: 9))], port: port) == .answered(.ok))
            #expect(peers[0].snapshot().members.allSatisfy { $0.status == "alive" } && peers[0].snapshot().memberCount == 2)
        }
    }

    /// Whoever calls itself like a member is not taken for it.
    @Test func sec8_anObserverGetsNoCallsOfTheMemberWhoseIDItHas() async throws {
        try await withCluster(of: 2) { peers in
            let caches = peers.map(cache)
            let port = Int(try #require(peers[0].address.flatMap { PeerAddress($0) }).port)
            let before = try #require(peers[0].core.directory.connection(to: peers[1].core.me))
            let impostor = Task { try await ask([], as: peers[1].core.me, port: port) }
            try await eventually("it is connected") { peers[0].core.directory.observerCount == 1 }
            #expect(peers[0].core.directory.connection(to: peers[1].core.me) === before)
            #expect(peers[0].core.directory.all().count == 1)
            for key in 0..<20 { try await caches[0].set(key, "value \(key)") }
            for key in 0..<20 { try await caches[0].expect(key, "value \(key)") }
            impostor.cancel()  // it ends with the peer
        }
    }

    @Test func moreObserversThanTheLimitAreRefused() async throws {
        try await withCluster(of: 1, configure: { $0.limits.observersMax = 1 }) { peers in
            let seeds = peers.compactMap(\.address)
            let first = try CachePeer(configuration: testConfiguration(seeds: seeds) { $0.role = .observer })
            try await run(first) {
                try await eventually("the first is connected") { first.readiness.isReady }
                let port = Int(try #require(peers[0].address.flatMap { PeerAddress($0) }).port)
                #expect(try await ask([.request(request(.readClock, id: 9))], port: port) == .closed)
            }
        }
    }

    private func request(_ kind: RequestKind, id: UInt64) -> OwnedRequest {
        var request = OwnedRequest(kind: kind)
        (request.id, request.cache) = (id, Array("c".utf8))
        return request
    }

    /// Says this as an observer.
    private func ask(
        _ messages: [OwnedMessage], as me: PeerID = PeerID(high: 0x0B5E, low: .random(in: 1...1_000_000)), port: Int
    ) async throws -> Conversation.Outcome {
        let security = HandshakeSecurity.sharedSecret(try KeyRing(current: ClusterSecret("a secret of the tests, long enough")))
        let handshake = try HandshakeConfiguration(cluster: "test", security: security, me: me, role: .observer)
        let settings = SettingsFingerprint(hashKey: try HashKey(nil, security: security, cluster: "test").fingerprint)
        let record = MemberRecord(id: me, address: PeerAddress(host: "127.0.0.1", port: 1))
        let script = SampleFrame.bytes(of: [.hello(record, settings)]) + messages.flatMap { SampleFrame.bytes(of: [$0]) }
        return try await Conversation.run(with: port, as: handshake, script: script, endsConnection: false, lastID: 9)
    }
}

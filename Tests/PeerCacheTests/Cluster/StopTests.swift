import PeerCacheCore
import ServiceLifecycle
import Testing

@testable import PeerCache

/// The end of a peer ends what waits for it.
@Suite(.timeLimit(.minutes(1))) struct StopTests {
    /// After the stop nobody watches deadlines any more, so waiters of a loader that is deaf to cancellation must be told at the stop.
    @Test func waitersOfADeafLoaderAreTold() async throws {
        let stuck = Lock<CheckedContinuation<Void, Never>?>(nil)
        let peer = try CachePeer(configuration: testConfiguration())
        let cache = peer.cache("stuck", key: Int.self, value: String.self) { id in
            await withCheckedContinuation { continuation in stuck.withLock { $0 = continuation } }
            return "row \(id)"
        }
        let run = Task { try await peer.run() }
        let first = Task { try await cache.get(1) }
        try await eventually("the loader runs") { stuck.withLock { $0 != nil } }
        run.cancel()
        try await run.value
        try await expectError(.shuttingDown) { _ = try await first.value }
        // Nor does anybody join it now.
        try await expectError(.shuttingDown) { _ = try await cache.get(1) }
        stuck.withLock { $0?.resume() }
    }

    /// Who leaves has nothing to wait for when all others leave, too: the whole cluster stops, and `handOverTimeout` would be in vain.
    @Test(arguments: [2, 3]) func aClusterThatStopsAsAWholeDoesNotWaitForSuccessors(count: Int) async throws {
        func configuration(_ seeds: [String]) -> CachePeerConfiguration {
            testConfiguration(seeds: seeds) { $0.handOverTimeout = .seconds(600) }
        }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            var peers: [CachePeer] = [], groups: [ServiceGroup] = []
            for _ in 0..<count {
                let peer = try CachePeer(configuration: configuration(peers.compactMap(\.address)))
                let group = ServiceGroup(services: [peer], logger: testConfiguration().logger)
                tasks.addTask { try await group.run() }
                try await eventually("it listens") { peer.address != nil }
                peers.append(peer)
                groups.append(group)
            }
            try await eventually("all know all") { peers.allSatisfy { $0.snapshot().memberCount == count && $0.readiness.isReady } }
            let caches = peers.map { $0.cache("c", key: Int.self, value: String.self) }
            for key in 0..<100 { try await caches[0].set(key, "value") }
            for group in groups { await group.triggerGracefulShutdown() }
            // Within the suite's minute.
            try await tasks.waitForAll()
        }
    }

    /// Who is only held for dead may come back, and newcomers are successors like any other.
    @Test func aLeavingPeerKnowsWhoMayStillFetch() {
        let me = PeerID(high: 0, low: 1), other = PeerID(high: 0, low: 2), new = PeerID(high: 0, low: 3)
        func mayHaveSuccessor(_ statuses: [PeerID: MemberStatus]) -> Bool {
            let members = [me, other, new].compactMap { id in
                statuses[id].map { Member(MemberRecord(id: id, address: PeerAddress(host: "127.0.0.1", port: 1)), status: $0) }
            }
            return CachePeer.mayHaveSuccessor(MembershipView(me: me, members: members, version: 1, digest: 0), [other])
        }
        for gone in [MemberStatus.leaving, .left] {
            #expect(!mayHaveSuccessor([me: .leaving, other: gone]))
            #expect(mayHaveSuccessor([me: .leaving, other: gone, new: .alive]))
        }
        for there in [MemberStatus.alive, .suspect, .dead] { #expect(mayHaveSuccessor([me: .leaving, other: there])) }
        #expect(mayHaveSuccessor([me: .leaving]), "forgotten: nobody knows how it ended")
        #expect(CachePeer.mayHaveSuccessor(nil, []))
    }
}

import PeerCacheCore
import Logging
import PeerCache
import ServiceLifecycle
import Testing

@Suite(.timeLimit(.minutes(2))) struct LifetimeTests {
    @Test func aServiceGroupShutsThePeerDownGracefully() async throws {
        try await withCluster(of: 2) { peers in
            let seed = try #require(peers[0].address)
            let third = try CachePeer(configuration: testConfiguration(seeds: [seed]) { $0.leaveGrace = .milliseconds(200) })
            let caches = (peers + [third]).map { $0.cache("c", key: Int.self, value: String.self) { "row \($0)" } }, cache = caches[2]
            let group = ServiceGroup(services: [third], logger: testConfiguration().logger)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await group.run() }
                try await eventually("three members") { peers.allSatisfy { $0.snapshot().memberCount == 3 } }
                try await cache.expect(1, "row 1")
                await group.triggerGracefulShutdown()
                try await tasks.waitForAll()
            }
            try await eventually("two members") { peers.allSatisfy { $0.snapshot().memberCount == 2 } }
            try await eventually("it has left") { peers[0].snapshot().members.contains { $0.status == "left" } }
            #expect(!peers[0].snapshot().members.contains { $0.status == "dead" })
            try await expectError(.shuttingDown) { _ = try await cache.get(2) }
            try await expectError(.alreadyRunning) { try await third.run() }
        }
    }

    /// Copies 2: what a peer owned is answered from the copies when it has gone without a word.
    @Test func aVanishedPeersKeysAreAnsweredFromTheirCopies() async throws {
        let loads = Lock(0)
        let load: @Sendable (Int) async throws -> String? = { id in
            loads.withLock { $0 += 1 }
            return "row \(id)"
        }
        let options = CacheOptions(nearFor: .zero)
        try await withCluster(of: 2) { peers in
            let caches = peers.map { $0.cache("c", key: Int.self, value: String.self, options: options, loader: load) }
            try await runAlone(testConfiguration(seeds: [try #require(peers[0].address)]) { $0.leaveGrace = .zero }) { third in
                let cache = third.cache("c", key: Int.self, value: String.self, options: options, loader: load)
                try await eventually("three members") { (peers + [third]).allSatisfy { $0.snapshot().memberCount == 3 } }
                for id in 0..<600 { try await cache.expect(id, "row \(id)") }
                #expect(loads.withLock { $0 } == 600)
            }
            for id in 0..<600 { try await caches[id % 2].expect(id, "row \(id)") }
            // Every key has a holder left; a few may be read while the placement changes.
            #expect(loads.withLock { $0 } <= 612, "600 keys, and at most 2 % of them again")
        }
    }

    @Test func aWaiterThatIsCancelledLeavesTheLoadToTheOthers() async throws {
        let gate = Gate()
        try await withCluster(of: 2) { peers in
            let caches = peers.map { peer in
                peer.cache("slow", key: Int.self, value: String.self) { id in
                    await gate.wait()
                    return "row \(id)"
                }
            }
            for id in 0..<4 {
                gate.close()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    let impatient = Task { try await caches[0].get(id) }
                    for cache in caches { group.addTask { try await cache.expect(id, "row \(id)") } }
                    try await eventually("the load runs") { peers.contains { $0.snapshot().caches["slow"]?.loadsRunning == 1 } }
                    impatient.cancel()
                    await #expect(throws: CancellationError.self) { try await impatient.value }
                    gate.open()
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test func aLoaderThatNeverReturnsFailsItsWaitersAndFreesTheKey() async throws {
        let stuck = Lock<[CheckedContinuation<Void, Never>]?>([])
        // On a starved machine the owner may answer late; its caller must not lose patience and load by itself.
        try await withCluster(of: 2, configure: { $0.requestTimeout = .seconds(30) }) { peers in
            let caches = peers.map { peer in
                peer.cache("stuck", key: Int.self, value: String.self, options: .init(loadTimeout: .milliseconds(300))) { id in
                    // Deaf to cancellation.
                    await withCheckedContinuation { continuation in
                        let isStuck = stuck.withLock { stuck in
                            stuck?.append(continuation)
                            return stuck != nil
                        }
                        if !isStuck { continuation.resume() }
                    }
                    return "row \(id)"
                }
            }
            for id in 0..<4 { try await expectError(.loadTimedOut) { _ = try await caches[0].get(id) } }
            let waiting = stuck.withLock { stuck in
                defer { stuck = nil }
                return stuck ?? []
            }
            #expect(waiting.count == 4)
            for continuation in waiting { continuation.resume() }
            for id in 0..<4 { try await caches[1].expect(id, "row \(id)") }
        }
    }
}

extension LifetimeTests {
    /// Loaders that are deaf to cancellation count until they end, whatever their callers do.
    @Test func loadersThatRunAreBounded() async throws {
        let gate = Lock<[CheckedContinuation<Void, Never>]>([])
        try await withCluster(of: 1, configure: { $0.limits.loadsMax = 3 }) { peers in
            let cache = peers[0].cache("deaf", key: Int.self, value: String.self, options: .init(loadTimeout: .milliseconds(50))) { id in
                await withCheckedContinuation { continuation in gate.withLock { $0.append(continuation) } }
                return "row \(id)"
            }
            for id in 0..<3 { try await expectError(.loadTimedOut) { _ = try await cache.get(id) } }
            for id in 3..<9 { try await expectError(.overloaded) { _ = try await cache.get(id) } }
            let waiting = gate.withLock { $0 }
            #expect(waiting.count == 3)
            // Who looks for the reason finds it.
            let snapshot = peers[0].snapshot()
            #expect(snapshot.loadersRunning == 3)
            #expect(snapshot.caches["deaf"]?.loadsRunning == 0)
            #expect(snapshot.caches["deaf"]?.loadsRefused == 6)
            for continuation in waiting { continuation.resume() }
        }
    }
}

/// Holds loaders back until it is opened.
final class Gate: Sendable {
    private let isOpen = Lock(true)

    func close() { isOpen.withLock { $0 = false } }
    func open() { isOpen.withLock { $0 = true } }
    func wait() async { while !isOpen.withLock({ $0 }), !Task.isCancelled { try? await Task.sleep(for: .milliseconds(2)) } }
}

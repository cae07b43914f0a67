import ArgumentParser
import NIOCore
import NIOPosix
import PeerCache
import Synchronization

/// Peers in this process, on 127.0.0.1 and ports that the kernel chose.
final class LocalCluster {
    let peers: [BenchPeer]
    let loaderCalls: LoaderCalls
    private let running: [Task<Void, any Error>]
    private let group: MultiThreadedEventLoopGroup

    /// Calls of the loader on all peers.
    final class LoaderCalls: Sendable {
        private let count = Atomic<Int>(0)

        func add() { count.add(1, ordering: .relaxed) }
        var total: Int { count.load(ordering: .relaxed) }
    }

    /// Returns when all peers are one cluster and each is ready.
    init(peers count: Int, loops: Int, _ settings: BenchPeer.Settings, loader: BenchPeer.Loader? = nil) async throws {
        let calls = LoaderCalls(), group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
        let counted: BenchPeer.Loader? = loader.map { loader in
            { @Sendable key in
                calls.add()
                return try await loader(key)
            }
        }
        var peers: [BenchPeer] = [], running: [Task<Void, any Error>] = [], settings = settings
        for _ in 0..<count {
            let member = try BenchPeer(settings, on: group, loader: counted)
            peers.append(member)
            running.append(Task { [peer = member.peer] in try await peer.run() })
            try await waitUntil("a peer listens") { member.peer.address != nil }
            if settings.seeds.isEmpty { settings.seeds = member.peer.address.map { [$0] } ?? [] }
        }
        (self.peers, self.running, self.group, loaderCalls) = (peers, running, group, calls)
        do {
            try await waitUntil("\(count) peers become one cluster") {
                peers.allSatisfy { $0.peer.snapshot().memberCount == count && $0.peer.readiness.isReady }
                    && Set(peers.map { $0.peer.snapshot().placementDigest }).count == 1
            }
        } catch {
            await stop()
            throw error
        }
    }

    func stop() async {
        for task in running { task.cancel() }
        for task in running { _ = try? await task.value }
        try? await group.shutdownGracefully()
    }
}

/// Waits for at most a minute.
func waitUntil(_ what: String, seconds: Int = 60, _ condition: () async throws -> Bool) async throws {
    let end = Clock.nanoseconds + UInt64(seconds) * 1_000_000_000
    while try await !condition() {
        guard Clock.nanoseconds < end else { throw ValidationError("\(what): not within \(seconds) s") }
        try await Task.sleep(for: .milliseconds(10))
    }
}

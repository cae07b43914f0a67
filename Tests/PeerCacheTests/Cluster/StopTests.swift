import PeerCacheCore
import PeerCache
import Testing

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
}

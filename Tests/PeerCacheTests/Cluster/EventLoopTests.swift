import Foundation
import PeerCacheCore
import PeerCacheTransport
import Testing

@testable import PeerCache

/// The machines of the replicator take long in a large cluster; an event loop that waited for them would answer no pings meanwhile.
@Suite struct EventLoopTests {
    @Test(arguments: [RequestKind.claim, .seal, .compare, .read])
    func noConnectionWaitsForTheMachines(because kind: RequestKind) async throws {
        try await withCluster(of: 1) { peers in
            let core = peers[0].core
            try await ScriptedPeer.join(peers[0], weight: 0) { _, connection in
                let hasGoneOn = await whileTheMachinesAreBusy(core) { done in
                    send(kind, core, over: connection) { _ in }
                    send(.readClock, core, over: connection) { if case .success = $0 { done() } }
                }
                #expect(hasGoneOn, "\(kind)")
            }
        }
    }

    /// Event loops take in writes, and send their copies.
    @Test func nobodyWaitsForTheMachinesToNoteAMissedCopy() async throws {
        let core = try CachePeer(configuration: testConfiguration()).core
        let hasGoneOn = await whileTheMachinesAreBusy(core) { done in
            Thread.detachNewThread {
                core.replicator.missed(0, by: PeerID(high: 1, low: 1))
                done()
            }
        }
        #expect(hasGoneOn)
    }

    /// - Returns: whether `body` got something done while the lock of the machines was held.
    private func whileTheMachinesAreBusy(
        _ core: PeerCore, _ body: @escaping @Sendable (_ done: @escaping @Sendable () -> Void) -> Void
    ) async -> Bool {
        await withCheckedContinuation { continuation in
            // A thread of its own: tasks wait for the lock too, and may be as many as there are threads for them.
            Thread.detachNewThread {
                let done = DispatchSemaphore(value: 0)
                let isDone = core.replicator.state.withLock { _ in
                    body { done.signal() }
                    return done.wait(timeout: .now() + .seconds(10)) == .success
                }
                continuation.resume(returning: isDone)
            }
        }
    }

    private func send(
        _ kind: RequestKind, _ core: PeerCore, over connection: PeerConnection,
        completion: @escaping @Sendable (PeerConnection.Answer) -> Void
    ) {
        guard let slot = Slot(index: 0), let scheme = QuorumScheme(copies: 3, readFrom: 2, ackedBy: 2) else { return }
        let digest = core.table.routing.digest, slots = SlotSet([slot])
        let value =
            switch kind {
            case .claim: PageWriter.claim(slots)
            case .seal: PageWriter.seal(Seal(placement: digest, slots: slots), scheme)
            case .compare:
                PageWriter.compare([BucketSummary(index: BucketIndex(hash: 0), floor: .zero, digest: BucketDigest())])
            default: [UInt8]()
            }
        let now = ClusterClock.monotonicNanoseconds
        connection.call(nowNanoseconds: now, deadlineNanoseconds: now + 30_000_000_000, completion: completion) { id, frames in
            value.withUnsafeBytes { value in
                var request = WireRequest(kind: kind, cache: UnsafeRawBufferPointer(start: nil, count: 0))
                request.id = id
                request.placement = digest
                request.scheme = scheme.code
                request.value = value
                frames.append(request)
            }
        }
    }
}

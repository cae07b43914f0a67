import NIOCore
import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

/// A caller that is cancelled gets its answer at once, whenever that happens, and leaves nothing behind.
@Suite(.timeLimit(.minutes(2))) struct CallCancellationTests {
    private let id = PeerID(high: 0xF0, low: 1)

    private func call(_ connection: PeerConnection, mustSend: Bool = false) async -> Result<PeerResponse, PeerCallError> {
        await connection.call(deadlineNanoseconds: .max, mustSend: mustSend) { id, frames in
            var request = WireRequest(kind: .get, cache: UnsafeRawBufferPointer(start: nil, count: 0))
            request.id = id
            frames.append(request)
        }
    }

    /// Runs `body` with a connection to a peer that reads and never answers.
    private func withSilentPeer(_ body: (PeerConnection, RawPeer) async throws -> Void) async throws {
        try await TransportBench.run { bench in
            let introduction = try bench.introduction(of: id), port = bench.port
            let peer = try await RawPeer.blocking {
                let peer = try RawPeer(port: port)
                _ = peer.write(introduction)
                _ = peer.readAnswer()
                return UncheckedBox(peer)
            }
            try await body(try await bench.connection(to: id), peer.value)
        }
    }

    @Test func whileItWaits() async throws {
        try await withSilentPeer { connection, _ in
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<50 { group.addTask { await call(connection).error == .cancelled } }
                #expect(try await eventually { connection.requestsInFlight == 50 })
                group.cancelAll()
                for try await isCancelled in group { #expect(isCancelled) }
            }
            #expect(connection.requestsInFlight == 0)
        }
    }

    /// The cancellation may come before the call is registered, between that and the wait, or after.
    @Test func aroundTheMomentItBegins() async throws {
        try await withSilentPeer { connection, _ in
            for round in 0..<500 {
                let task = Task { await call(connection).error }
                if round % 2 == 0 { await Task.yield() }
                task.cancel()
                #expect(await task.value == .cancelled)
            }
            #expect(connection.requestsInFlight == 0)
        }
    }

    /// A copy of a write goes out although nobody waits for its answer any more; another call does not.
    @Test(arguments: [true, false]) func beforeItBegins(mustSend: Bool) async throws {
        try await withSilentPeer { connection, peer in
            let task = Task {
                while !Task.isCancelled { await Task.yield() }
                return await call(connection, mustSend: mustSend).error
            }
            task.cancel()
            #expect(await task.value == .cancelled)
            #expect(connection.requestsInFlight == 0)
            // A later one that the peer can wait for.
            connection.post { _, frames in frames.append(cancel: 4711) }
            let box = UncheckedBox(peer)
            let requests = try await RawPeer.blocking {
                var requests = 0
                while let messages = box.value.read() {
                    for message in messages {
                        if case .request = message { requests += 1 }
                        if case .cancel(4711) = message { return requests }
                    }
                }
                return -1
            }
            #expect(requests == (mustSend ? 1 : 0))
        }
    }
}

extension Result where Failure == PeerCallError {
    fileprivate var error: PeerCallError? { if case .failure(let error) = self { error } else { nil } }
}

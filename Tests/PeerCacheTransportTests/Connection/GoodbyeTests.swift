import NIOCore
import PeerCacheCore
import PeerCacheTransport
import Testing

/// How connections end that this side does not want any more.
@Suite(.timeLimit(.minutes(2))) struct GoodbyeTests {
    private let id = PeerID(high: 0xF0, low: 1)

    /// Neither its calls nor its descriptor may wait for a peer that takes nothing.
    @Test(arguments: [Goodbye.replaced, .idle]) func aConnectionThatTakesNothingEndsAllTheSame(goodbye: Goodbye) async throws {
        let limits: (inout ConnectionLimits) -> Void = {
            $0.stalledMax = .seconds(1000)
            $0.goodbyeMax = .milliseconds(200)
        }
        try await TransportBench.run(limits: limits) { bench in
            let (peer, connection) = try await bench.peer(id)
            let value = ByteBuffer(repeating: 1, count: 12 << 20)
            async let call = connection.call(deadlineNanoseconds: .max, large: value) { id, frames in
                var request = WireRequest(kind: .set, cache: UnsafeRawBufferPointer(start: nil, count: 0))
                (request.id, request.chunkedBytes) = (id, UInt64(value.readableBytes))
                frames.append(request)
            }
            #expect(try await eventually { connection.requestsInFlight == 1 })
            connection.close(goodbye)
            #expect(try await eventually { bench.handler.closed == 1 })
            // Also where it was not closed: the test must end.
            peer.closeBothWays()
            #expect(await call.isClosed)
        }
    }
}

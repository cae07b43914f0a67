import NIOCore
import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

/// How connections end that this side does not want any more.
@Suite(.timeLimit(.minutes(2))) struct GoodbyeTests {
    private let id = PeerID(high: 0xF0, low: 1)
    private static let malformed = SampleFrame.framed([0xFF, 0xFF, 0xFF])

    @Test func aFrameThatIsRefusedEndsTheConnectionWithAWord() async throws {
        try await TransportBench.run { bench in
            let (peer, _) = try await bench.peer(id)
            let box = UncheckedBox(peer)
            let messages = try await RawPeer.blocking {
                _ = box.value.write(Self.malformed)
                return box.value.readAll()
            }
            #expect(messages.contains(.goodbye(.protocolError)), "\(messages)")
            #expect(bench.transport.counts.framesRefused == 1)
            #expect(bench.transport.directory.connection(to: id) == nil)
        }
    }

    /// The same would happen again at once.
    @Test func whoSendsFramesThatAreRefusedIsNotDialledInALoop() async throws {
        let listener = UncheckedBox(try RawListener()), seed = listener.value.address, id = id
        let bench = try await TransportBench {
            $0.discovery = { [seed] }
            $0.gossip.freshDialsMax = 0  // probes dial by themselves
        }
        let settings = bench.settings, handshake = try TransportBench.handshake(of: id)
        let accepted = Lock(0)
        async let serving: Void = RawPeer.blocking {
            while let peer = listener.value.accept() {
                accepted.withLock { $0 += 1 }
                _ = peer.welcome(as: id, port: seed.port, handshake, settings) && peer.write(Self.malformed)
                _ = peer.readAll()
            }
        }
        #expect(try await eventually { bench.transport.counts.framesRefused >= 1 })
        try await Task.sleep(for: .milliseconds(700))
        // Their pauses come to 15 s.
        #expect(accepted.withLock { $0 } <= 5)
        listener.value.stop()
        await bench.stop()
        try await serving
    }

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

import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

/// Values in chunks against their bounds, on a real socket (`SECURITY.md` §4).
@Suite(.timeLimit(.minutes(2))) struct ChunkLimitTests {
    private let me = PeerID(high: 0xF2, low: 1)

    private func announcement(_ id: UInt64, bytes: UInt64) -> OwnedMessage {
        var request = OwnedRequest(kind: .set)
        (request.id, request.chunkedBytes) = (id, bytes)
        return .request(request)
    }

    private func chunk(_ id: UInt64, count: Int) -> OwnedMessage {
        .chunk(id: id, isResponse: false, bytes: [UInt8](repeating: 1, count: count))
    }

    /// Sends messages, each in a frame of its own, and returns the answers by request: `count` of them, or what had come when the peer closed.
    private func answers(
        _ bench: TransportBench, to messages: [OwnedMessage], count: Int
    ) async throws -> (answers: [UInt64: ResponseStatus], isClosed: Bool) {
        let bytes = try bench.introduction(of: me) + messages.flatMap { SampleFrame.bytes(of: [$0]) }, port = bench.port
        return try await RawPeer.blocking {
            let peer = try RawPeer(port: port)
            var answers: [UInt64: ResponseStatus] = [:]
            guard peer.write(bytes), peer.readAnswer() else { return (answers, true) }
            while answers.count < count {
                guard let messages = peer.read() else { return (answers, true) }
                for case .response(let response) in messages { answers[response.id] = response.status }
            }
            return (answers, false)
        }
    }

    @Test func tooManyAtATimeAreRefusedAndTheOthersGoOn() async throws {
        try await TransportBench.run(limits: { $0.assembliesMax = 3 }) { bench in
            let announced = (1...5).map { announcement($0, bytes: 2) }, chunks = (1...5).map { chunk($0, count: 2) }
            let (answers, isClosed) = try await answers(bench, to: announced + chunks, count: 2)
            #expect(answers == [4: .overloaded, 5: .overloaded])
            #expect(!isClosed)
            #expect(try await eventually { bench.handler.requests == 3 })
        }
    }

    @Test func tooManyBytesAtATimeAreRefused() async throws {
        try await TransportBench.run(limits: { ($0.valueBytesMax, $0.assemblyBytesMax) = (1000, 2500) }) { bench in
            let announced = [1001, 1000, 1000, 501, 500, UInt64(WireLimits.valueBytesCeiling)].enumerated().map {
                announcement(UInt64($0 + 1), bytes: $1)
            }
            let (answers, isClosed) = try await answers(bench, to: announced + [chunk(5, count: 500)], count: 3)
            #expect(answers == [1: .valueTooLarge, 4: .overloaded, 6: .valueTooLarge])
            #expect(!isClosed)
            #expect(try await eventually { bench.handler.requests == 1 })
        }
    }

    /// The keys of a `getMany` are no value of the application's.
    @Test func keysAreNotBoundedAsValues() async throws {
        try await TransportBench.run(limits: { $0.valueBytesMax = 1000 }) { bench in
            let requests = [RequestKind.getMany, .set].enumerated().map { index, kind in
                var request = OwnedRequest(kind: kind)
                (request.id, request.value) = (UInt64(index + 1), [UInt8](repeating: 1, count: 2000))
                return OwnedMessage.request(request)
            }
            let (answers, _) = try await answers(bench, to: requests, count: 1)
            #expect(answers == [2: .valueTooLarge])
            #expect(try await eventually { bench.handler.requests == 1 })
        }
    }

    @Test func theSlowLoseTheirRoom() async throws {
        try await TransportBench.run(limits: { ($0.assembliesMax, $0.assemblyTimeout) = (1, .milliseconds(1)) }) { bench in
            let introduction = try bench.introduction(of: me), port = bench.port
            let first = SampleFrame.bytes(of: [announcement(1, bytes: 2), chunk(1, count: 1)])
            let peer = try await RawPeer.blocking {
                let peer = try RawPeer(port: port)
                _ = peer.write(introduction + first)
                return UncheckedBox(peer)
            }
            // Refused as long as the first one has the only place.
            let second = SampleFrame.bytes(of: [announcement(2, bytes: 2), chunk(2, count: 2)])
            #expect(try await eventually { peer.value.write(second) && bench.handler.requests > 0 })
        }
    }

    @Test(
        arguments: [
            (2, 3), (1_000_000, WireLimits.chunkBytes + 1), (UInt64(WireLimits.valueBytesCeiling) + 1, 1), (.max, 1),
        ] as [(UInt64, Int)]) func wrongSizesCloseTheConnection(announced: UInt64, sent: Int) async throws
    {
        try await TransportBench.run { bench in
            let (answers, isClosed) = try await answers(bench, to: [announcement(1, bytes: announced), chunk(1, count: sent)], count: 1)
            #expect(answers.isEmpty && isClosed)
            #expect(try await eventually { bench.transport.counts.framesRefused == 1 })
            #expect(bench.handler.requests == 0)
        }
    }
}

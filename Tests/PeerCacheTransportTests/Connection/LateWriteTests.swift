import Foundation
import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

/// Writes that are read after their callers have given up, as by a peer that stood still meanwhile.
@Suite(.timeLimit(.minutes(2))) struct LateWriteTests {
    private let me = PeerID(high: 0xF3, low: 1)

    private func request(_ kind: RequestKind, id: UInt64, deadline: UInt32 = 500) -> OwnedMessage {
        var request = OwnedRequest(kind: kind)
        (request.id, request.deadlineMilliseconds) = (id, deadline)
        return .request(request)
    }

    /// A reading of the clock that many milliseconds ago.
    private func reading(before milliseconds: UInt64) -> UInt64 { (ClusterClock.wallMilliseconds - milliseconds) << 16 }

    /// Sends frames, and returns the answers by request: `count` of them.
    private func answers(_ bench: TransportBench, to frames: [UInt8], count: Int) async throws -> [UInt64: ResponseStatus] {
        let bytes = try bench.introduction(of: me) + frames, port = bench.port
        return try await RawPeer.blocking {
            let peer = try RawPeer(port: port)
            var answers: [UInt64: ResponseStatus] = [:]
            guard peer.write(bytes), peer.readAnswer() else { return answers }
            while answers.count < count, let messages = peer.read() {
                for case .response(let response) in messages { answers[response.id] = response.status }
            }
            return answers
        }
    }

    @Test func whatCameTooLateIsNotDone() async throws {
        try await TransportBench.run { bench in
            let late = SampleFrame.bytes(of: [request(.set, id: 1), request(.remove, id: 2)], hlc: reading(before: 5_000))
            let answers = try await answers(bench, to: late, count: 2)
            #expect(answers == [1: .tooLate, 2: .tooLate])
            #expect(bench.handler.requests == 0)
        }
    }

    /// Of these either somebody waits, or their order is in their stamps.
    @Test func otherRequestsAreServedHoweverOld() async throws {
        try await TransportBench.run { bench in
            let late = SampleFrame.bytes(
                of: [request(.get, id: 1), request(.apply, id: 2), request(.set, id: 3, deadline: 0)], hlc: reading(before: 5_000))
            let inTime = SampleFrame.bytes(of: [request(.set, id: 4, deadline: 60_000)], hlc: reading(before: 5_000))
            let ahead = SampleFrame.bytes(of: [request(.set, id: 5)], hlc: (ClusterClock.wallMilliseconds + 5_000) << 16)
            // The frame's clock is now ahead of the wall clock, which says how old a frame is.
            let fresh = SampleFrame.bytes(of: [request(.set, id: 6)], hlc: reading(before: 0))
            _ = try await answers(bench, to: late + inTime + ahead + fresh, count: 0)
            #expect(try await eventually { bench.handler.requests == 6 })
        }
    }

    /// The request came in time, its value did not.
    @Test func aValueThatCameTooLateIsNotStored() async throws {
        try await TransportBench.run { bench in
            var begun = OwnedRequest(kind: .set)
            (begun.id, begun.deadlineMilliseconds, begun.chunkedBytes) = (1, 1, 2)
            let messages: [OwnedMessage] = [.request(begun), .chunk(id: 1, isResponse: false, bytes: [1])]
            let first = SampleFrame.bytes(of: messages, hlc: (ClusterClock.wallMilliseconds + 5_000) << 16)
            let introduction = try bench.introduction(of: me), port = bench.port
            let status = try await RawPeer.blocking {
                let peer = try RawPeer(port: port)
                guard peer.write(introduction + first), peer.readAnswer() else { return ResponseStatus?.none }
                Thread.sleep(forTimeInterval: 0.02)
                _ = peer.write(SampleFrame.bytes(of: [.chunk(id: 1, isResponse: false, bytes: [2])]))
                while let messages = peer.read() {
                    for case .response(let response) in messages { return response.status }
                }
                return nil
            }
            #expect(status == .tooLate)
            #expect(bench.handler.requests == 0)
        }
    }
}

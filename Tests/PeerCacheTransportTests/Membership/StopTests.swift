import Foundation
import NIOCore
import NIOPosix
import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

@Suite(.timeLimit(.minutes(1))) struct TransportStopTests {
    /// However busy the loop of the membership is: a connection that ends before its members say that they left looks like a crash.
    @Test func everybodyIsToldBeforeConnectionsClose() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 4), id = PeerID(high: 0xF0, low: 1)
        let bench = try await TransportBench {
            $0.group = group
        } onEvent: { event in
            // Only brings about the order in question.
            if case .joined = event { usleep(500_000) }
        }
        let (peer, _) = try await bench.peer(id)
        let box = UncheckedBox(peer)
        async let heard = RawPeer.blocking { box.value.readAll() }
        await bench.stop()
        let messages = try await heard
        let left = messages.firstIndex { message in
            guard case .gossip(.claims(_, let claims)) = message else { return false }
            return claims.contains { $0.id == TransportBench.id && $0.status == .left }
        }
        #expect(left != nil)
        #expect(messages.last == .goodbye(.leaving))
        try await group.shutdownGracefully()
    }
}

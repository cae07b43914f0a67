import PeerCacheCore
import PeerCacheTransport
import Testing

/// Strangers that connect and then only sit there (`SECURITY.md` §4).
@Suite(.timeLimit(.minutes(2))) struct HandshakeAdmissionTests {
    private func id(_ number: Int) -> PeerID { PeerID(high: 0xF1, low: UInt64(number)) }

    private func silent(_ bench: TransportBench, _ count: Int, from hosts: ClosedRange<UInt8> = 1...1) async throws -> UncheckedBox<
        [RawPeer]
    > {
        let port = bench.port
        return try await RawPeer.blocking {
            UncheckedBox(try hosts.flatMap { host in try (0..<count).map { _ in try RawPeer(port: port, from: host) } })
        }
    }

    private func member(_ bench: TransportBench, _ id: PeerID) async throws -> UncheckedBox<RawPeer> {
        let introduction = try bench.introduction(of: id), port = bench.port
        let member = try await RawPeer.blocking {
            let peer = try RawPeer(port: port)
            _ = peer.write(introduction)
            return UncheckedBox(peer)
        }
        _ = try await bench.connection(to: id)
        return member
    }

    /// Thirty-two from one address may be at it; one more makes the oldest give way, so a member gets in from behind the same address.
    @Test func theSilentOfOneAddressGiveWay() async throws {
        try await TransportBench.run { bench in
            let silent = try await silent(bench, 35)
            #expect(try await eventually { bench.transport.counts.handshakesRefused == 3 })
            let member = try await member(bench, id(1))
            #expect(bench.transport.counts.handshakesRefused == 4)
            let isClosed = try await RawPeer.blocking { silent.value[0].read() == nil }
            #expect(isClosed)
            withExtendedLifetime(member) {}
        }
    }

    @Test func whoHasProvedItselfCountsNoMore() async throws {
        try await TransportBench.run { bench in
            var members: [UncheckedBox<RawPeer>] = []
            for number in 1...40 { members.append(try await member(bench, id(number))) }
            #expect(bench.transport.directory.all().count == 40)
            #expect(bench.transport.counts.handshakesRefused == 0)
            withExtendedLifetime(members) {}
        }
    }

    /// So does whoever has gone.
    @Test func whoHasGoneCountsNoMore() async throws {
        try await TransportBench.run { bench in
            for number in 1...40 {
                _ = try await silent(bench, 1)
                withExtendedLifetime(try await member(bench, id(number))) {}
            }
            #expect(bench.transport.counts.handshakesRefused == 0)
        }
    }

    #if os(Linux)  // elsewhere loopback has one address
    @Test func theSilentOfAllAddressesGiveWay() async throws {
        try await TransportBench.run { bench in
            let silent = try await silent(bench, 8, from: 2...10)
            #expect(try await eventually { bench.transport.counts.handshakesRefused == 8 })
            let member = try await member(bench, id(1))
            #expect(bench.transport.counts.handshakesRefused == 9)
            withExtendedLifetime((silent, member)) {}
        }
    }
    #endif
}

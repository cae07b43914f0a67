import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

@Suite(.timeLimit(.minutes(1))) struct EventFloodTests {
    /// That others held this peer for dead must empty its store: many other events must not displace it.
    @Test func noEventIsLost() async throws {
        try await TransportBench.run { bench in
            let (peer, _) = try await bench.peer(PeerID(high: 0xF0, low: 1))
            let dead = Member(
                MemberRecord(id: TransportBench.id, address: bench.address), status: .dead, cause: .silent,
                since: bench.transport.clock.reading())
            let accusation = OwnedMessage.gossip(.claims(placement: 0, [MemberClaim(dead, withRecord: false)]))
            let newcomers = (10_001...12_000).map { number in
                var record = MemberRecord(
                    id: PeerID(high: UInt64(number), low: UInt64(number)), address: PeerAddress(host: "127.0.0.2", port: 1))
                record.weight = 0
                return Member(record, status: .alive)
            }
            let lists = stride(from: 0, to: newcomers.count, by: 200).flatMap { start in
                SampleFrame.bytes(of: [.gossip(.sync(members: Array(newcomers[start..<start + 200]), wantsReply: false))])
            }
            let box = UncheckedBox(peer)
            #expect(try await RawPeer.blocking { box.value.write(SampleFrame.bytes(of: [accusation]) + lists) })
            let joined = { bench.events.count { if case .joined = $0 { true } else { false } } }
            #expect(try await eventually { joined() == 2001 }, "\(joined())")
            let isTold = bench.events.contains(.selfRefuted)
            #expect(isTold)
        }
    }
}

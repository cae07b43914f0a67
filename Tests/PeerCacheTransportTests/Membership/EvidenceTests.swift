import NIOCore
import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

/// What the membership is told of dials and connections that end (`GOSSIP.md` §7), on real sockets.
@Suite(.timeLimit(.minutes(2))) struct EvidenceTests {
    private let id = PeerID(high: 0xF0, low: 1)

    /// A transport that dials the listener.
    private func dialling(_ listener: RawListener, _ body: (TransportBench) async throws -> Void) async throws {
        let seed = listener.address
        let bench = try await TransportBench {
            $0.discovery = { [seed] }
            $0.gossip.dialLimit = .milliseconds(200)
        }
        do { try await body(bench) } catch {
            listener.stop()
            await bench.stop()
            throw error
        }
        listener.stop()
        await bench.stop()
    }

    private func firstEvidence(_ bench: TransportBench) async throws -> GossipMachine.Evidence? {
        _ = try await eventually { !bench.evidence.isEmpty }
        return bench.evidence.first
    }

    /// The kernel of a stopped process finishes the connection.
    @Test func aDialThatIsAcceptedAndNotAnsweredTimesOut() async throws {
        let listener = try RawListener()
        try await dialling(listener) { bench in
            let evidence = try await firstEvidence(bench)
            #expect(evidence == .timedOut)
        }
    }

    @Test func aDialThatTheKernelDoesNotFinishTimesOut() async throws {
        let listener = try RawListener(backlog: 0)
        let occupant = try RawPeer(port: listener.address.port)
        try await dialling(listener) { bench in
            let evidence = try await firstEvidence(bench)
            #expect(evidence == .timedOut)
        }
        withExtendedLifetime(occupant) {}
    }

    @Test func aDialToAPortWithoutAListenerIsRefused() async throws {
        let listener = try RawListener()
        listener.stop()
        try await dialling(listener) { bench in
            let evidence = try await firstEvidence(bench)
            #expect(evidence == .refused)
        }
    }

    @Test(arguments: [true, false]) func aDialThatIsCutBeforeTheHandshakeIsOverIsRefused(byReset: Bool) async throws {
        let listener = UncheckedBox(try RawListener())
        try await dialling(listener.value) { bench in
            async let serving: Void = RawPeer.blocking {
                guard let peer = listener.value.accept() else { return }
                if byReset { peer.closeByReset() }
            }
            let evidence = try await firstEvidence(bench)
            #expect(evidence == .refused)
            try await serving
        }
    }

    /// The addresses of discovery have the application's port. Its answer may be shorter than that of a peer.
    @Test(arguments: [0, 200]) func aWebServerIsCalledOne(bodyBytes: Int) async throws {
        let listener = UncheckedBox(try RawListener())
        try await dialling(listener.value) { bench in
            async let serving: Void = RawPeer.blocking {
                guard let peer = listener.value.accept() else { return }
                let head = "HTTP/1.1 400 Bad Request\r\ncontent-length: \(bodyBytes)\r\n\r\n"
                _ = peer.write(Array(head.utf8) + [UInt8](repeating: 32, count: bodyBytes))
                _ = peer.readAll()
            }
            let evidence = try await firstEvidence(bench)
            #expect(evidence == .foreign(.http))
            try await serving
        }
    }

    @Test(arguments: [true, false]) func aConnectionThatEndsWithoutAWordIsABreak(byReset: Bool) async throws {
        try await TransportBench.run { bench in
            var peer: RawPeer? = try await bench.peer(id).0
            if byReset { peer?.closeByReset() } else { peer?.closeBothWays() }
            peer = nil
            // A write may meet the reset before a read does. Both count the same.
            #expect(
                try await eventually { bench.evidence.contains(.closedByPeer(nil)) || byReset && bench.evidence.contains(.resetByPeer) },
                "\(bench.evidence)")
        }
    }

    @Test(arguments: [Goodbye.idle, .duplicate, .replaced, .leaving, .protocolError])
    func aGoodbyeIsNoBreak(goodbye: Goodbye) async throws {
        try await TransportBench.run { bench in
            let (peer, _) = try await bench.peer(id)
            #expect(peer.write(SampleFrame.bytes(of: [.goodbye(goodbye)])))
            peer.closeBothWays()
            #expect(try await eventually { bench.evidence.contains(.closedByPeer(goodbye)) }, "\(bench.evidence)")
        }
    }

    /// Both dial: one of the two connections is closed, and nobody is suspected for it.
    @Test func whatWeCloseOurselvesIsNoBreak() async throws {
        let addresses = Recorder<PeerAddress>()
        let configure: (inout TransportConfiguration) -> Void = {
            $0.discovery = { addresses.all }
            $0.gossip.resolveEveryAlone = .milliseconds(50)
            $0.gossip.resolveEveryPartial = .milliseconds(50)
        }
        let benches = [
            try await TransportBench(PeerID(high: 1, low: 1), configure: configure),
            try await TransportBench(PeerID(high: 2, low: 2), configure: configure),
        ]
        for bench in benches { addresses.append(bench.address) }
        #expect(try await eventually { benches.allSatisfy { $0.transport.directory.all().count == 1 } })
        await benches[0].stop()
        #expect(try await eventually { benches[1].events.contains(.left(PeerID(high: 1, low: 1))) })
        for bench in benches {
            let isSuspected = bench.events.contains { if case .suspected = $0 { true } else { false } }
            #expect(!isSuspected)
            #expect(!bench.evidence.contains(.resetByPeer), "\(bench.evidence)")
        }
        await benches[1].stop()
    }
}

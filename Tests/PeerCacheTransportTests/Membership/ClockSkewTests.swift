import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

/// A peer whose clock is wrong, against one whose clock is right.
@Suite(.timeLimit(.minutes(1))) struct ClockSkewTests {
    private static let aheadMilliseconds: UInt64 = 60_000

    /// Only the one that is behind can see it; both must know it, or the other one dials for ever.
    @Test(arguments: [true, false]) func bothSidesSaySoAndLetEachOtherRest(isDialledByTheOneAhead: Bool) async throws {
        let right = ClusterClock(), wrong = ClusterClock(aheadMilliseconds: Self.aheadMilliseconds)
        let listener = try await TransportBench(PeerID(high: 1, low: 1), clock: isDialledByTheOneAhead ? right : wrong)
        let seed = listener.address
        let dialer = try await TransportBench(PeerID(high: 2, low: 2), clock: isDialledByTheOneAhead ? wrong : right) {
            $0.discovery = { [seed] }
        }
        #expect(try await eventually { dialer.events.contains(.clockSkew(seed)) }, "\(dialer.events)")
        #expect(try await eventually { listener.events.contains(.clockSkew(dialer.address)) }, "\(listener.events)")
        let before = listener.transport.counts.connectionsOpened + dialer.transport.counts.connectionsOpened
        try await Task.sleep(for: .milliseconds(700))
        let after = listener.transport.counts.connectionsOpened + dialer.transport.counts.connectionsOpened
        #expect(after - before <= 5, "they go on dialling")
        let warnings = (listener.events + dialer.events).filter { if case .clockSkew = $0 { true } else { false } }
        #expect(warnings.count == 2, "\(warnings)")
        await dialer.stop()
        await listener.stop()
    }

    @Test func noClockValueIsOfLaterThanItsLimit() {
        let clock = ClusterClock(), now = ClusterClock.wallMilliseconds
        #expect(clock.mint(above: 0, until: now - 1) == nil)
        #expect(clock.mint(above: 0, until: now + 60_000) != nil)
        // The hybrid clock may be ahead of the wall clock, and what it has to be above as well.
        #expect(clock.merge((now + 5_000) << 16))
        #expect(clock.mint(above: 0, until: now + 4_000) == nil)
        #expect(clock.mint(above: (now + 8_000) << 16, until: now + 7_000) == nil)
        #expect(clock.reading() >> 16 >= now + 8_000, "who is refused is told that")
        #expect(clock.mint(above: 0, until: now + 60_000) != nil)
    }

    /// The one behind refuses, too; but it would be a member until then, and be given slots.
    @Test func aHelloThatIsTooFarBehindIsRefused() async throws {
        try await TransportBench.run { bench in
            let id = PeerID(high: 0xF0, low: 1), port = bench.port
            let behind = try bench.introduction(of: id, hlc: (ClusterClock.wallMilliseconds - Self.aheadMilliseconds) << 16)
            let goodbyes = try await RawPeer.blocking {
                let peer = try RawPeer(port: port)
                var goodbyes: [Goodbye] = []
                guard peer.write(behind), peer.readAnswer() else { return goodbyes }
                while let messages = peer.read() {
                    for case .goodbye(let goodbye) in messages { goodbyes.append(goodbye) }
                }
                return goodbyes
            }
            #expect(goodbyes == [.clockSkew])
            #expect(!bench.events.contains { if case .joined = $0 { true } else { false } }, "\(bench.events)")
            #expect(try await eventually { bench.events.contains { if case .clockSkew = $0 { true } else { false } } })
        }
    }

    /// Not worth the connection, on which the clocks' difference does no harm; worth a warning.
    @Test func aFrameThatIsTooFarAheadWarnsOnceAndIsHeard() async throws {
        try await TransportBench.run { bench in
            let id = PeerID(high: 0xF0, low: 1), introduction = try bench.introduction(of: id), port = bench.port
            let peer = try await RawPeer.blocking {
                let peer = try RawPeer(port: port)
                _ = peer.write(introduction)
                return UncheckedBox(peer)
            }
            let connection = try await bench.connection(to: id)
            let ahead = (ClusterClock.wallMilliseconds + Self.aheadMilliseconds) << 16
            let frame = SampleFrame.bytes(of: [.request(OwnedRequest(kind: .readClock))], hlc: ahead)
            _ = peer.value.write(frame + frame)
            #expect(try await eventually { bench.events.contains(.clockSkew(connection.record.address)) }, "\(bench.events)")
            #expect(try await eventually { bench.handler.requests == 2 })
            #expect(bench.events.count { if case .clockSkew = $0 { true } else { false } } == 1)
            #expect(bench.transport.clock.reading() < ahead, "it was merged")
        }
    }
}

import PeerCacheCore
import Testing

/// One connection per pair, re-dials, and what is bounded. The bench's own id is 5.
@Suite struct GossipConnectionTests {
    private let peer = GossipBench.record(7)  // above 5: we dial at once

    @Test func aNewcomerIsAnnouncedAndItsTableCompared() throws {
        let bench = try GossipBench()
        _ = bench.accept(GossipBench.record(3))
        _ = bench.advance(by: .milliseconds(20))
        #expect(bench.handle(.discovered([peer.address], failed: false)).dialIDs.last == 2, "1 went back to the address of 3")
        let effects = bench.handle(.connection(2, .established(peer)))
        let digests = effects.filter { if case .send(.digest, peer.id, 2) = $0 { true } else { false } }
        #expect(effects.events == [.joined(peer)] && digests.count == 1)
        let news = effects.claims(3).filter { $0.id == peer.id }
        #expect(news.map(\.record) == [peer], "at once")
        #expect(bench.machine.connection(to: peer.id) == 2)
    }

    @Test(arguments: [3, 7] as [UInt64]) func ofTwoDialsTheLowerIDsSurvives(other: UInt64) throws {
        let bench = try GossipBench()
        let record = GossipBench.record(other)
        let ours = try #require(bench.handle(.discovered([record.address], failed: false)).dialIDs.first)
        let theirs = bench.accept(record)
        let effects = bench.handle(.connection(ours, .established(record)))
        // Whoever dialled closes: if ours is the one to stay, the other side closes its own.
        #expect(effects.contains(.close(ours, .duplicate)) == (other < 5))
        #expect(!effects.contains(.close(theirs, .duplicate)))
    }

    @Test func aBrokenConnectionIsDialledAgainWithinTwentyMilliseconds() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        for id in bench.advance(by: .milliseconds(10)).dialIDs { _ = bench.handle(.connection(id, .timedOut)) }
        _ = bench.handle(.connection(connection, .resetByPeer))
        let broken = bench.now
        let first = try #require(bench.nextDial())
        #expect(first.address == peer.address && first.expecting == peer.id && bench.now - broken <= .milliseconds(21))
    }

    @Test func backoffDoublesUpToFiveSeconds() throws {
        let bench = try GossipBench()
        _ = bench.handle(.discovered([peer.address], failed: false))
        var id: ConnectionID = 1, waits: [Duration] = []
        for _ in 0..<12 {
            _ = bench.handle(.connection(id, .timedOut))
            let failed = bench.now
            id = try #require(bench.nextDial()).id
            waits.append(bench.now - failed)
        }
        #expect(waits[0] >= .milliseconds(20) && waits[0] <= .milliseconds(26))
        #expect(waits[3] >= .milliseconds(160) && waits[3] <= .milliseconds(201))
        #expect(waits[11] >= .seconds(5) && waits[11] <= .milliseconds(6_251))
    }

    @Test func aFreshConnectionTakesOverFromOneThatDoesNotAnswer() throws {
        let bench = try GossipBench()
        let stuck = bench.accept(GossipBench.record(3))  // dialled by the lower id: would win, if it answered
        let effects = bench.advance(by: .milliseconds(1_400))
        let dial = try #require(effects.dialIDs.last)
        #expect(!effects.pings(3).isEmpty)
        #expect(bench.handle(.connection(dial, .established(GossipBench.record(3)))).contains(.close(stuck, .replaced)))
        #expect(bench.machine.connection(to: GossipBench.id(3)) == dial)
    }

    @Test func aGoodbyeIsNoBreak() throws {
        let bench = try GossipBench()
        let duplicate = bench.accept(peer)
        let before = bench.advance(by: .milliseconds(10)).dialIDs
        for id in before { _ = bench.handle(.connection(id, .timedOut)) }
        let effects = bench.handle(.connection(duplicate, .closedByPeer(.duplicate)))
        #expect(effects.traces.isEmpty, "no case")
        let leaving = bench.accept(peer)
        #expect(bench.handle(.connection(leaving, .closedByPeer(.leaving))).events == [.left(peer.id)])
        #expect(bench.advance(by: .seconds(20)).dialled.isEmpty)
    }

    /// It will probably happen again as soon as they are connected.
    @Test func afterABrokenRuleEachDialWaitsLonger() throws {
        var configuration = GossipConfiguration()
        (configuration.period, configuration.freshDialsMax) = (.seconds(60), 0)  // probes dial by themselves
        let bench = try GossipBench(configuration: configuration)
        var connection = bench.accept(peer)
        // The address it advertises is dialled back twice.
        for id in 1...2 as ClosedRange<ConnectionID> { _ = bench.handle(.connection(id, .timedOut)) }
        for pause in [1, 2, 4, 8] {
            let before = bench.now
            #expect(bench.handle(.connection(connection, .closedByPeer(.protocolError))).traces.isEmpty, "no case")
            connection = try #require(bench.nextDial()).id
            #expect(bench.now - before >= .seconds(pause) && bench.now - before < .milliseconds(pause * 1000 + 30))
            _ = bench.handle(.connection(connection, .established(peer)))
        }
    }

    @Test func aLeavingPeerIsNotAccused() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        let leaving = MemberClaim(Member(GossipBench.record(7, incarnation: 2), status: .leaving), withRecord: false)
        let effects = bench.handle(.message(.claims(placement: 0, [leaving]), from: peer.id, on: connection))
        #expect(effects.events == [.leaving(peer.id)])
        #expect(bench.machine.snapshot().placed.map(\.id) == [GossipBench.id(5)])
        #expect(bench.handle(.connection(connection, .resetByPeer)).traces.isEmpty)
        for _ in 0..<5 {
            let dial = try #require(bench.nextDial())
            let refused = bench.handle(.connection(dial.id, .refused))
            #expect(refused.events.isEmpty && refused.traces.isEmpty)
        }
    }

    @Test func whoStoodStillJudgesNobody() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        _ = bench.handle(.connection(connection, .timedOut))
        bench.now = bench.now + .seconds(30)
        let effects = bench.handle(.tick)
        #expect(effects.events.isEmpty && bench.status(7) == .alive)
        #expect(effects.traces.contains { if case .stoodStill = $0 { true } else { false } })
        #expect(bench.advance(by: .milliseconds(999)).events.isEmpty)
    }

    /// A machine in the middle of a suspicion, a case, dials and a relay is suspended with its host: it wakes to one turn.
    @Test(arguments: [Duration.seconds(36_000), .seconds(36_000_000)]) func aLongSuspensionEndsInOneTurn(pause: Duration) throws {
        let bench = try GossipBench()
        let others = (10..<40).map { GossipBench.record($0) }
        let connections = others.map { bench.accept($0) }
        _ = bench.handle(.discovered((50..<80).map(GossipNetwork.address), failed: false))
        _ = bench.handle(.connection(connections[0], .resetByPeer))
        let claim = MemberClaim(Member(others[1], status: .suspect), accuser: 12, withRecord: false)
        _ = bench.handle(.message(.claims(placement: 0, [claim]), from: others[2].id, on: connections[2]))
        _ = bench.handle(.message(.relay(sequence: 1, target: others[4].id, claims: []), from: others[3].id, on: connections[3]))
        _ = bench.advance(by: .milliseconds(350))
        #expect(bench.status(11) == .suspect && !bench.machine.isCalm)

        let passed = pause.nanosecondsSaturating
        bench.now = Instant(nanoseconds: bench.now.nanoseconds + passed, hlc: bench.now.hlc + UInt64(passed / 1_000_000) << 16)
        let effects = bench.handle(.tick)
        #expect(effects.count < 200 && effects.traces.contains { if case .stoodStill = $0 { true } else { false } })
        #expect(effects.events.isEmpty, "it judges nobody")
        #expect(try #require(bench.machine.nextDeadline) > bench.now)
        let turns = (0..<1_000).prefix { _ in
            guard let due = bench.machine.nextDeadline, due < bench.now + .milliseconds(1) else { return false }
            bench.now = due
            return bench.handle(.tick).count < 200
        }
        #expect(turns.count < 10, "nothing is due again and again")
    }

    @Test func dialsInFlightAreBounded() throws {
        var configuration = GossipConfiguration()
        configuration.dialsMax = 4
        let bench = try GossipBench(configuration: configuration)
        let connection = bench.accept(GossipBench.record(1))
        let members = (10..<40).map { Member(GossipBench.record($0), status: .alive) }
        _ = bench.handle(.message(.sync(members: members, wantsReply: false), from: GossipBench.id(1), on: connection))
        #expect(bench.advance(by: .milliseconds(500)).dialled.count <= 4)
        // The shell lost the reports: the places come free again.
        #expect(bench.advance(by: .seconds(8)).dialled.count >= 4)
    }

    /// Whoever waits for a place but was reached meanwhile leaves it to the next.
    @Test(arguments: 0..<6) func aPlaceForADialGoesToWhoeverNeedsIt(needy: Int) throws {
        var configuration = GossipConfiguration()
        configuration.dialsMax = 4
        let bench = try GossipBench(configuration: configuration)
        let connection = bench.accept(GossipBench.record(1))
        for id: ConnectionID in 1...2 { _ = bench.handle(.connection(id, .timedOut)) }  // back to the address of 1
        let members = (10..<20).map { GossipBench.record($0) }
        let table = GossipMessage.sync(members: members.map { Member($0, status: .alive) }, wantsReply: false)
        var effects = bench.handle(.message(table, from: GossipBench.id(1), on: connection))
        effects += bench.advance(by: .milliseconds(150))
        let waiting = members.filter { !effects.dialled.contains($0.address) }
        #expect(effects.dialled.count == 4 && waiting.count == 6)
        for (index, member) in waiting.enumerated() where index != needy { _ = bench.accept(member) }
        let freed = bench.handle(.connection(try #require(effects.dialIDs.last), .timedOut)) + bench.advance(by: .milliseconds(1))
        #expect(freed.dialled == [waiting[needy].address])
    }

    @Test func evidenceOfUnknownConnectionsAndStaleTicksDoNothing() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        for evidence in [GossipMachine.Evidence.refused, .resetByPeer, .closedByPeer(nil), .timedOut, .foreign(.secret)] {
            #expect(bench.handle(.connection(99, evidence)).isEmpty)
        }
        #expect(bench.handle(.tick).isEmpty && bench.handle(.tick).isEmpty)
        #expect(bench.handle(.connection(connection, .established(peer))).isEmpty)
        bench.now = .zero  // slightly older, or much
        #expect(bench.handle(.tick).isEmpty)
    }
}

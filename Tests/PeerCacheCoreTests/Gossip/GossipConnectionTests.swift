import PeerCacheCore
import Testing

/// One connection per pair, re-dials, and what the ends of connections prove. The bench's own id is 5.
@Suite struct GossipConnectionTests {
    private let peer = GossipBench.record(7)  // above 5: we dial at once

    @Test func aNewcomerIsAnnouncedAndAskedForItsTable() throws {
        let bench = try GossipBench()
        let old = bench.accept(GossipBench.record(3))
        let dial = bench.handle(.discovered([peer.address], failed: false)).dialIDs
        #expect(dial == [1])
        let effects = bench.handle(.connection(1, .established(peer)))
        let view = bench.machine.snapshot()
        #expect(
            effects == [
                .event(.joined(peer)), .send(.sync(members: view.members, wantsReply: true), to: peer.id, on: 1),
                .event(.placementChanged(digest: view.digest)),
                .send(.sync(members: [Member(peer, status: .alive)], wantsReply: false), to: GossipBench.id(3), on: old),
            ])
        #expect(bench.machine.connection(to: peer.id) == 1)
    }

    @Test(arguments: [3, 7] as [UInt64]) func ofTwoDialsTheLowerIDsSurvives(other: UInt64) throws {
        let bench = try GossipBench()
        let record = GossipBench.record(other)
        let ours = try #require(bench.handle(.discovered([record.address], failed: false)).dialIDs.first)
        let theirs = bench.accept(record)
        let effects = bench.handle(.connection(ours, .established(record)))
        #expect(effects == [.close(other < 5 ? ours : theirs, .duplicate)])
        #expect(bench.machine.connection(to: record.id) == (other < 5 ? theirs : ours))
    }

    @Test func aCrashTakesTwoRefusalsThatLieApart() throws {
        let bench = try GossipBench()
        let witness = bench.accept(GossipBench.record(3)), connection = bench.accept(peer)
        #expect(bench.handle(.connection(connection, .resetByPeer)).events.isEmpty)
        let broken = bench.now
        let first = try #require(bench.nextDial())
        #expect(first.address == peer.address && first.expecting == peer.id && bench.now - broken <= .milliseconds(21))
        #expect(bench.handle(.connection(first.id, .refused)).events.isEmpty)
        let refused = bench.now
        let second = try #require(bench.nextDial())
        #expect(bench.now - refused >= .milliseconds(100) && bench.now - refused <= .milliseconds(101))
        let effects = bench.handle(.connection(second.id, .refused))
        let verdict = Member(peer, status: .dead, cause: .crashed, since: bench.now.hlc)
        #expect(
            effects == [
                .event(.dead(peer.id, cause: .crashed)), .event(.placementChanged(digest: bench.machine.snapshot().digest)),
                .send(.sync(members: [verdict], wantsReply: false), to: GossipBench.id(3), on: witness),
            ])
    }

    @Test func aHandshakeBetweenTwoRefusalsAcquits() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        _ = bench.handle(.connection(connection, .closedByPeer(nil)))
        let first = try #require(bench.nextDial())
        _ = bench.handle(.connection(first.id, .refused))
        let again = bench.accept(peer)
        _ = bench.handle(.connection(again, .resetByPeer))
        let dials = bench.advance(by: .milliseconds(130)).dialIDs
        #expect(dials == [first.id + 1])
        // The first refusal of a new row, although 130 ms lie between the two.
        let effects = bench.handle(.connection(first.id + 1, .refused))
        #expect(effects.events.isEmpty)
        #expect(bench.status(7) == .alive)
    }

    @Test func timeoutsAreSilenceAndTakeTenSeconds() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        _ = bench.handle(.connection(connection, .timedOut))
        var events: [MembershipEvent] = []
        let start = bench.now
        while events.isEmpty, bench.now - start < .seconds(30) {
            let effects = bench.advance(by: .milliseconds(10))
            events += effects.events
            for id in effects.dialIDs { events += bench.handle(.connection(id, .timedOut)).events }
        }
        #expect(events == [.dead(peer.id, cause: .silent)])
        #expect(bench.now - start >= .seconds(10) && bench.now - start <= .seconds(12))
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

    @Test func aQuietConnectionIsDoubtedAndGivesWayToAFreshOne() throws {
        let bench = try GossipBench()
        let stuck = bench.accept(GossipBench.record(3))  // dialled by the lower id: would win, if it brought anything
        let dial = try #require(bench.nextDial())
        #expect(bench.now.nanoseconds >= 3_000_000_000 && dial.expecting == GossipBench.id(3))
        #expect(bench.handle(.connection(dial.id, .established(GossipBench.record(3)))).contains(.close(stuck, .replaced)))
        #expect(bench.machine.connection(to: GossipBench.id(3)) == dial.id)
    }

    @Test func aGoodbyeIsNoBreak() throws {
        let bench = try GossipBench()
        let duplicate = bench.accept(peer)
        _ = bench.handle(.connection(duplicate, .closedByPeer(.duplicate)))
        #expect(bench.advance(by: .milliseconds(900)).dialled.isEmpty)
        #expect(bench.advance(by: .milliseconds(200)).dialled == [peer.address])
        let leaving = bench.accept(peer)
        let effects = bench.handle(.connection(leaving, .closedByPeer(.leaving)))
        #expect(effects.events == [.left(peer.id)])
        #expect(bench.advance(by: .seconds(20)).dialled.isEmpty)
    }

    @Test func aLeavingPeerIsNotJudgedByRefusals() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        var leaving = Member(GossipBench.record(7, incarnation: 2), status: .leaving)
        let effects = bench.handle(.message(.sync(members: [leaving], wantsReply: false), from: peer.id, on: connection))
        #expect(effects.events == [.leaving(peer.id)])
        #expect(bench.machine.snapshot().placed.map(\.id) == [GossipBench.id(5)])
        _ = bench.handle(.connection(connection, .resetByPeer))
        for _ in 0..<5 {
            let dial = try #require(bench.nextDial())
            #expect(bench.handle(.connection(dial.id, .refused)).events.isEmpty)
        }
        // Its `left` comes round through others.
        leaving = Member(leaving.record, status: .left, since: bench.now.hlc)
        let other = bench.accept(GossipBench.record(3))
        let last = bench.handle(.message(.sync(members: [leaving], wantsReply: false), from: GossipBench.id(3), on: other))
        #expect(last.events == [.left(peer.id)])
    }

    @Test func whoStoodStillJudgesNobody() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        _ = bench.handle(.connection(connection, .timedOut))
        let dial = try #require(bench.nextDial())
        _ = bench.handle(.connection(dial.id, .timedOut))
        bench.now = bench.now + .seconds(30)
        let effects = bench.handle(.tick)
        #expect(effects.events.isEmpty && bench.status(7) == .alive)
        #expect(effects.traces.contains { if case .stoodStill = $0 { true } else { false } })
    }

    @Test func dialsInFlightAreBounded() throws {
        var configuration = GossipConfiguration()
        configuration.dialsMax = 4
        let bench = try GossipBench(configuration: configuration)
        let connection = bench.accept(GossipBench.record(1))
        let members = (10..<40).map { Member(GossipBench.record($0), status: .alive) }
        _ = bench.handle(.message(.sync(members: members, wantsReply: false), from: GossipBench.id(1), on: connection))
        #expect(bench.advance(by: .milliseconds(500)).dialled.count == 4)
        // The shell lost the reports: the places come free again.
        #expect(bench.advance(by: .seconds(8)).dialled.count >= 4)
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

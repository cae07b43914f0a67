import PeerCacheCore
import Testing

/// Crash evidence (`GOSSIP.md` §7). The bench's own id is 5; 7 is the one that breaks.
@Suite struct GossipCaseTests {
    private let peer = GossipBench.record(7)

    private func bench(_ others: [UInt64]) throws -> (GossipBench, [UInt64: ConnectionID]) {
        let bench = try GossipBench()
        var connections: [UInt64: ConnectionID] = [:]
        for number in others { connections[number] = bench.accept(GossipBench.record(number)) }
        for id in bench.advance(by: .seconds(1), answering: others).dialIDs { _ = bench.handle(.connection(id, .timedOut)) }
        _ = bench.advance(by: .seconds(20), answering: others)
        return (bench, connections)
    }

    /// Runs with every dial refused; the other members answer.
    private func refuse(_ bench: GossipBench, answering others: [UInt64], for duration: Duration) -> [GossipMachine.Effect] {
        var effects: [GossipMachine.Effect] = []
        for _ in 0..<Int(duration.nanosecondsSaturating / 10_000_000) {
            var fresh = bench.advance(by: .milliseconds(10), answering: others)
            for id in fresh.dialIDs { fresh += bench.handle(.connection(id, .refused)) }
            effects += fresh
        }
        return effects
    }

    /// The connection breaks, and whom the observer checks itself with answers.
    private func breakConnection(_ bench: GossipBench, _ connections: [UInt64: ConnectionID], answering others: [UInt64])
        -> [GossipMachine.Effect]
    {
        bench.answer(bench.handle(.connection(connections[7] ?? 0, .resetByPeer)), of: others)
    }

    private func vote(_ bench: GossipBench, _ from: UInt64, _ connections: [UInt64: ConnectionID], _ step: Accusation.Step = .vote)
        -> [GossipMachine.Effect]
    {
        let message = GossipMessage.accusation(Accusation(step, peer.id, incarnation: 1))
        return bench.handle(.message(message, from: GossipBench.id(from), on: connections[from] ?? 0))
    }

    @Test func twoWatchersThatAreRefusedForHalfASecondProveACrash() throws {
        let (bench, connections) = try bench([3, 7, 8])
        let broken = breakConnection(bench, connections, answering: [3, 8])
        #expect(broken.traces == [.caseOpened(peer.id)] && broken.events.isEmpty, "a break is no vote")
        let first = refuse(bench, answering: [3, 8], for: .milliseconds(450))
        #expect(first.events == [.suspected(peer.id)])
        #expect(first.accusations.contains(Accusation(.accuse, peer.id, incarnation: 1)))
        #expect(!first.accusations.contains(Accusation(.vote, peer.id, incarnation: 1)), "not before 500 ms")
        let second = refuse(bench, answering: [3, 8], for: .milliseconds(200))
        #expect(second.accusations.contains(Accusation(.vote, peer.id, incarnation: 1)) && second.events.isEmpty, "one vote is no verdict")
        #expect(vote(bench, 3, connections).events == [.dead(peer.id, cause: .crashed)])
    }

    @Test func ofThreeBothOthersMustAgree() throws {
        let (bench, connections) = try bench([3, 7])
        _ = breakConnection(bench, connections, answering: [3])
        #expect(refuse(bench, answering: [3], for: .milliseconds(900)).events == [.suspected(peer.id)])
        #expect(vote(bench, 3, connections).events == [.dead(peer.id, cause: .crashed)])
    }

    @Test func ofTwoTheOtherDecidesAfterASecond() throws {
        let (bench, connections) = try bench([7])
        _ = breakConnection(bench, connections, answering: [])
        #expect(refuse(bench, answering: [], for: .milliseconds(950)).events == [.suspected(peer.id), .isolated])
        #expect(refuse(bench, answering: [], for: .milliseconds(200)).events == [.dead(peer.id, cause: .crashed)])
    }

    /// Whose own path broke hears nobody.
    @Test func whoHearsNobodyCannotVote() throws {
        let (bench, connections) = try bench([3, 7, 8])
        _ = breakConnection(bench, connections, answering: [])
        let effects = refuse(bench, answering: [], for: .milliseconds(900))
        #expect(!effects.accusations.contains(Accusation(.vote, peer.id, incarnation: 1)))
        #expect(vote(bench, 3, connections).events.isEmpty)
    }

    @Test func anAnswerClosesTheCaseAndIsAnObjection() throws {
        let (bench, connections) = try bench([3, 7, 8])
        _ = breakConnection(bench, connections, answering: [3, 8])
        _ = refuse(bench, answering: [3, 8], for: .milliseconds(300))
        // The kernel may have finished it for a dead process: it is asked on the new connection.
        let connected = bench.handle(.connection(GossipMachine.inbound(50), .established(peer)))
        #expect(!connected.traces.contains(.caseClosed(peer.id)) && connected.accusations.isEmpty)
        let answered = bench.answer(connected, of: [7])
        #expect(answered.traces.contains(.caseClosed(peer.id)))
        #expect(answered.accusations.contains(Accusation(.objection, peer.id, incarnation: 1)))
        // For 30 s there is no case about it.
        #expect(bench.handle(.connection(GossipMachine.inbound(50), .resetByPeer)).traces.isEmpty)
        _ = vote(bench, 3, connections)
        _ = vote(bench, 8, connections)
        #expect(refuse(bench, answering: [3, 8], for: .milliseconds(1_500)).events.isEmpty)
    }

    @Test func anObjectionVoidsTheVotes() throws {
        let (bench, connections) = try bench([3, 7, 8])
        _ = breakConnection(bench, connections, answering: [3, 8])
        _ = refuse(bench, answering: [3, 8], for: .milliseconds(700))
        #expect(vote(bench, 8, connections, .objection).traces == [.caseClosed(peer.id)])
        #expect(vote(bench, 3, connections).events.isEmpty && bench.status(7) == .suspect)
    }

    @Test func aHigherIncarnationVoidsTheCase() throws {
        let (bench, connections) = try bench([3, 7, 8])
        _ = breakConnection(bench, connections, answering: [3, 8])
        _ = refuse(bench, answering: [3, 8], for: .milliseconds(700))
        let back = MemberClaim(Member(GossipBench.record(7, incarnation: 2), status: .alive), withRecord: false)
        let effects = bench.handle(.message(.claims(placement: 0, [back]), from: GossipBench.id(3), on: try #require(connections[3])))
        #expect(effects.events == [.refuted(peer.id)])
        #expect(vote(bench, 3, connections).events.isEmpty, "the vote is for incarnation 1")
    }

    @Test func timeoutsAreSilenceAndNoRejection() throws {
        let (bench, connections) = try bench([3, 7, 8])
        _ = breakConnection(bench, connections, answering: [3, 8])
        var events: [MembershipEvent] = []
        for _ in 0..<90 {
            let fresh = bench.advance(by: .milliseconds(10), answering: [3, 8])
            events += fresh.events
            for id in fresh.dialIDs { events += bench.handle(.connection(id, .timedOut)).events }
        }
        #expect(events.isEmpty || events == [.suspected(peer.id)])
        #expect(vote(bench, 3, connections).events.isEmpty)
    }

    @Test func anAccusedPeerThatIsConnectedHereIsAskedAndDefended() throws {
        let (bench, connections) = try bench([3, 7, 8])
        let accused = vote(bench, 3, connections, .accuse)
        let question = try #require(accused.pings(7).first)
        let ack = GossipMessage.ack(sequence: question.sequence, placement: 0, claims: [])
        let answered = bench.handle(.message(ack, from: peer.id, on: try #require(connections[7])))
        #expect(answered.accusations.contains(Accusation(.objection, peer.id, incarnation: 1)))
    }
}

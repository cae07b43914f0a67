import PeerCacheCore
import Testing

/// What a peer does for an observer, and what an observer does. The bench's own id is 5; 3 is a peer, 20 an observer.
@Suite struct GossipObserverTests {
    private let peer = GossipBench.record(3)
    private let observer = GossipBench.id(20)
    private let connection = GossipMachine.inbound(99)

    private static var observing: GossipConfiguration {
        var configuration = GossipConfiguration()
        configuration.isObserver = true
        configuration.usesCrashEvidence = false
        return configuration
    }

    private func digest(_ machine: GossipMachine, cutoff: UInt64) -> GossipMessage {
        .digest(TableDigest(low: machine.snapshot().digest, high: 0, cutoff: cutoff))
    }

    @Test func aPeerListsItsTableAndRemembersNothing() throws {
        let bench = try GossipBench()
        _ = bench.accept(peer)
        let before = bench.machine.snapshot()
        let question = GossipMessage.digest(TableDigest(low: 1, high: 2, cutoff: 0))
        let effects = bench.handle(.observer(observer, question, on: connection))
        guard case .send(.summary(let summary), observer, connection)? = effects.first else {
            Issue.record("\(effects)")
            return
        }
        #expect(summary.entries.map(\.id) == [peer.id, GossipBench.id(5)] && summary.isComplete)
        let fetched = bench.handle(.observer(observer, .fetch([peer.id, observer]), on: connection))
        #expect(fetched == [.send(.sync(members: [Member(peer, status: .alive)], wantsReply: false), to: observer, on: connection)])
        #expect(bench.machine.snapshot().members == before.members && bench.machine.connection(to: observer) == nil)
        #expect(!bench.advance(by: .seconds(5), answering: [3]).contains { if case .send(_, observer, _) = $0 { true } else { false } })
    }

    @Test func whatElseAnObserverSaysIsNotHeard() throws {
        let bench = try GossipBench()
        _ = bench.accept(peer)
        let dead = Member(peer, status: .dead, cause: .crashed, since: bench.now.hlc)
        let messages: [GossipMessage] = [
            .claims(placement: 0, [MemberClaim(dead, withRecord: true)]), .sync(members: [dead], wantsReply: true),
            .accusation(Accusation(.vote, peer.id, incarnation: 1)), .ping(sequence: 1, placement: 0, claims: []),
        ]
        for message in messages {
            #expect(!GossipMachine.isObserversQuestion(message))
            #expect(bench.handle(.observer(observer, message, on: connection)).isEmpty)
        }
        #expect(bench.status(3) == .alive)
    }

    /// An observer is in no table, its own included; it asks once a second and says nothing else.
    @Test func anObserverOnlyAsks() throws {
        let bench = try GossipBench(configuration: Self.observing)
        let dial = try #require(bench.handle(.discovered([peer.address], failed: false)).dialIDs.first)
        let met = bench.handle(.connection(dial, .established(peer)))
        #expect(met.events == [.joined(peer)])
        #expect(bench.machine.snapshot().members == [Member(peer, status: .alive)])
        var effects = met
        let others = (6...9).map { Member(GossipBench.record($0), status: .alive) }
        effects += bench.handle(.message(.sync(members: others, wantsReply: false), from: peer.id, on: dial))
        let suspected = Member(GossipBench.record(6), status: .suspect)
        effects += bench.handle(.message(.sync(members: [suspected], wantsReply: false), from: peer.id, on: dial))
        effects += bench.advance(by: .seconds(10))
        let dead = Member(GossipBench.record(7), status: .dead, cause: .crashed, since: bench.now.hlc)
        let told = bench.handle(.message(.sync(members: [dead], wantsReply: false), from: peer.id, on: dial))
        #expect(told.events == [.dead(GossipBench.id(7), cause: .crashed)], "no verification: it has no vote")
        effects += told + bench.advance(by: .seconds(10)) + bench.handle(.command(.leave)) + bench.handle(.command(.stopped))
        let sent = effects.compactMap { if case .send(let message, _, _) = $0 { message } else { nil } }
        #expect(sent.allSatisfy(GossipMachine.isObserversQuestion))
        #expect(sent.count >= 20, "a question per second")
        #expect(!effects.events.contains { if case .suspected = $0 { true } else { false } })
    }

    @Test func anObserverKeepsTwoConnectionsAndDialsOnDemand() throws {
        let bench = try GossipBench(configuration: Self.observing)
        let dial = try #require(bench.handle(.discovered([peer.address], failed: false)).dialIDs.first)
        _ = bench.handle(.connection(dial, .established(peer)))
        let others = (6...9).map { Member(GossipBench.record($0), status: .alive) }
        _ = bench.handle(.message(.sync(members: others, wantsReply: false), from: peer.id, on: dial))
        let second = try #require(bench.nextDial())
        let chosen = try #require(others.first { $0.record.address == second.address })
        _ = bench.handle(.connection(second.id, .established(chosen.record)))
        #expect(bench.advance(by: .seconds(5)).dialled.isEmpty, "two are enough")
        let wanted = try #require(others.last { $0.record.id != chosen.record.id }).record
        #expect((bench.handle(.command(.connect(to: wanted.id))) + bench.advance(by: .milliseconds(1))).dialled == [wanted.address])
        // Both die at once: it finds others.
        _ = bench.handle(.connection(dial, .resetByPeer))
        _ = bench.handle(.connection(second.id, .resetByPeer))
        #expect(bench.advance(by: .seconds(2)).dialled.count >= 2)
    }

    /// The peer has forgotten verdicts that the observer still knows, or knows some that it does not.
    @Test(arguments: [UInt64(10), 20]) func anObserverTakesOverTheCutoff(cutoff: UInt64) throws {
        let bench = try GossipBench(configuration: Self.observing)
        let dial = try #require(bench.handle(.discovered([peer.address], failed: false)).dialIDs.first)
        _ = bench.handle(.connection(dial, .established(peer)))
        let dead = Member(GossipBench.record(7), status: .dead, cause: .crashed, since: 15)
        _ = bench.handle(.message(.sync(members: [dead], wantsReply: false), from: peer.id, on: dial))
        let theirs = GossipMessage.digest(TableDigest(low: 1, high: 2, cutoff: cutoff))
        let asked = bench.handle(.message(theirs, from: peer.id, on: dial))
        #expect(bench.status(7) == (cutoff > 15 ? nil : .dead))
        guard case .send(.digest(let mine), peer.id, _)? = asked.first(where: { if case .send = $0 { true } else { false } }) else {
            Issue.record("\(asked)")
            return
        }
        #expect(mine.cutoff == cutoff)
    }
}

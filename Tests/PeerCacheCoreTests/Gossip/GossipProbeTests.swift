import PeerCacheCore
import Testing

/// Probes, suspicions and the verdict of silence (`GOSSIP.md` §6). The bench's own id is 5.
@Suite struct GossipProbeTests {
    private let peer = GossipBench.record(7)

    /// A bench with connected members, whose dials back and first news are over.
    private func bench(_ others: [UInt64], _ configuration: GossipConfiguration = GossipConfiguration()) throws
        -> (GossipBench, [UInt64: ConnectionID])
    {
        let bench = try GossipBench(configuration: configuration)
        var connections: [UInt64: ConnectionID] = [:]
        for number in others { connections[number] = bench.accept(GossipBench.record(number)) }
        for id in bench.advance(by: .seconds(1), answering: others).dialIDs { _ = bench.handle(.connection(id, .timedOut)) }
        _ = bench.advance(by: .seconds(20), answering: others)
        return (bench, connections)
    }

    @Test func aProbePingsThreeTimesThenAsksOthersAndDials() throws {
        let (bench, _) = try bench([3, 7, 8, 9])
        var target: UInt64?, seen: [Duration] = [], relayed: [(Duration, UInt64)] = [], dials: [Duration] = [], start = bench.now
        for _ in 0..<400 where target == nil || bench.now - start < .milliseconds(980) {
            let effects = bench.advance(by: .milliseconds(5))
            for number in [3, 7, 8, 9] as [UInt64] where !effects.pings(number).isEmpty {
                if target == nil { (target, start) = (number, bench.now) }
                if target == number { seen.append(bench.now - start) }
            }
            if target != nil { dials += effects.dialIDs.map { _ in bench.now - start } }
            relayed += effects.relays.map { (bench.now - start, $0.to == GossipBench.id(target ?? 0) ? 0 : 1) }
        }
        let near = { (times: [Duration], expected: [Int64]) in
            times.count == expected.count && zip(times, expected).allSatisfy { $0 >= .milliseconds($1 - 6) && $0 <= .milliseconds($1 + 6) }
        }
        #expect(near(seen, [0, 100, 200]), "\(seen)")
        #expect(relayed.count == 3 && relayed.allSatisfy { $0.1 == 1 } && near(relayed.map(\.0), [300, 300, 300]), "\(relayed)")
        #expect(near(dials, [300, 400, 500, 600, 700, 800, 900]), "\(dials)")
    }

    @Test func whoAnswersIsNotSuspected() throws {
        let (bench, _) = try bench([3, 7])
        #expect(bench.advance(by: .seconds(30), answering: [3, 7]).events.isEmpty)
    }

    /// With two others the suspicion starts at its minimum of three periods; then four challenges in 300 ms, and the wait of 400 ms.
    @Test func theSilentAreSuspectedChallengedAndThenDead() throws {
        let (bench, _) = try bench([3, 7])
        var suspectedAt: Instant?, deadAt: Instant?, challenges = 0
        for _ in 0..<1_200 where deadAt == nil {
            let effects = bench.advance(by: .milliseconds(10), answering: [3])
            for id in effects.dialIDs { _ = bench.handle(.connection(id, .timedOut)) }
            if effects.events.contains(.suspected(peer.id)) { suspectedAt = bench.now }
            if effects.events.contains(.dead(peer.id, cause: .silent)) { deadAt = bench.now }
            challenges += effects.pings(7).count { $0.claims.contains { $0.id == peer.id && $0.status == .suspect } }
        }
        let took = try #require(deadAt) - (try #require(suspectedAt))
        #expect(took >= .milliseconds(3_380) && took <= .milliseconds(3_900), "\(took)")
        #expect(challenges == 12, "8 pushes and 4 before the verdict")
    }

    @Test func aSuspectThatAnswersAtTheEndLives() throws {
        let (bench, connections) = try bench([3, 7])
        var events: [MembershipEvent] = [], answered = 0
        for _ in 0..<1_000 {
            let effects = bench.advance(by: .milliseconds(10), answering: [3])
            events += effects.events
            for id in effects.dialIDs { _ = bench.handle(.connection(id, .timedOut)) }
            // The ninth challenge is the first before the verdict.
            for challenge in effects.pings(7) where challenge.claims.contains(where: { $0.status == .suspect }) {
                answered += 1
                if answered < 9 { continue }
                let refuted = MemberClaim(Member(GossipBench.record(7, incarnation: 2), status: .alive), withRecord: false)
                let ack = GossipMessage.ack(sequence: challenge.sequence, placement: 0, claims: [refuted])
                events += bench.handle(.message(ack, from: peer.id, on: try #require(connections[7]))).events
            }
            if answered >= 9 { break }
        }
        events += bench.advance(by: .milliseconds(900), answering: [3, 7]).events
        #expect(events == [.suspected(peer.id), .refuted(peer.id)])
    }

    @Test func confirmationsShortenASuspicion() throws {
        let others: [UInt64] = [3, 7, 8, 9, 10, 11]
        func time(confirmedBy accusers: [UInt32]) throws -> Duration {
            let (bench, connections) = try bench(others)
            let connection = try #require(connections[3])
            let start = bench.now
            for accuser in accusers {
                let claim = MemberClaim(Member(peer, status: .suspect), accuser: accuser, withRecord: false)
                _ = bench.handle(.message(.claims(placement: 0, [claim]), from: GossipBench.id(3), on: connection))
            }
            for _ in 0..<4_000 {
                let effects = bench.advance(by: .milliseconds(10), answering: others.filter { $0 != 7 })
                for id in effects.dialIDs { _ = bench.handle(.connection(id, .timedOut)) }
                if effects.events.contains(.dead(peer.id, cause: .silent)) { return bench.now - start }
            }
            return .seconds(100)
        }
        let alone = try time(confirmedBy: [8]), twice = try time(confirmedBy: [8, 9]), full = try time(confirmedBy: [8, 9, 10, 11])
        let repeated = try time(confirmedBy: [8, 8, 8])
        #expect(full >= .milliseconds(3_380) && full <= .milliseconds(3_500), "\(full)")
        // Our own probe confirms it too, sooner or later.
        #expect(twice >= full && twice < alone, "\(full) \(twice) \(alone)")
        #expect(repeated == alone, "one accuser confirms nothing")
    }

    @Test func aRelayPassesAnswersOnAndSaysNoInTime() throws {
        let (bench, connections) = try bench([3, 7])
        let asker = try #require(connections[3])
        let asked = bench.handle(.message(.relay(sequence: 77, target: peer.id, claims: []), from: GossipBench.id(3), on: asker))
        let ping = try #require(asked.pings(7).last)
        let ack = GossipMessage.ack(sequence: ping.sequence, placement: 0, claims: [])
        #expect(bench.handle(.message(ack, from: peer.id, on: try #require(connections[7]))).acks(3).map(\.sequence) == [77])
        _ = bench.handle(.message(.relay(sequence: 78, target: peer.id, claims: []), from: GossipBench.id(3), on: asker))
        let later = bench.advance(by: .milliseconds(501))
        #expect(later.sent(to: 3).contains { if case .nack(78, _) = $0 { true } else { false } })
        let unknown = GossipMessage.relay(sequence: 79, target: GossipBench.id(99), claims: [])
        let refused = bench.handle(.message(unknown, from: GossipBench.id(3), on: asker))
        #expect(refused.sent(to: 3).contains { if case .nack(79, _) = $0 { true } else { false } })
    }

    /// After many restarts most of the table is history; relays are found among those who are there.
    @Test func relaysAreFoundBesideManyDeparted() throws {
        let (bench, connections) = try bench([3, 7])
        let dead = (100..<400).map { (number: UInt64) in
            MemberClaim(Member(GossipBench.record(number), status: .dead, cause: .crashed, since: bench.now.hlc), withRecord: true)
        }
        let news = GossipMessage.claims(placement: 0, dead)
        _ = bench.handle(.message(news, from: GossipBench.id(3), on: try #require(connections[3])))
        #expect(bench.machine.snapshot().members.count == 303)
        var failed = 0, relayed = 0
        for _ in 0..<300 {
            let effects = bench.advance(by: .milliseconds(10), answering: [3])
            relayed += effects.relays.count
            failed += effects.traces.count { $0 == .probeFailed(peer.id) }
        }
        #expect(failed > 0 && relayed >= failed, "\(relayed) of \(failed)")
    }

    /// Others do not even say no: the waits of the next probe are longer, and so are its successors' until somebody answers.
    @Test func missingNacksAreOurOwnIllness() throws {
        let (bench, _) = try bench([3, 7, 8, 9])
        var starts: [Instant] = [], last: PeerID?
        for _ in 0..<1_500 {
            for effect in bench.advance(by: .milliseconds(10)) {
                guard case .send(.ping(_, _, let claims), let to, _) = effect, claims.allSatisfy({ $0.status == .alive }), to != last else {
                    continue
                }
                last = to
                starts.append(bench.now)
            }
        }
        #expect(starts.count <= 6, "a period of up to eight seconds instead of one: \(starts.count)")
    }

    /// A peer whose frames we refuse loses each connection at once; an unbounded number of turns for it would leave none for others.
    @Test func whoTimesOutOverAndOverLeavesOthersTheirTurn() throws {
        let (bench, _) = try bench([3, 7, 8])
        var probed: [PeerID: Int] = [:]
        for _ in 0..<600 {
            for number: UInt64 in [7, 8] {
                _ = bench.handle(.connection(bench.accept(GossipBench.record(number)), .timedOut))
            }
            for _ in 0..<10 {
                let effects = bench.advance(by: .milliseconds(10))
                for number: UInt64 in [3, 7, 8] { probed[GossipBench.id(number), default: 0] += effects.pings(number).count }
                _ = bench.answer(effects, of: [3, 7, 8])
            }
        }
        let others = try #require(probed[GossipBench.id(3)])
        #expect(others >= 5, "of 60 periods: \(probed)")
    }

    /// log2 in units of 2^-16.
    @Test func logarithmsAreThoseOfTheRules() {
        for (number, expected) in [(0, 0), (1, 0), (2, 65_536), (3, 103_872), (10, 217_705), (1_000, 653_116), (.max, 63 << 16)] {
            #expect(abs(IntegerLogarithm.base2(number) - expected) <= 2, "\(number)")
        }
        #expect(abs(IntegerLogarithm.base10(1_000) - 3 << 16) <= 20)
        #expect([1, 2, 3, 10, 11, 129, 1_001].map(IntegerLogarithm.base10RoundedUp) == [0, 1, 1, 1, 2, 3, 4])
        #expect([1, 2, 33, 64, 65].map(IntegerLogarithm.base2RoundedUp) == [0, 1, 6, 6, 7])
    }
}

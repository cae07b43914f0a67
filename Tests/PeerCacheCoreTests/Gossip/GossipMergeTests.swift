import PeerCacheCore
import PeerCacheTesting
import Testing

/// What wins, who refutes, what is forgotten, and that no message can do harm. The bench's own id is 5; 3 tells, 7 is told about.
@Suite struct GossipMergeTests {
    private let teller = GossipBench.id(3)

    private func heard(_ bench: GossipBench, _ members: [Member], on connection: ConnectionID) -> [GossipMachine.Effect] {
        let claims = members.map { MemberClaim($0, withRecord: true) }
        return bench.handle(.message(.claims(placement: bench.machine.snapshot().digest, claims), from: teller, on: connection))
    }
    private func member(_ number: UInt64, _ incarnation: UInt32, _ status: MemberStatus, _ cause: DeathCause? = nil, at bench: GossipBench)
        -> Member
    {
        Member(
            GossipBench.record(number, incarnation: incarnation), status: status, cause: cause ?? (status == .dead ? .crashed : nil),
            since: status.isPresent ? 0 : bench.now.hlc)
    }

    @Test func precedence() throws {
        // What is known, what is heard, what holds: (status, incarnation).
        let cases: [(MemberStatus, UInt32, MemberStatus, UInt32, MemberStatus, UInt32)] = [
            (.alive, 2, .dead, 2, .dead, 2), (.alive, 2, .dead, 1, .alive, 2), (.alive, 2, .suspect, 2, .suspect, 2),
            (.suspect, 2, .alive, 2, .suspect, 2), (.suspect, 2, .alive, 3, .alive, 3), (.dead, 2, .alive, 2, .dead, 2),
            (.dead, 2, .alive, 3, .alive, 3), (.dead, 2, .suspect, 2, .dead, 2), (.leaving, 3, .alive, 2, .leaving, 3),
            (.leaving, 3, .suspect, 3, .leaving, 3), (.leaving, 3, .dead, 3, .dead, 3), (.left, 2, .alive, 9, .left, 9),
            (.alive, 9, .left, 2, .left, 9), (.dead, 9, .left, 2, .left, 9), (.left, 2, .dead, 2, .left, 2),
        ]
        for (known, one, heard, two, result, incarnation) in cases {
            let bench = try GossipBench()
            let connection = bench.accept(GossipBench.record(3))
            _ = self.heard(bench, [member(7, one, known, at: bench)], on: connection)
            _ = self.heard(bench, [member(7, two, heard, at: bench)], on: connection)
            let held = try #require(bench.machine.snapshot().member(GossipBench.id(7)))
            #expect(held.status == result && held.record.incarnation == incarnation, "\(known) \(one), \(heard) \(two)")
        }
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func theOrderOfNewsDoesNotMatter(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let statuses: [MemberStatus] = [.alive, .suspect, .leaving, .left, .dead]
        let one = try GossipBench(), other = try GossipBench()
        let first = one.accept(GossipBench.record(3)), second = other.accept(GossipBench.record(3))
        var news: [Member] = []
        for _ in 0..<200 {
            let status = statuses[Int(random.next() % 5)]
            var entry = member(
                10 + random.next() % 12, UInt32(1 + random.next() % 4), status, .init(rawValue: UInt8(random.next() % 3)), at: one)
            if !status.isPresent { entry.since -= random.next() % 1000 }
            news.append(entry)
        }
        for entry in news { _ = heard(one, [entry], on: first) }
        for entry in news.shuffled(using: &random) + news { _ = heard(other, [entry], on: second) }
        let views = (one.machine.snapshot(), other.machine.snapshot())
        #expect(views.0.members == views.1.members && views.0.digest == views.1.digest, "seed \(seed)")
        #expect(views.0.members.map(\.record.id) == views.0.members.map(\.record.id).sorted())
    }

    @Test func theDeadReturnOnlyByTheirOwnIncarnation() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        #expect(heard(bench, [member(7, 1, .alive, at: bench)], on: connection).events == [.joined(GossipBench.record(7))])
        #expect(heard(bench, [member(7, 1, .dead, at: bench)], on: connection).events == [.dead(GossipBench.id(7), cause: .crashed)])
        let digest = bench.machine.snapshot().digest
        #expect(heard(bench, [member(7, 1, .alive, at: bench)], on: connection).events.isEmpty)
        let back = GossipBench.record(7, incarnation: 2)
        #expect(heard(bench, [Member(back, status: .alive)], on: connection).events == [.returned(back)])
        #expect(bench.machine.snapshot().digest != digest)
    }

    @Test func aVerdictAboutWhoTalksToUsIsChallenged() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3)), accused = bench.accept(GossipBench.record(7))
        let verdict = member(7, 1, .dead, at: bench)
        let effects = heard(bench, [verdict], on: connection)
        #expect(effects.traces == [.verdictChallenged(GossipBench.id(7), by: teller)] && effects.events.isEmpty)
        let challenge = try #require(effects.pings(7).first)
        #expect(challenge.claims.map(\.status) == [.dead] && challenge.connection == accused)
        #expect(effects.dialled == [GossipNetwork.address(7)], "and over a fresh connection")
        #expect(bench.status(7) == .alive)
        // It does not answer for 400 ms: the verdict holds.
        #expect(bench.advance(by: .milliseconds(399)).events.isEmpty)
        #expect(bench.advance(by: .milliseconds(2)).events == [.dead(GossipBench.id(7), cause: .crashed)])
    }

    @Test func anAnswerToTheChallengeStopsTheVerdict() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3)), accused = bench.accept(GossipBench.record(7))
        let challenge = try #require(heard(bench, [member(7, 1, .dead, at: bench)], on: connection).pings(7).first)
        let ack = GossipMessage.ack(sequence: challenge.sequence, placement: 0, claims: [])
        _ = bench.handle(.message(ack, from: GossipBench.id(7), on: accused))
        #expect(bench.advance(by: .milliseconds(900)).events.isEmpty && bench.status(7) == .alive)
    }

    @Test func aVerdictAboutWhoWasSilentHolds() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        _ = bench.accept(GossipBench.record(7))
        _ = bench.advance(by: .milliseconds(1_001))
        #expect(heard(bench, [member(7, 1, .dead, at: bench)], on: connection).events.last == .dead(GossipBench.id(7), cause: .crashed))
    }

    /// Whoever compares digests sends no whole table, however often somebody asks for one.
    @Test(arguments: [GossipProfile.p, .f, .m]) func onlyProfileMAnswersWithItsWholeTable(profile: GossipProfile) throws {
        let bench = try GossipBench(configuration: GossipConfiguration(profile: profile))
        let connection = bench.accept(GossipBench.record(3))
        let table = GossipMessage.sync(members: [member(7, 1, .alive, at: bench)], wantsReply: true)
        let replies = bench.handle(.message(table, from: teller, on: connection)).sent(to: 3).filter(\.isTable)
        #expect(bench.status(7) == .alive)
        #expect(replies == (profile == .m ? [.sync(members: bench.machine.snapshot().members, wantsReply: false)] : []))
    }

    /// Healing must not kill: a verdict that comes with a table is checked.
    @Test func aVerdictInATableIsASuspicion() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        _ = heard(bench, [member(7, 1, .alive, at: bench)], on: connection)
        let table = GossipMessage.sync(members: [member(7, 1, .dead, at: bench)], wantsReply: false)
        #expect(bench.handle(.message(table, from: teller, on: connection)).events == [.suspected(GossipBench.id(7))])
    }

    @Test func whoHearsOfItsOwnDeathRefutes() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        let effects = heard(bench, [member(5, 1, .dead, at: bench)], on: connection)
        #expect(bench.machine.me == GossipBench.record(5, incarnation: 2))
        #expect(effects.events == [.selfRefuted])
        let told = effects.claims(3).filter { $0.id == GossipBench.id(5) }
        #expect(told.contains { $0.incarnation == 2 && $0.status == .alive }, "the accuser hears it at once")
        let again = heard(bench, [member(5, 1, .dead, at: bench)], on: connection)
        #expect(again.events.isEmpty && bench.machine.me.incarnation == 2, "old news")
        let suspected = heard(bench, [member(5, 2, .suspect, at: bench)], on: connection)
        #expect(suspected.events.isEmpty && bench.machine.me.incarnation == 3, "a suspect kept its slots")
    }

    @Test func anAccusedAnswersAChallengeWithItsRefutation() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        let accusation = MemberClaim(member(5, 1, .suspect, at: bench), accuser: 3, withRecord: false)
        let ping = GossipMessage.ping(sequence: 9, placement: bench.machine.snapshot().digest, claims: [accusation])
        let effects = bench.handle(.message(ping, from: teller, on: connection))
        let ack = try #require(effects.acks(3).first)
        #expect(ack.sequence == 9 && ack.claims.first?.id == GossipBench.id(5) && ack.claims.first?.incarnation == 2)
    }

    /// Claims go without the record where the receiver has it; whoever has not asks.
    @Test func aClaimWithoutAKnownRecordIsAskedFor() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        let claim = MemberClaim(member(7, 1, .alive, at: bench), withRecord: false)
        let message = GossipMessage.claims(placement: bench.machine.snapshot().digest, [claim])
        #expect(bench.handle(.message(message, from: teller, on: connection)) == [.send(.fetch([claim.id]), to: teller, on: connection)])
        _ = heard(bench, [member(7, 1, .alive, at: bench)], on: connection)
        let suspected = MemberClaim(member(7, 1, .suspect, at: bench), accuser: 3, withRecord: false)
        let news = GossipMessage.claims(placement: bench.machine.snapshot().digest, [suspected])
        #expect(bench.handle(.message(news, from: teller, on: connection)).events == [.suspected(claim.id)])
        let refuted = MemberClaim(member(7, 2, .alive, at: bench), withRecord: false)
        let answer = GossipMessage.claims(placement: bench.machine.snapshot().digest, [refuted])
        #expect(bench.handle(.message(answer, from: teller, on: connection)).events == [.refuted(claim.id)])
    }

    /// What others say is no proof: nothing but a warning comes of it.
    @Test func anIncarnationOrStatusThatNobodyCanTakeBackIsReported() throws {
        for (incarnation, status): (UInt32, MemberStatus) in [(1, .left), (.max, .dead)] {
            let bench = try GossipBench()
            let connection = bench.accept(GossipBench.record(3))
            let claim = [member(5, incarnation, status, at: bench)]
            let events = heard(bench, claim, on: connection).events
            #expect(events.contains(.duplicateSuspected) && !events.contains(.duplicateIdentity), "\(status) \(incarnation)")
            #expect(!heard(bench, claim, on: connection).events.contains(.duplicateSuspected), "one event per 10 minutes")
        }
    }

    /// What others say is no proof: the address is dialled, and the id stays.
    @Test func aRecordOfOursThatWeNeverIssuedIsLookedFor() throws {
        for (incarnation, status): (UInt32, MemberStatus) in [(9, .alive), (9, .dead), (1, .alive)] {
            let bench = try GossipBench()
            let connection = bench.accept(GossipBench.record(3))
            var twin = member(5, incarnation, status, at: bench)
            (twin.record.address, twin.record.hlc) = (GossipNetwork.address(9), 77)
            let effects = heard(bench, [twin], on: connection)
            #expect(
                effects.events.contains(.duplicateSuspected) && !effects.events.contains(.duplicateIdentity), "\(status) \(incarnation)")
            #expect(effects.dialled == [GossipNetwork.address(9)])
            #expect(bench.machine.me.incarnation > incarnation, "the first of two records would stay: the earlier process tells its own")
            let again = heard(bench, [twin], on: connection)
            #expect(again.dialled.isEmpty && again.events.isEmpty, "one dial per second, one event per 10 minutes")
        }
    }

    @Test func theRecordOfATwinIsAskedFor() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        let claim = MemberClaim(member(5, 9, .alive, at: bench), withRecord: false)
        let message = GossipMessage.claims(placement: bench.machine.snapshot().digest, [claim])
        let effects = bench.handle(.message(message, from: teller, on: connection))
        #expect(effects.sent(to: 3).contains(.fetch([GossipBench.id(5)])) && effects.dialled.isEmpty)
    }

    @Test func aJoinerWhoseOriginTagIsTakenHearsByWhom() throws {
        let bench = try GossipBench()
        _ = bench.accept(GossipBench.record(3))
        let joiner = MemberRecord(id: PeerID(high: 77, low: 3), address: GossipNetwork.address(77))
        let effects = bench.handle(.connection(GossipMachine.inbound(50), .established(joiner)))
        let holder = MemberClaim(Member(GossipBench.record(3), status: .alive), withRecord: true)
        let told = GossipMessage.claims(placement: bench.machine.snapshot().digest, [holder])
        #expect(
            effects.filter { if case .trace = $0 { false } else { true } } == [
                .send(told, to: joiner.id, on: GossipMachine.inbound(50)), .close(GossipMachine.inbound(50), .protocolError),
            ])
    }

    /// It looks for who has the tag; of the two the later one draws another id.
    @Test(arguments: [UInt64(1), 9]) func aTakenOriginTagIsLookedFor(began: UInt64) throws {
        var me = GossipBench.record(5)
        me.hlc = 5
        let bench = try GossipBench(me: me)
        var holder = MemberRecord(id: PeerID(high: 78, low: 5), address: GossipNetwork.address(77))
        holder.hlc = began
        let told = heard(bench, [Member(holder, status: .alive)], on: bench.accept(GossipBench.record(3)))
        #expect(told.dialled == [holder.address] && !told.events.contains(.duplicateIdentity))
        let dial = try #require(told.dialIDs.first)
        let met = bench.handle(.connection(dial, .established(holder)))
        #expect(met.events == (began < me.hlc ? [.duplicateIdentity] : []))
        #expect(met.contains(.close(dial, .protocolError)))
    }

    @Test func messagesOfOthersOrOnClosedConnectionsAreDropped() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        let table = GossipMessage.sync(members: [member(7, 1, .alive, at: bench)], wantsReply: true)
        #expect(bench.handle(.message(table, from: GossipBench.id(9), on: connection)).isEmpty)
        #expect(bench.handle(.message(table, from: teller, on: connection + 1)).isEmpty)
        let many = GossipMessage.sync(members: Array(repeating: member(7, 1, .alive, at: bench), count: 4_097), wantsReply: false)
        let effects = bench.handle(.message(many, from: teller, on: connection))
        #expect(effects.traces == [.messageTooLarge(from: teller, members: 4_097)] && bench.status(7) == nil)
        let news = Array(repeating: member(7, 1, .alive, at: bench), count: 4_097)
        #expect(heard(bench, news, on: connection).traces == [.messageTooLarge(from: teller, members: 4_097)] && bench.status(7) == nil)
    }

    @Test func theTableIsBounded() throws {
        var configuration = GossipConfiguration()
        configuration.membersMax = 20
        configuration.departedMax = 4
        let bench = try GossipBench(configuration: configuration)
        let connection = bench.accept(GossipBench.record(3))
        for number: UInt64 in 10..<30 {
            bench.now = Instant(nanoseconds: bench.now.nanoseconds, hlc: bench.now.hlc + 1)
            _ = heard(bench, [member(number, 1, .dead, at: bench)], on: connection)
        }
        let departed = bench.machine.snapshot().members.filter { $0.status == .dead }
        #expect(departed.map(\.record.id) == (22..<30).map { GossipBench.id($0) }, "4 per present member, the latest")
        _ = heard(
            bench, [member(10, 1, .dead, at: bench)].map { Member($0.record, status: .dead, cause: .crashed, since: bench.now.hlc - 19) },
            on: connection)
        #expect(bench.status(10) == nil, "what was dropped for room is not learned again")
        var effects = heard(bench, (40..<55).map { member($0, 1, .alive, at: bench) }, on: connection)
        effects += heard(bench, (55..<70).map { member($0, 1, .alive, at: bench) }, on: connection)
        #expect(bench.machine.snapshot().members.count == 20)
        #expect(effects.traces.count == 12 && effects.traces.first == .tableFull(GossipBench.id(58)))
    }

    @Test(arguments: [MemberStatus.leaving, .dead, .suspect, .left]) func onlyTheSuspectAndTheDeadIsolateUs(status: MemberStatus) throws {
        let bench = try GossipBench()
        let others: [UInt64] = [3, 7, 8, 9, 10]
        let connections = others.map { bench.accept(GossipBench.record($0)) }
        for id in bench.advance(by: .seconds(2), answering: others).dialIDs { _ = bench.handle(.connection(id, .timedOut)) }
        _ = bench.advance(by: .seconds(20), answering: others)
        var events = heard(bench, [7, 8, 9].map { member($0, 2, status, at: bench) }, on: connections[0]).events
        events += bench.advance(by: .seconds(2), answering: [3, 10]).events
        #expect(events.contains(.isolated) == (status == .dead || status == .suspect))
    }

    /// Killed, started again, and then stopped on purpose: that is no cut.
    @Test func successorsOfTheDeadThatLeaveDoNotIsolateUs() throws {
        let bench = try GossipBench()
        let connections = [3, 7, 8].map { bench.accept(GossipBench.record($0)) }
        _ = bench.advance(by: .seconds(20), answering: [3, 7, 8])
        var events = heard(bench, [member(7, 2, .dead, at: bench)], on: connections[0]).events
        for id: UInt64 in [9, 10] { _ = bench.accept(GossipBench.record(id)) }
        events += heard(bench, [member(8, 2, .dead, at: bench)], on: connections[0]).events
        events += bench.advance(by: .seconds(2), answering: [3, 9, 10]).events
        #expect(bench.status(7) == .dead && bench.status(8) == .dead && bench.status(9) == .alive)
        events += heard(bench, [9, 10].map { member($0, 2, .leaving, at: bench) }, on: connections[0]).events
        events += bench.advance(by: .seconds(2), answering: [3, 9, 10]).events
        #expect(!events.contains(.isolated) && events.contains(.leaving(GossipBench.id(10))))
    }

    /// A table full of departed members, and 300 newcomers in one message: the oldest verdicts make room, one each.
    @Test func newcomersFindRoomInAFullTable() throws {
        var configuration = GossipConfiguration()
        configuration.departedMax = configuration.membersMax
        let bench = try GossipBench(configuration: configuration)
        let connection = bench.accept(GossipBench.record(3))
        let full = UInt64(configuration.membersMax) - 2
        bench.now = Instant(nanoseconds: bench.now.nanoseconds, hlc: bench.now.hlc + full)
        let verdicts = (0..<full).map { (number: UInt64) in
            Member(GossipBench.record(10_000 + number), status: .dead, cause: .crashed, since: bench.now.hlc - number * 7 % full)
        }
        _ = bench.handle(.message(.sync(members: verdicts, wantsReply: false), from: teller, on: connection))
        #expect(bench.machine.snapshot().members.count == configuration.membersMax)
        let newcomers = (0..<300).map { member(20_000 + $0, 1, .alive, at: bench) }
        _ = bench.handle(.message(.sync(members: newcomers, wantsReply: false), from: teller, on: connection))
        let members = bench.machine.snapshot().members
        #expect(members.count == configuration.membersMax && members.count { $0.status == .alive } == 302)
        let kept = Set(verdicts.sorted { $0.since < $1.since }.dropFirst(300).map(\.record.id))
        #expect(members.allSatisfy { $0.status == .alive || kept.contains($0.record.id) }, "the oldest verdicts go")
    }

    @Test func theDepartedAreForgottenAtTheFullHour() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        let verdict = member(7, 1, .dead, at: bench)
        _ = heard(bench, [verdict], on: connection)
        bench.now = Instant(nanoseconds: bench.now.nanoseconds, hlc: bench.now.hlc + GossipBench.hours(24))
        _ = bench.advance(by: .seconds(1))
        #expect(bench.status(7) == .dead)
        bench.now = Instant(nanoseconds: bench.now.nanoseconds, hlc: bench.now.hlc + GossipBench.hours(1))
        let effects = bench.advance(by: .seconds(1))
        #expect(bench.status(7) == nil && effects.contains { if case .event(.placementChanged) = $0 { true } else { false } })
        #expect(heard(bench, [verdict], on: connection).events.isEmpty && bench.status(7) == nil)
        // A verdict from the future is dated now.
        _ = heard(bench, [Member(verdict.record, status: .dead, cause: .silent, since: .max)], on: connection)
        #expect(bench.machine.snapshot().member(GossipBench.id(7))?.since == bench.now.hlc)
    }
}

import PeerCacheCore
import Testing

/// Discovery, exchange of tables, leaving, address re-use, retries and settings. The bench's own id is 5.
@Suite struct GossipProtocolTests {
    private let peer = GossipBench.record(7)

    // MARK: Discovery

    @Test func joinTriesThreeAddressesAtOnceAndEventuallyAll() throws {
        let bench = try GossipBench(joined: false)
        #expect(bench.advance(by: .seconds(3)).isEmpty)
        #expect(bench.handle(.command(.join)) == [.resolve])
        let seeds = (20..<30).map(GossipNetwork.address)
        var tried = bench.handle(.discovered(seeds + seeds, failed: false)).dialled
        #expect(tried.count == 3)
        for id: ConnectionID in 1...10 { tried += bench.handle(.connection(id, .refused)).dialled }
        #expect(Set(tried) == Set(seeds), "each once before any twice")
        let other = try GossipBench(6)
        #expect(other.handle(.discovered(seeds, failed: false)).dialled != Array(tried.prefix(3)), "another peer, another order")
    }

    @Test func discoveryIsAskedFasterWhileSomethingIsMissing() throws {
        let bench = try GossipBench(joined: false)
        #expect(bench.handle(.command(.join)).resolves == 1)
        #expect((3...5).contains(bench.advance(by: .seconds(20)).resolves), "alone: every 5 s")
        let connection = bench.accept(peer)
        _ = bench.handle(.discovered([peer.address, GossipNetwork.address(20)], failed: false))
        _ = keepAlive(bench, connection, seconds: 20)
        let partial = keepAlive(bench, connection, seconds: 60).resolves
        #expect((3...5).contains(partial), "a stranger in the answer: every 15 s, not \(partial)")
        _ = bench.handle(.discovered([peer.address], failed: false))
        _ = keepAlive(bench, connection, seconds: 20)
        let calm = keepAlive(bench, connection, seconds: 240).resolves
        #expect((3...5).contains(calm), "every 60 s, not \(calm)")
    }

    /// Seconds during which the peer answers, and its pings agree with ours.
    private func keepAlive(_ bench: GossipBench, _ connection: ConnectionID, of number: UInt64 = 7, seconds: Int) -> [GossipMachine.Effect]
    {
        var effects: [GossipMachine.Effect] = []
        for _ in 0..<seconds {
            let ping = GossipMessage.ping(sequence: 1, placement: bench.machine.snapshot().digest, claims: [])
            effects += bench.handle(.message(ping, from: GossipBench.id(number), on: connection))
            effects += bench.advance(by: .seconds(1), answering: [number])
        }
        return effects
    }

    @Test func aFailedOrEmptyAnswerKeepsTheLast() throws {
        let bench = try GossipBench()
        _ = bench.handle(.discovered([peer.address], failed: false))
        _ = bench.handle(.discovered([], failed: false))
        _ = bench.handle(.discovered([], failed: true))
        _ = bench.handle(.connection(1, .refused))
        #expect(bench.nextDial()?.address == peer.address)
        _ = bench.handle(.discovered([GossipNetwork.address(20)], failed: false))
        _ = bench.handle(.connection(2, .refused))
        let later = bench.advance(by: .seconds(30))
        #expect(!later.dialled.contains(peer.address), "dropped by discovery: dialled no more")
    }

    @Test func candidatesAreBounded() throws {
        let bench = try GossipBench()
        let many = (0..<4_100).map { PeerAddress(host: "h\($0)", port: 1) }
        #expect(bench.handle(.discovered(many, failed: false)).traces == [.candidatesDropped(4)])
    }

    /// A proxy may lead elsewhere the next time, and be all that discovery knows.
    @Test func ourOwnAddressRestsAndIsTriedAgain() throws {
        let bench = try GossipBench()
        let proxy = GossipNetwork.address(20)
        _ = bench.handle(.discovered([proxy, GossipNetwork.address(5)], failed: false))
        var id: ConnectionID = 1
        for _ in 0..<3 {
            #expect(bench.handle(.connection(id, .foreign(.isSelf))).events.isEmpty)
            #expect(bench.advance(by: .seconds(59)).dialled.isEmpty)
            let dial = try #require(bench.nextDial())
            #expect(dial.address == proxy)
            id = dial.id
        }
        #expect(bench.handle(.connection(id, .established(peer))).events == [.joined(peer)])
    }

    @Test func aForeignAddressRestsAndWarnsOnce() throws {
        let bench = try GossipBench()
        let stranger = GossipNetwork.address(20)
        _ = bench.handle(.discovered([stranger], failed: false))
        #expect(bench.handle(.connection(1, .foreign(.cluster))).events == [.foreignPeer(stranger, .cluster)])
        #expect(bench.advance(by: .seconds(59)).dialled.isEmpty)
        let dial = try #require(bench.nextDial())
        #expect(bench.handle(.connection(dial.id, .foreign(.cluster))).events.isEmpty)
    }

    /// Discovery names a host, members advertise IP addresses: who answered there is remembered.
    @Test func aNameThatLeadsToAMemberIsNotDialledAgain() throws {
        let bench = try GossipBench()
        _ = bench.handle(.discovered([PeerAddress(host: "seed", port: 7600)], failed: false))
        _ = bench.handle(.connection(1, .established(peer)))
        #expect(keepAlive(bench, 1, seconds: 30).dialled.isEmpty)
    }

    // MARK: Tables

    @Test func placementsThatDifferForASecondCompareTables() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        let same = bench.machine.snapshot().digest
        let digests = { (effects: [GossipMachine.Effect]) in
            effects.count { if case .send(.digest, to: self.peer.id, _) = $0 { true } else { false } }
        }
        let ping = { (placement: UInt64) in
            bench.handle(.message(.ping(sequence: 1, placement: placement, claims: []), from: self.peer.id, on: connection))
        }
        #expect(digests(ping(1)) == 0, "news may be on its way")
        _ = bench.advance(by: .milliseconds(500))
        #expect(digests(ping(same)) == 0)
        #expect(digests(ping(1)) == 0)
        _ = bench.advance(by: .milliseconds(1_001))
        #expect(digests(ping(1)) == 1)
        #expect(digests(ping(1)) == 0, "not twice within a second")
        _ = bench.advance(by: .milliseconds(300))
        #expect(digests(bench.handle(.command(.sync(with: peer.id)))) == 1)
        #expect(digests(bench.handle(.command(.sync(with: peer.id)))) == 0, "not twice within 200 ms")
    }

    /// Two machines: whoever compares first, both end with one table.
    @Test func comparedTablesBecomeEqual() throws {
        let one = try GossipBench(5), other = try GossipBench(7)
        let first = one.accept(peer), second = other.accept(GossipBench.record(5))
        let known = (20..<320).map { (number: UInt64) in
            Member(GossipBench.record(number, incarnation: UInt32(1 + number % 3)), status: number % 5 == 0 ? .left : .alive, since: 0)
        }
        let teach = { (bench: GossipBench, from: UInt64, on: ConnectionID, members: [Member]) in
            let dated = members.map { member in
                var member = member
                if member.status == .left { member.since = bench.now.hlc }
                return member
            }
            _ = bench.handle(.message(.sync(members: dated, wantsReply: false), from: GossipBench.id(from), on: on))
        }
        teach(one, 7, first, Array(known[..<200]))
        teach(other, 5, second, Array(known[100...]))
        #expect(one.machine.snapshot().digest != other.machine.snapshot().digest)
        _ = one.advance(by: .seconds(1))
        _ = other.advance(by: .seconds(1))
        var toOther = one.handle(.command(.sync(with: peer.id))), toOne: [GossipMachine.Effect] = [], rounds = 0
        while !toOther.isEmpty || !toOne.isEmpty, rounds < 50 {
            rounds += 1
            let messages = toOther.sent(to: 7), answers = toOne.sent(to: 5)
            toOne = messages.flatMap { other.handle(.message($0, from: GossipBench.id(5), on: second)) }
            toOther = answers.flatMap { one.handle(.message($0, from: GossipBench.id(7), on: first)) }
        }
        #expect(rounds < 50 && one.machine.snapshot().digest == other.machine.snapshot().digest)
        #expect(one.machine.snapshot().members == other.machine.snapshot().members)
    }

    @Test func aPageHoldsThirtyTwoKibibytes() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        let members = (10..<266).map { (number: UInt64) in
            var record = GossipBench.record(number)
            record.metadata = Array(repeating: 1, count: 512)
            return Member(record, status: .alive)
        }
        _ = bench.handle(.message(.sync(members: members, wantsReply: false), from: peer.id, on: connection))
        let ids = members.map(\.record.id)
        let answer = bench.handle(.message(.fetch(ids + ids), from: peer.id, on: connection)).sent(to: 7)
        guard case .sync(let page, false)? = answer.last else { return #expect(Bool(false)) }
        #expect(page.count > 32 && page.count < 64 && page.map(\.record.id) == Array(ids[..<page.count]))
    }

    // MARK: Own record

    @Test func leaveAnnouncesAndStopCloses() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        let left = bench.handle(.command(.leave))
        let leaving = left.claims(7).filter { $0.id == GossipBench.id(5) }
        #expect(leaving.contains { $0.status == .leaving && $0.incarnation == 2 })
        #expect(bench.machine.snapshot().placed.map(\.id) == [peer.id])
        let stopped = bench.handle(.command(.stopped))
        #expect(stopped.claims(7).contains { $0.id == GossipBench.id(5) && $0.status == .left })
        #expect(stopped.last == .close(connection, .leaving))
        #expect(bench.machine.nextDeadline == nil)
        #expect(bench.handle(.tick).isEmpty && bench.handle(.command(.join)).isEmpty)
        #expect(bench.handle(.connection(9, .established(peer))) == [.close(9, .leaving)])
    }

    @Test func anUpdateIsANewIncarnation() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        _ = bench.advance(by: .milliseconds(20))
        let effects = bench.handle(.command(.update(metadata: [1], weight: 0)))
        #expect(effects.claims(7).compactMap(\.record).contains(bench.machine.me) && bench.machine.me.incarnation == 2)
        #expect(bench.machine.snapshot().placed.map(\.id) == [peer.id], "weight 0 holds no slots")
        #expect(bench.handle(.command(.update(metadata: nil, weight: 2_000))).traces == [.recordRefused(GossipBench.id(5), .weight)])
        var changed = GossipBench.record(7, incarnation: 2)
        changed.metadata = [9]
        changed.hlc = 1
        let news = GossipMessage.sync(members: [Member(changed, status: .alive)], wantsReply: false)
        #expect(bench.handle(.message(news, from: peer.id, on: connection)).events == [.updated(changed)])
    }

    // MARK: Addresses

    @Test func anAddressThatAnswersAsAnotherReplacesTheOldMember() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        _ = bench.handle(.connection(connection, .resetByPeer))
        let dial = try #require(bench.nextDial())
        var successor = GossipBench.record(8)
        successor.address = peer.address
        #expect(bench.handle(.connection(dial.id, .established(successor))).events == [.joined(successor)])
        // The old member is challenged for 400 ms.
        #expect(bench.advance(by: .milliseconds(401)).events == [.dead(peer.id, cause: .replaced)])
    }

    @Test func aClaimedAddressOnlyCausesADial() throws {
        let bench = try GossipBench()
        let old = bench.accept(peer)
        for id in bench.advance(by: .milliseconds(10)).dialIDs { _ = bench.handle(.connection(id, .timedOut)) }
        var claimant = GossipBench.record(8)
        claimant.address = peer.address
        let effects = bench.handle(.connection(GossipMachine.inbound(9), .established(claimant)))
        #expect(effects.events == [.joined(claimant)] && effects.dialled.contains(peer.address))
        // It answers as the claimant, but the old member answers too: both stay.
        let id = try #require(effects.dialIDs.first)
        let challenge = try #require(bench.handle(.connection(id, .established(claimant))).pings(7).first)
        let ack = GossipMessage.ack(sequence: challenge.sequence, placement: 0, claims: [])
        let answered = bench.handle(.message(ack, from: peer.id, on: old))
        #expect(answered.events == [.addressConflict(peer.id, claimant.id)])
        #expect(bench.advance(by: .milliseconds(500)).events.isEmpty)
        #expect(bench.status(7) == .alive && bench.status(8) == .alive)
    }

    /// A proxy in front of both, or two processes in one network namespace: neither may hear that it is dead, as it would empty its store.
    @Test func twoThatLiveAtOneAddressBothStay() throws {
        let bench = try GossipBench()
        let old = bench.accept(peer)
        for id in bench.advance(by: .milliseconds(10)).dialIDs { _ = bench.handle(.connection(id, .timedOut)) }
        var other = GossipBench.record(8)
        other.address = peer.address
        let dial = try #require(bench.handle(.connection(GossipMachine.inbound(9), .established(other))).dialIDs.first)
        let challenge = try #require(bench.handle(.connection(dial, .established(other))).pings(7).first)
        #expect(challenge.claims.map(\.status) == [.suspect], "we ask, nobody is dead so far")
        let refuted = MemberClaim(Member(GossipBench.record(7, incarnation: 2), status: .alive), withRecord: false)
        let ack = GossipMessage.ack(sequence: challenge.sequence, placement: 0, claims: [refuted])
        #expect(bench.handle(.message(ack, from: peer.id, on: old)).events == [.addressConflict(peer.id, other.id)])
        // Whoever dials the address again meets one of them, and knows already.
        for _ in 0..<3 {
            _ = bench.advance(by: .seconds(10), answering: [7, 8])
            let effects = bench.handle(.connection(GossipMachine.inbound(9), .timedOut))
            let again = bench.handle(.connection(GossipMachine.inbound(9), .established(other)))
            for id in (effects + again).dialIDs {
                #expect(bench.handle(.connection(id, .established(other))).pings(7).allSatisfy { $0.claims.isEmpty })
            }
        }
        #expect(bench.status(7) == .alive && bench.status(8) == .alive)
    }

    /// It did not answer in time, but it lives: the verdict is not given again and again.
    @Test func aReplacedMemberThatReturnsIsAConflict() throws {
        let bench = try GossipBench()
        let old = bench.accept(peer)
        var other = GossipBench.record(8)
        other.address = peer.address
        let meet = { (accepted: UInt64) in
            let effects = bench.handle(.connection(GossipMachine.inbound(accepted), .established(other)))
            return effects.dialIDs.flatMap { bench.handle(.connection($0, .established(other))) }
        }
        _ = meet(8)
        #expect(bench.advance(by: .milliseconds(401)).events == [.dead(peer.id, cause: .replaced)])
        let back = MemberClaim(Member(GossipBench.record(7, incarnation: 2), status: .alive), withRecord: false)
        let events = bench.handle(.message(.claims(placement: 0, [back]), from: peer.id, on: old)).events
        #expect(events.contains(.addressConflict(peer.id, other.id)) && bench.status(7) == .alive)
        #expect(meet(9).pings(7).isEmpty)
        #expect(bench.advance(by: .milliseconds(401)).events.isEmpty)
    }

    @Test func aNewcomerIsDialledBackAndHearsThatItsAddressIsWrong() throws {
        let bench = try GossipBench()
        let connection = GossipMachine.inbound(1)
        var dials = bench.handle(.connection(connection, .established(peer))).dialIDs
        #expect(dials.count == 1)
        dials = bench.handle(.connection(dials[0], .timedOut)).dialIDs
        #expect(dials.count == 1, "twice, as a packet may be lost")
        #expect(bench.handle(.connection(dials[0], .timedOut)).sent(to: 7) == [.unreachable(peer.address)])
        let mine = GossipMessage.unreachable(GossipNetwork.address(5))
        #expect(bench.handle(.message(mine, from: peer.id, on: connection)).events == [.addressUnreachable(GossipNetwork.address(5))])
        #expect(bench.handle(.message(mine, from: peer.id, on: connection)).events.isEmpty, "one warning per 10 minutes")
    }

    /// Who began later gives the id up; of two that began alike, as copies of one memory do, whoever dialled.
    @Test(arguments: [
        (hlc: UInt64(1), isInbound: true, loses: true), (9, true, false), (5, true, false), (5, false, true), (9, false, false),
    ])
    func theLaterOfTwoTwinsGivesItsIdUp(hlc: UInt64, isInbound: Bool, loses: Bool) throws {
        var me = GossipBench.record(5)
        me.hlc = 5
        let bench = try GossipBench(me: me)
        var twin = me
        (twin.address, twin.hlc) = (GossipNetwork.address(9), hlc)
        var id = GossipMachine.inbound(1)
        if !isInbound {
            id = try #require(bench.handle(.discovered([twin.address], failed: false)).dialIDs.first)
        }
        let effects = bench.handle(.connection(id, .established(twin)))
        #expect(effects.events == (loses ? [.duplicateIdentity] : []))
        #expect(effects.contains(.close(id, .protocolError)))
        #expect(bench.machine.snapshot().members.count == 1)
    }

    // MARK: Healing

    @Test func theDeadAreDialledAgainAndAgain() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        let verdict = Member(peer, status: .dead, cause: .silent, since: bench.now.hlc)
        learn(verdict, bench, connection)
        func dials(during duration: Duration) -> Int {
            var count = 0
            for _ in 0..<Int(duration.components.seconds) {
                let effects = keepAlive(bench, connection, of: 3, seconds: 1)
                #expect(effects.events.isEmpty)
                for (id, address) in zip(effects.dialIDs, effects.dialled) {
                    if address == peer.address { count += 1 }
                    _ = bench.handle(.connection(id, .timedOut))
                }
            }
            return count
        }
        #expect((9...11).contains(dials(during: .seconds(10))), "every second at first")
        #expect((9...11).contains(dials(during: .seconds(50))), "every 5 s")
        _ = dials(during: .seconds(560))
        #expect((9...11).contains(dials(during: .seconds(300))), "every 30 s")
    }

    private func learn(_ verdict: Member, _ bench: GossipBench, _ connection: ConnectionID) {
        let claim = MemberClaim(verdict, withRecord: true)
        _ = bench.handle(.message(.claims(placement: 0, [claim]), from: GossipBench.id(3), on: connection))
    }

    @Test func aWronglyDeadMemberHearsTheVerdictOnContactAndReturns() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        learn(Member(peer, status: .dead, cause: .silent, since: bench.now.hlc), bench, connection)
        var dial = try #require(bench.nextDial())
        while dial.address != peer.address { dial = try #require(bench.nextDial()) }
        let contact = bench.handle(.connection(dial.id, .established(peer)))
        #expect(contact.claims(7).contains { $0.id == peer.id && $0.status == .dead } && bench.status(7) == .dead)
        let back = GossipBench.record(7, incarnation: 2)
        let news = MemberClaim(Member(back, status: .alive), withRecord: false)
        #expect(bench.handle(.message(.claims(placement: 0, [news]), from: peer.id, on: dial.id)).events == [.returned(back)])
    }

    // MARK: Settings

    @Test func impossibleSettingsThrowAndNameTheRule() throws {
        let bad: [(String, (inout GossipConfiguration) -> Void)] = [
            ("gossip.period", { $0.period = .zero }), ("gossip.relaysAt", { $0.relaysAt = .milliseconds(200) }),
            ("gossip.nackAfter", { $0.nackAfter = .seconds(1) }), ("gossip.the last fresh dial", { $0.freshDialsMax = 9 }),
            ("gossip.pingsAt", { $0.pingsAt = [.milliseconds(1)] }), ("gossip.verifyWait", { $0.verifyWait = .milliseconds(300) }),
            ("gossip.backoffMax", { $0.backoffMax = .milliseconds(1) }), ("gossip.rejectionsMin", { $0.rejectionsMin = 1 }),
            ("gossip.voteValidFor", { $0.voteValidFor = .milliseconds(500) }), ("gossip.suspicionFactor", { $0.suspicionFactor = 0 }),
            ("gossip.dialsMax", { $0.dialsMax = 0 }), ("gossip.candidateDialsMax", { $0.candidateDialsMax = 65 }),
            ("gossip.membersMax", { $0.membersMax = 1 }), ("gossip.retryEvery", { $0.retryEvery = .zero }),
        ]
        for (name, spoil) in bad {
            var configuration = GossipConfiguration()
            spoil(&configuration)
            let error = #expect(throws: GossipConfigurationError.self) { try configuration.validate() }
            #expect(error?.message.hasPrefix(name) == true, "\(name): \(error?.message ?? "")")
        }
        for profile in [GossipProfile.p, .f, .m] { try GossipConfiguration(profile: profile).validate() }
        var record = GossipBench.record(1)
        record.weight = 1_001
        #expect(throws: GossipConfigurationError.self) { try GossipMachine(GossipConfiguration(), me: record, seed: 1) }
    }
}

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

    /// Seconds during which the peer's heartbeats agree with ours.
    private func keepAlive(_ bench: GossipBench, _ connection: ConnectionID, of number: UInt64 = 7, seconds: Int) -> [GossipMachine.Effect]
    {
        var effects: [GossipMachine.Effect] = []
        for _ in 0..<seconds {
            let digest = bench.machine.snapshot().digest
            effects += bench.handle(.message(.heartbeat(digest: digest), from: GossipBench.id(number), on: connection))
            effects += bench.advance(by: .seconds(1))
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

    @Test func ourOwnAddressIsDialledOnce() throws {
        let bench = try GossipBench()
        _ = bench.handle(.discovered([GossipNetwork.address(20), GossipNetwork.address(5)], failed: false))
        #expect(bench.handle(.connection(1, .foreign(.isSelf))).events.isEmpty)
        #expect(bench.advance(by: .seconds(60)).dialled.isEmpty)
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

    @Test func heartbeatsThatDifferExchangeTables() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        let view = bench.machine.snapshot()
        #expect(bench.handle(.message(.heartbeat(digest: view.digest), from: peer.id, on: connection)).isEmpty)
        let sync = GossipMachine.Effect.send(.sync(members: view.members, wantsReply: true), to: peer.id, on: connection)
        #expect(bench.handle(.message(.heartbeat(digest: 1), from: peer.id, on: connection)) == [sync])
        #expect(bench.handle(.message(.heartbeat(digest: 1), from: peer.id, on: connection)).isEmpty, "not twice within 200 ms")
        _ = bench.advance(by: .milliseconds(300))
        #expect(bench.handle(.command(.sync(with: peer.id))) == [sync])
        #expect(bench.advance(by: .seconds(1)).contains(.send(.heartbeat(digest: view.digest), to: peer.id, on: connection)))
    }

    @Test func aReplyHoldsOnlyWhatTheSenderLacks() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        let table = bench.machine.snapshot().members
        #expect(bench.handle(.message(.sync(members: table, wantsReply: true), from: peer.id, on: connection)).isEmpty)
        let theirs = [Member(peer, status: .alive)]
        #expect(
            bench.handle(.message(.sync(members: theirs, wantsReply: true), from: peer.id, on: connection)) == [
                .send(.sync(members: [table[0]], wantsReply: false), to: peer.id, on: connection)
            ])
        #expect(bench.handle(.message(.sync(members: theirs, wantsReply: false), from: peer.id, on: connection)).isEmpty)
    }

    @Test func theBudgetBoundsExchangesPerHeartbeat() throws {
        let bench = try GossipBench()
        let connections = (10..<20).map { bench.accept(GossipBench.record($0)) }
        let syncs = zip(connections, UInt64(10)...).reduce(0) { count, pair in
            count + bench.handle(.message(.heartbeat(digest: 1), from: GossipBench.id(pair.1), on: pair.0)).count
        }
        #expect(syncs == 4)
    }

    // MARK: Own record

    @Test func leaveAnnouncesAndStopCloses() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        var record = GossipBench.record(5, incarnation: 2)
        record.hlc = bench.now.hlc
        let left = bench.handle(.command(.leave))
        #expect(
            left == [
                .event(.placementChanged(digest: bench.machine.snapshot().digest)),
                .send(.sync(members: [Member(record, status: .leaving)], wantsReply: false), to: peer.id, on: connection),
            ])
        #expect(bench.machine.snapshot().placed.map(\.id) == [peer.id])
        let stopped = bench.handle(.command(.stopped))
        let entry = Member(record, status: .left, since: bench.now.hlc)
        #expect(
            stopped == [
                .event(.placementChanged(digest: bench.machine.snapshot().digest)),
                .send(.sync(members: [entry], wantsReply: false), to: peer.id, on: connection), .close(connection, .leaving),
            ])
        #expect(bench.machine.nextDeadline == nil)
        #expect(bench.handle(.tick).isEmpty && bench.handle(.command(.join)).isEmpty)
        #expect(bench.handle(.connection(9, .established(peer))) == [.close(9, .leaving)])
    }

    @Test func anUpdateIsANewIncarnation() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        let effects = bench.handle(.command(.update(metadata: [1], weight: 0)))
        #expect(effects.told(7).map(\.record) == [bench.machine.me] && bench.machine.me.incarnation == 2)
        #expect(bench.machine.snapshot().placed.map(\.id) == [peer.id], "weight 0 holds no slots")
        #expect(bench.handle(.command(.update(metadata: nil, weight: 2_000))).traces == [.recordRefused(GossipBench.id(5), .weight)])
        var changed = GossipBench.record(7, incarnation: 2)
        changed.metadata = [9]
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
        let effects = bench.handle(.connection(dial.id, .established(successor)))
        #expect(effects.events == [.dead(peer.id, cause: .replaced), .joined(successor)])
    }

    @Test func aClaimedAddressOnlyCausesADial() throws {
        let bench = try GossipBench()
        _ = bench.accept(peer)
        var claimant = GossipBench.record(8)
        claimant.address = peer.address
        let effects = bench.handle(.connection(GossipMachine.inbound(9), .established(claimant)))
        #expect(effects.events == [.joined(claimant)] && effects.dialled == [peer.address])
        // It answers as the claimant, but the old member talks to us: both stay.
        let id = try #require(effects.dialIDs.first)
        #expect(bench.handle(.connection(id, .established(claimant))).events.isEmpty)
        #expect(bench.status(7) == .alive && bench.status(8) == .alive)
    }

    @Test func aCloneIsReportedAndNotConnected() throws {
        let bench = try GossipBench()
        var clone = GossipBench.record(5)
        clone.address = GossipNetwork.address(9)
        let inbound = GossipMachine.inbound(1)
        let effects = bench.handle(.connection(inbound, .established(clone)))
        #expect(effects == [.event(.duplicateIdentity), .close(inbound, .protocolError)])
    }

    @Test func anotherClusterAtAMembersAddressIsARejection() throws {
        let bench = try GossipBench()
        let connection = bench.accept(peer)
        _ = bench.handle(.connection(connection, .resetByPeer))
        let first = try #require(bench.nextDial())
        #expect(bench.handle(.connection(first.id, .foreign(.cluster))).events == [.foreignPeer(peer.address, .cluster)])
        let second = try #require(bench.nextDial())
        #expect(bench.handle(.connection(second.id, .foreign(.cluster))).events == [.dead(peer.id, cause: .crashed)])
    }

    // MARK: Healing

    @Test func theDeadAreDialledAgainAndAgain() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        let verdict = Member(peer, status: .dead, cause: .silent, since: bench.now.hlc)
        _ = bench.handle(.message(.sync(members: [verdict], wantsReply: false), from: GossipBench.id(3), on: connection))
        func dials(during duration: Duration) -> Int {
            var count = 0
            for _ in 0..<Int(duration.components.seconds) {
                let effects = keepAlive(bench, connection, of: 3, seconds: 1)
                for (id, address) in zip(effects.dialIDs, effects.dialled) {
                    if address == peer.address { count += 1 }
                    _ = bench.handle(.connection(id, .timedOut))
                }
            }
            return count
        }
        #expect((11...13).contains(dials(during: .seconds(60))), "every 5 s")
        _ = dials(during: .seconds(560))
        #expect((9...11).contains(dials(during: .seconds(300))), "every 30 s")
    }

    @Test func aWronglyDeadMemberGetsTheTableOnContactAndReturns() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        let verdict = Member(peer, status: .dead, cause: .silent, since: bench.now.hlc)
        _ = bench.handle(.message(.sync(members: [verdict], wantsReply: false), from: GossipBench.id(3), on: connection))
        let dial = try #require(bench.nextDial())
        let contact = bench.handle(.connection(dial.id, .established(peer)))
        #expect(contact.told(7).contains(verdict) && bench.status(7) == .dead)
        let back = GossipBench.record(7, incarnation: 2)
        let news = GossipMessage.sync(members: [Member(back, status: .alive)], wantsReply: false)
        #expect(bench.handle(.message(news, from: peer.id, on: dial.id)).events == [.returned(back)])
    }

    /// Our path to a live peer refuses, others reach it: one wrong verdict, then rest.
    @Test func aRefutedVerdictOfOursRests() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(3))
        _ = bench.handle(.connection(bench.accept(peer), .resetByPeer))
        var verdicts = 0, incarnation: UInt32 = 1
        for _ in 0..<250 {
            _ = bench.handle(.message(.heartbeat(digest: bench.machine.snapshot().digest), from: GossipBench.id(3), on: connection))
            var effects = bench.advance(by: .milliseconds(100))
            for id in effects.dialIDs { effects += bench.handle(.connection(id, .refused)) }
            guard effects.events.contains(.dead(peer.id, cause: .crashed)) else { continue }
            verdicts += 1
            incarnation += 1
            let refuted = Member(GossipBench.record(7, incarnation: incarnation), status: .alive)
            _ = bench.handle(.message(.sync(members: [refuted], wantsReply: false), from: GossipBench.id(3), on: connection))
        }
        #expect(verdicts == 1 && bench.status(7) == .alive)
    }

    // MARK: Settings

    @Test func impossibleSettingsThrowAndNameTheRule() throws {
        let bad: [(String, (inout GossipConfiguration) -> Void)] = [
            ("gossip.heartbeatEvery", { $0.heartbeatEvery = .zero }), ("gossip.freshFor", { $0.freshFor = .milliseconds(1) }),
            ("gossip.quietAfter", { $0.quietAfter = .seconds(1) }), ("gossip.silentAfter", { $0.silentAfter = .seconds(4) }),
            ("gossip.backoffMax", { $0.backoffMax = .milliseconds(1) }), ("gossip.crashRefusals", { $0.crashRefusals = 1 }),
            ("gossip.dialsMax", { $0.dialsMax = 0 }), ("gossip.candidateDialsMax", { $0.candidateDialsMax = 65 }),
            ("gossip.membersMax", { $0.membersMax = 1 }), ("gossip.retryEvery", { $0.retryEvery = .zero }),
        ]
        for (name, spoil) in bad {
            var configuration = GossipConfiguration()
            spoil(&configuration)
            let error = #expect(throws: GossipConfigurationError.self) { try configuration.validate() }
            #expect(error?.message.hasPrefix(name) == true, "\(name): \(error?.message ?? "")")
        }
        var record = GossipBench.record(1)
        record.weight = 1_001
        #expect(throws: GossipConfigurationError.self) { try GossipMachine(GossipConfiguration(), me: record, seed: 1) }
    }
}

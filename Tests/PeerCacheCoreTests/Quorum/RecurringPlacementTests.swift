import PeerCacheCore
import Testing

/// A placement may return to an old digest: once those that came and went meanwhile are forgotten, the table is what it was.
@Suite struct RecurringPlacementTests {
    @Test func theDigestComesBackWhenWhoCameAndWentIsForgotten() throws {
        let bench = try GossipBench()
        let connection = bench.accept(GossipBench.record(6))
        let before = bench.machine.snapshot().digest
        let left = Member(GossipBench.record(7), status: .left, since: bench.now.hlc)
        _ = bench.handle(.message(.sync(members: [left], wantsReply: false), from: GossipBench.id(6), on: connection))
        #expect(bench.machine.snapshot().digest != before)
        bench.now.hlc += GossipBench.hours(26)
        _ = bench.advance(by: .seconds(2), answering: [6])
        #expect(bench.status(7) == nil)
        #expect(bench.machine.snapshot().digest == before)
    }

    /// Named twice it would count as the votes of two, and be refused by whoever is told.
    @Test func whoVotesUnderAPlacementThatCameBackNamesItOnce() throws {
        let ids = (1...3).map { PeerID(high: $0, low: 1) }, me = ids[0], others = Array(ids.dropFirst())
        let scheme = try #require(QuorumScheme(copies: 3, readFrom: 2, ackedBy: 2)), slot = try #require(Slot(index: 3))
        var configuration = VoterConfiguration(minimumPeers: 2)
        configuration.gatherFor = .zero
        configuration.slotRange = 0..<10
        var machine = VoterMachine(configuration, scheme: scheme, me: me), now: UInt64 = 1_000
        /// The others vote already from the second time on, and nobody answers whether all do.
        func enter(_ digest: UInt64) throws {
            let placement = try Placement.build(members: ids.map { PlacementMember(id: $0) }, digest: digest, ranks: 3)
            var effects: [VoterMachine.Effect] = []
            let isFirst = machine.placement.isEmpty
            machine.handle(.placement(placement, present: others), now: Instant(nanoseconds: Int64(now), hlc: now), into: &effects)
            for _ in 0..<20 {
                let calls = effects
                effects = []
                now += 1_000_000
                let now = Instant(nanoseconds: Int64(now), hlc: now)
                for case .call(let id, let question, _) in calls {
                    switch question {
                    case .seal(let seal) where seal.isQuery: machine.handle(.answered(id, .none), now: now, into: &effects)
                    case .seal(let seal):
                        let answer = SealAnswer(voting: isFirst ? SlotSet() : seal.slots)
                        machine.handle(.answered(id, .sealed(answer)), now: now, into: &effects)
                    case .pull(let pull):
                        let answer = VoterMachine.Answer.pulled(slots: pull.slots.count, next: 0, bytes: 0)
                        machine.handle(.answered(id, answer), now: now, into: &effects)
                    }
                }
                machine.handle(.tick, now: now, into: &effects)
            }
        }
        for digest: UInt64 in [1, 2, 1] {
            try enter(digest)
            #expect(machine.voting.contains(slot))
        }
        var effects: [VoterMachine.Effect] = []
        let last = try Placement.build(members: ids.map { PlacementMember(id: $0) }, digest: 3, ranks: 3)
        machine.handle(.placement(last, present: others), now: Instant(nanoseconds: Int64(now), hlc: now), into: &effects)
        let answer = machine.answer(Seal(placement: 3, slots: SlotSet([slot])))
        let told = try #require(answer)
        let bytes = PageWriter.sealAnswer(told, floors: [])
        let read = try bytes.withUnsafeBytes { try PageReader.sealAnswer($0) { _, _ in } }
        #expect(read.lists.map(\.list.voted) == [[2, 1]])
        #expect(read.lists.allSatisfy { $0.list.votedAt.count == 2 && $0.list.votedAt == $0.list.votedAt.sorted() })
    }
}

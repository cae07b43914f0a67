import PeerCacheCore
import Testing

/// Two peers voted together; then the list took another digest (a member that was leaving had left), and one of them voted once more, alone.
@Suite struct LaterVoteTests {
    /// Once silent for ever: the older lists, whose members are gone, count as closed by both placements, and the clocks that tell that they are
    /// older were known of the last vote only. Seen in rolling restarts of real processes.
    @Test func whoVotedOnceMoreStillTellsWhenItVotedBefore() throws {
        let ids = (1...3).map { PeerID(high: $0, low: 1) }, me = ids[0], both = ids[1], once = ids[2], gone = PeerID(high: 9, low: 1)
        let scheme = try #require(QuorumScheme(copies: 3, readFrom: 2, ackedBy: 2))
        let placement = try Placement.build(members: ids.map { PlacementMember(id: $0) }, digest: 1, ranks: 3)
        var configuration = VoterConfiguration(minimumPeers: 2)
        configuration.gatherFor = .zero
        configuration.slotRange = 0..<10
        func answer(_ seal: Seal, of peer: PeerID, knowsFirst: Bool) -> SealAnswer {
            var answer = SealAnswer()
            answer.founded = seal.slots
            let together =
                peer == both
                ? VoterList(
                    voters: [both, once], since: 450, entered: 450, voted: [7, 8], votedAt: knowsFirst ? [370, 450] : [0, 450])
                : VoterList(voters: [both, once], since: 450, entered: 450, voted: [7], votedAt: [375])
            let older = VoterList(
                voters: [gone, both], since: 329, entered: peer == both ? 329 : 0, voted: peer == both ? [5] : [],
                votedAt: peer == both ? [329] : [], closers: peer == both ? [8] : [7])
            answer.lists = [together, older].map { OpenList(list: $0, slots: seal.slots.slots) }
            return answer
        }
        func isFetched(knowsFirst: Bool) -> Bool {
            var machine = VoterMachine(configuration, scheme: scheme, me: me)
            var effects: [VoterMachine.Effect] = []
            machine.handle(.placement(placement, present: [both, once]), now: Instant(nanoseconds: 1, hlc: 1_000), into: &effects)
            for round in 1...20 {
                let calls = effects
                effects = []
                let now = Instant(nanoseconds: Int64(round) * 1_000_000_000, hlc: 1_000 + UInt64(round))
                for case .call(let id, .seal(let seal), let peer) in calls where !seal.isQuery {
                    machine.handle(.answered(id, .sealed(answer(seal, of: peer, knowsFirst: knowsFirst))), now: now, into: &effects)
                }
                machine.handle(.tick, now: now, into: &effects)
                for case .call(_, .pull, _) in effects { return true }
            }
            return false
        }
        #expect(isFetched(knowsFirst: true))
        #expect(!isFetched(knowsFirst: false), "without that clock nobody can tell what is older")
    }
}

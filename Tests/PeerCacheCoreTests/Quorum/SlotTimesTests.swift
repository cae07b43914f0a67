@testable import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct SlotTimesTests {
    /// With more times than there is room for, none is told as an earlier one, and the latest are told as they are.
    @Test(arguments: Seeds.chosen(1...20)) func earlyTimesAreRoundedUp(seed: UInt64) {
        var random = SeededRandom(seed: seed), times = SlotTimes()
        let slots = (0..<100).compactMap(Slot.init(index:)).shuffled(using: &random)
        for (time, slot) in slots.enumerated().shuffled(using: &random) { times.insert(slot, UInt64(time + 1)) }
        #expect(times.groups.count == SlotTimes.countMax, "replay: PEERCACHE_SEED=\(seed)")
        for (index, slot) in slots.enumerated() {
            let (time, told) = (UInt64(index + 1), times[slot])
            #expect(index < slots.count - SlotTimes.countMax ? told > time : told == time, "replay: PEERCACHE_SEED=\(seed)")
        }
    }

    /// P forgot the slot once and voted in its list afterwards: a later time, for want of room, does not make it one that has forgotten that.
    /// Only B's answer is left then, which is not enough.
    @Test func aTimeThatWasRoundedUpIsNoForgetting() throws {
        let ids = (1...4).map { PeerID(high: 1, low: $0) }
        let (me, p, b) = (ids[0], ids[1], ids[2])
        let placement = try Placement.build(members: ids.map { PlacementMember(id: $0) }, digest: 9, ranks: Placement.ranksMax)
        let scheme = QuorumScheme.majorityOfThree
        var configuration = VoterConfiguration(minimumPeers: 3)
        configuration.gatherFor = .zero
        configuration.slotRange = 0..<200
        let slot = try #require(configuration.slots.first { placement.peers(of: $0, copies: 3).contains(me) })
        var times = SlotTimes()
        times.insert(slot, 50)
        for (index, other) in configuration.slots.filter({ $0 != slot }).enumerated() { times.insert(other, 200 + UInt64(index)) }
        #expect(times[slot] > 100)

        func isFetched(whatPForgot forgotten: SlotTimes) -> Bool {
            var machine = VoterMachine(configuration, scheme: scheme, me: me)
            var effects: [VoterMachine.Effect] = []
            machine.handle(.placement(placement, present: Array(ids.dropFirst())), now: Instant(nanoseconds: 1, hlc: 1_000), into: &effects)
            for round in 1...20 {
                let calls = effects
                effects = []
                for case .call(let id, .seal(let seal), let peer) in calls where seal.slots.contains(slot) && (peer == p || peer == b) {
                    var answer = SealAnswer(forgotten: peer == p ? forgotten : SlotTimes())
                    let list = VoterList(
                        voters: Array(ids.dropFirst()), since: 100, entered: 100, voted: [peer == p ? 7 : 6], votedAt: [100])
                    answer.lists = [OpenList(list: list, slots: [slot])]
                    let now = Instant(nanoseconds: Int64(round) * 1_000_000_000, hlc: 1_000 + UInt64(round))
                    machine.handle(.answered(id, .sealed(answer)), now: now, into: &effects)
                }
                for case .call(_, .pull(let request), _) in effects where request.slots.contains(slot) { return true }
            }
            return false
        }
        #expect(isFetched(whatPForgot: SlotTimes()))
        #expect(!isFetched(whatPForgot: times))
    }
}

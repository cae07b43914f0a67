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
}

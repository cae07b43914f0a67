import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct DigestTests {
    typealias Fixture = StoreFixture

    /// Two holders of the same entries agree, in whatever order they came, and however late one of them heard of the newest.
    @Test(arguments: Seeds.chosen(1...5))
    func holdersOfTheSameEntriesAgree(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let (one, other) = (try Fixture(), try Fixture())
        for fixture in [one, other] { #expect(fixture.store.setDigest(of: fixture.slot, true)) }
        // Stamps over 40 units of 65 s.
        var writes = (0..<600).map { number in
            (
                key: "\(number % 150)", stamp: Fixture.stamp(Int.random(in: 0..<40 * 65_536, using: &random), origin: UInt32(number)),
                isTombstone: number % 7 == 0
            )
        }
        for fixture in [one, other] {
            for write in writes {
                if write.isTombstone {
                    fixture.applyTombstone(fixture.key(write.key), write.stamp, keep: Tick(Fixture.now.value &+ 1_000_000))
                } else {
                    fixture.apply(fixture.key(write.key), write.stamp)
                }
            }
            writes.shuffle(using: &random)
        }
        let digests = [one, other].map { $0.store.digests(of: $0.slot) ?? [] }
        #expect(digests[0].count == 8)
        for (left, right) in zip(digests[0], digests[1]) {
            let unit = max(left.newestUnit, right.newestUnit)
            #expect(left.rolled(to: unit) == right.rolled(to: unit), "PEERCACHE_SEED=\(seed)")
        }
        #expect(one.drop(one.key("1")))
        #expect(one.store.digests(of: one.slot) != other.store.digests(of: other.slot))
        for fixture in [one, other] { #expect(fixture.store.checkInvariants() == nil) }
    }

    @Test func digestsBeginWithWhatIsHeldAndEndWithTheSlot() throws {
        let fixture = try Fixture()
        for number in 0..<500 { fixture.apply(fixture.key("\(number)"), Fixture.stamp(number)) }
        #expect(fixture.store.digests(of: fixture.slot) == nil)
        #expect(fixture.store.setDigest(of: fixture.slot, true))
        #expect(fixture.store.checkInvariants() == nil)
        let cells = fixture.store.digests(of: fixture.slot)?.flatMap(\.cells) ?? []
        #expect(cells.contains { $0 != 0 })
        fixture.store.forget(fixture.slot)
        #expect(fixture.store.digests(of: fixture.slot) == nil)
        #expect(!fixture.store.setDigest(of: fixture.slot, true))  // absent
        fixture.store.adopt(fixture.slot)
        #expect(fixture.store.setDigest(of: fixture.slot, true))
        #expect(fixture.store.digests(of: fixture.slot)?.allSatisfy { $0.cells.allSatisfy { $0 == 0 } && $0.older == 0 } == true)
        #expect(fixture.store.setDigest(of: fixture.slot, false))
        #expect(fixture.store.checkInvariants() == nil)
    }
}

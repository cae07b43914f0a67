import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct DigestTests {
    typealias Fixture = StoreFixture

    private func summaries(_ fixture: Fixture) -> [BucketSummary] {
        BucketIndex.all(of: fixture.slot).compactMap { fixture.store.summary(of: $0, now: Fixture.now) }
    }

    /// Two holders of the same entries agree, in whatever order they came, and however late one of them heard of the newest.
    @Test(arguments: Seeds.chosen(1...5))
    func holdersOfTheSameEntriesAgree(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let (one, other) = (try Fixture(), try Fixture())
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
        let digests = [one, other].map(summaries)
        #expect(digests[0].count == 8)
        for (left, right) in zip(digests[0], digests[1]) { #expect(!left.differs(from: right), "PEERCACHE_SEED=\(seed)") }
        // One of them hears of one thing more.
        one.apply(one.key("another"), Fixture.stamp(40 * 65_536 + 1))
        let after = summaries(one)
        #expect(zip(after, digests[1]).count { $0.differs(from: $1) && $1.differs(from: $0) } == 1, "PEERCACHE_SEED=\(seed)")
        for fixture in [one, other] { #expect(fixture.store.checkInvariants() == nil) }
    }
}

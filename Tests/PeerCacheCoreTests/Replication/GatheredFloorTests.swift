import PeerCacheCore
import PeerCacheTesting
import Testing

/// Pages of a slot that a peer holds for one cache and gathers for another. The two are told apart, on both sides.
@Suite struct GatheredFloorTests {
    private let (source, target): (StoreFixture, StoreFixture)
    /// Caches of few and of many copies, at both ends.
    private let few = CacheIndex(0), many: CacheIndex
    /// Of the first and of the second cache, in one bucket.
    private let key: TestKey
    private let other: TestKey

    init() throws {
        (source, target) = (try StoreFixture(), try StoreFixture())
        many = try source.store.register("many")
        let there = try target.store.register("many")
        #expect(there == many && source.cache == few)
        key = source.key("k")
        var other = Self.neighbour(of: key, "other", source)
        other.id.cache = many
        self.other = other
    }

    /// A key of the same bucket.
    private static func neighbour(of key: TestKey, _ name: String, _ fixture: StoreFixture) -> TestKey {
        var number = 0
        while true {
            let other = fixture.key("\(name) \(number)")
            if other.id.bucket == key.id.bucket { return other }
            number += 1
        }
    }

    private func raiseFloor(_ fixture: StoreFixture, to milliseconds: Int) {
        fixture.store.raiseFloor(of: key.id.bucket, to: StoreFixture.stamp(milliseconds)) { _ in .zero }
    }

    /// Takes in what the source has, as one of several sources.
    private func takeIn(isConcerned: @escaping (CacheIndex) -> Bool = { _ in true }) throws {
        let request = PullRequest(slots: [source.slot], bucket: 0)
        let page = try #require(source.store.page(request, now: StoreFixture.now) { $0 == CacheIndex(0) ? [0] : [1] })
        let context = PageContext(
            cache: { $0.first.map { CacheIndex(UInt16($0)) } }, holds: { _, _ in true }, isConcerned: { cache, _ in isConcerned(cache) },
            hash: { publicHash(String(decoding: $1, as: UTF8.self)) >> 14 }, accepts: { _ in true }, now: StoreFixture.now)
        let result = try page.withUnsafeBytes { try target.store.takeIn($0, asked: request, isDoubtful: true, context) }
        #expect(result.refused == 0)
    }

    /// What it dropped of the others took nothing from the cache that it gathers.
    @Test func whatTheSourceDroppedBeforeSaysNothingOfWhatItGathers() throws {
        raiseFloor(source, to: 100)
        source.store.enter(source.slot, [few])
        target.apply(key, StoreFixture.stamp(5))
        target.apply(other, StoreFixture.stamp(5))
        try takeIn()
        #expect(target.held(key) != nil && target.held(other) == nil)
    }

    /// What it dropped of one of two that it gathers counts for that one, also when the older content comes later.
    @Test(arguments: [true, false]) func whatTheSourceDropsWhileItGathersCounts(isOldThere: Bool) throws {
        source.store.enter(source.slot, [few, many])
        target.store.enter(target.slot, [few, many])
        source.apply(key, StoreFixture.stamp(10))
        #expect(source.drop(key))
        if isOldThere { target.apply(key, StoreFixture.stamp(5)) }
        target.apply(other, StoreFixture.stamp(5))
        try takeIn()
        #expect(target.held(key) == nil && target.held(other) != nil)
        #expect(target.apply(key, StoreFixture.stamp(5)) == .forgotten)
        #expect(target.guardStamp(other) == StoreFixture.stamp(5))
    }

    /// A source that is in the slot's list for one of the caches only.
    @Test func whatTheSourceDoesNotSpeakForStays() throws {
        target.store.enter(target.slot, [few, many])
        raiseFloor(source, to: 100)
        target.apply(key, StoreFixture.stamp(5))
        target.apply(other, StoreFixture.stamp(5))
        try takeIn { [many] in $0 == many }
        #expect(target.held(key) != nil && target.held(other) == nil)
        // And what another source has of it is taken.
        let late = Self.neighbour(of: key, "late", source)
        #expect(target.apply(late, StoreFixture.stamp(5)) == .stored)
    }
}

import PeerCacheCore
import PeerCacheTesting
import Testing

/// Schedules of `CONTRACT.md` §13 in which pages, repairs and late copies meet: two stores and what goes between them.
@Suite struct PageInterleavingTests {
    private let (source, target): (StoreFixture, StoreFixture)
    private let key: TestKey

    init() throws {
        (source, target) = (try StoreFixture(), try StoreFixture())
        key = source.key("k")
    }

    private func page(_ fixture: StoreFixture) throws -> [UInt8] {
        try #require(fixture.store.page(PullRequest(slots: [fixture.slot], bucket: 0), now: StoreFixture.now) { _ in Array("users".utf8) })
    }

    private var context: PageContext {
        PageContext(
            cache: { [cache = target.cache] _ in cache }, holds: { _, _ in true }, hash: { [hash = key.id.hash] _, _ in hash },
            accepts: { _ in true }, now: StoreFixture.now)
    }

    private func takeIn(_ page: [UInt8], isDoubtful: Bool = false) throws {
        _ = try page.withUnsafeBytes {
            try target.store.takeIn($0, asked: PullRequest(slots: [target.slot], bucket: 0), isDoubtful: isDoubtful, context)
        }
    }

    @Test func i21APageThatComesAfterALiveWriteChangesNothing() throws {
        source.apply(key, StoreFixture.stamp(5))
        let page = try page(source)
        target.apply(key, StoreFixture.stamp(9))
        try takeIn(page)
        #expect(target.held(key)?.stamp == StoreFixture.stamp(9))
    }

    /// The removal is collected before the page is made; the page brings the floor.
    @Test func i21ALateCopyAfterThePageIsForgotten() throws {
        source.applyTombstone(key, StoreFixture.stamp(9))
        #expect(source.drop(key))
        try takeIn(try page(source))
        #expect(target.apply(key, StoreFixture.stamp(5)) == .forgotten)
        #expect(target.held(key) == nil)
    }

    /// What one holder dropped does not come back from the other.
    @Test func i27WhatWasDroppedIsNotRepaired() throws {
        source.apply(key, StoreFixture.stamp(5))
        target.apply(key, StoreFixture.stamp(5))
        #expect(target.drop(key))
        let bucket = BucketIndex(hash: key.id.hash)
        let summary = try #require(source.store.summary(of: bucket, now: StoreFixture.now))
        #expect(target.store.differences(from: [summary], now: StoreFixture.now) { _ in true } == [])
        try takeIn(try page(source))
        #expect(target.held(key) == nil && source.held(key) != nil)
    }

    /// A slot that comes back begins without the floors that would refuse everything.
    @Test func i36ASlotThatWasLostAndGainedStartsAnew() throws {
        target.apply(key, StoreFixture.stamp(9))
        #expect(target.drop(key))
        target.store.forget(target.slot)
        target.store.adopt(target.slot)
        source.apply(key, StoreFixture.stamp(5))
        try takeIn(try page(source))
        #expect(target.held(key)?.stamp == StoreFixture.stamp(5))
    }

    /// The new owner mints above what the former one minted, whose clock was ahead and came with its answer to the claim.
    @Test func i38TheClockOfTheFormerOwnerIsMergedBeforeTheFirstMint() {
        var former = HybridLogicalClock(), next = HybridLogicalClock()
        let wall = StoreFixture.milliseconds
        let before = Stamp(clock: former.mint(above: 0, wallMilliseconds: wall + 400), origin: 2)
        _ = next.merge(former.reading(wallMilliseconds: wall + 400), wallMilliseconds: wall, offsetMillisecondsMax: 10_000)
        let after = Stamp(clock: next.mint(above: 0, wallMilliseconds: wall + 1), origin: 1)
        target.apply(key, after)
        #expect(target.apply(key, before) == .superseded)
    }

    @Test func i41APageThatComesAfterRemoveAllBringsNothingBack() throws {
        source.apply(key, StoreFixture.stamp(5))
        let page = try page(source)
        target.store.raiseCacheFloor(target.cache, to: StoreFixture.stamp(9))
        try takeIn(page)
        #expect(target.read(key) == nil)
    }
}

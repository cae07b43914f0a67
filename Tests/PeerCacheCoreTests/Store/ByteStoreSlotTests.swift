import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct ByteStoreSlotTests {
    typealias Fixture = StoreFixture

    @Test func aForgottenSlotStartsAnew() throws {
        let fixture = try Fixture()
        let keys = (0..<500).map { fixture.key("\($0)") }
        for key in keys { fixture.apply(key, Fixture.stamp(5)) }
        let dropped = fixture.drop(keys[0])
        #expect(dropped)
        fixture.store.forget(fixture.slot)
        #expect(!fixture.store.isHeld(fixture.slot))
        #expect(fixture.apply(keys[1], Fixture.stamp(9)) == .notHolder)
        #expect(fixture.store.memory.entries == 0)
        #expect(fixture.store.floor(of: keys[0].id.bucket) == .zero)
        fixture.store.adopt(fixture.slot)
        // The same entries again, as a transfer brings them minutes later: no floor refuses them.
        for key in keys { #expect(fixture.apply(key, Fixture.stamp(5)) == .stored) }
        #expect(fixture.store.checkInvariants() == nil)
    }

    /// What others dropped says nothing of a cache whose entries come anew, and what its sources dropped does.
    @Test func aSlotThatIsHeldForOthersTakesWhatComesAnew() throws {
        let fixture = try Fixture(), store = fixture.store
        let other = try store.register("others")
        func raiseFloors(to milliseconds: Int) {
            for bucket in BucketIndex.all(of: fixture.slot) { store.raiseFloor(of: bucket, to: Fixture.stamp(milliseconds)) }
        }
        let first = fixture.key("first"), second = fixture.key("second")
        var foreign = fixture.key("foreign")
        foreign.id.cache = other
        raiseFloors(to: 100)
        #expect(fixture.apply(first, Fixture.stamp(50)) == .forgotten)
        store.enter(fixture.slot, [fixture.cache])
        #expect(fixture.apply(first, Fixture.stamp(50)) == .stored)
        #expect(fixture.apply(foreign, Fixture.stamp(99)) == .forgotten)
        // The floor of a page of one source, and what another one has that did not hear of it.
        raiseFloors(to: 70)
        #expect(fixture.apply(second, Fixture.stamp(60)) == .forgotten)
        #expect(fixture.apply(second, Fixture.stamp(80)) == .stored)
        let isDropped = fixture.drop(second)
        #expect(isDropped && fixture.apply(second, Fixture.stamp(79)) == .forgotten)
        // What others drop meanwhile is their own affair.
        #expect(fixture.apply(foreign, Fixture.stamp(200)) == .stored)
        let isForeignDropped = fixture.drop(foreign)
        #expect(isForeignDropped && fixture.guardStamp(second) == Fixture.stamp(80))
        // Begun again: what was dropped here was.
        store.enter(fixture.slot, [fixture.cache])
        #expect(fixture.apply(second, Fixture.stamp(79)) == .forgotten)
        store.settle(fixture.slot) { $0 == fixture.cache }
        #expect(fixture.held(first) != nil && fixture.held(second) == nil)
        #expect(fixture.apply(fixture.key("third"), Fixture.stamp(99)) == .forgotten)
        #expect(store.checkInvariants() == nil)
    }

    @Test func aSlotThatIsLetGoWhileItIsGatheredLeavesNothing() throws {
        let fixture = try Fixture(), key = fixture.key("a")
        fixture.store.raiseFloor(of: key.id.bucket, to: Fixture.stamp(100))
        fixture.store.enter(fixture.slot, [fixture.cache])
        fixture.store.forget(fixture.slot) { $0 == fixture.cache }
        #expect(fixture.guardStamp(key) == Fixture.stamp(100))
        fixture.store.enter(fixture.slot, [fixture.cache])
        fixture.store.forget(fixture.slot)
        fixture.store.adopt(fixture.slot)
        fixture.store.raiseFloor(of: key.id.bucket, to: Fixture.stamp(10))
        #expect(fixture.guardStamp(key) == Fixture.stamp(10))
    }

    @Test func adoptingTwiceChangesNothing() throws {
        let fixture = try Fixture()
        let key = fixture.key("a")
        fixture.apply(key, Fixture.stamp(1))
        fixture.store.adopt(fixture.slot)
        #expect(fixture.held(key) != nil)
        #expect(fixture.store.memory.slotsHeld == 1)
    }

    @Test func aSlotIsBlankUntilSomethingIsWrittenToIt() throws {
        let fixture = try Fixture(), key = fixture.key("a")
        #expect(fixture.store.isBlank(fixture.slot))
        fixture.apply(key, Fixture.stamp(5))
        #expect(!fixture.store.isBlank(fixture.slot))
        let isDropped = fixture.drop(key)
        #expect(isDropped && !fixture.store.isBlank(fixture.slot), "what was dropped counts against what others hold")
        fixture.store.forget(fixture.slot)
        #expect(fixture.store.isBlank(fixture.slot))
        fixture.store.adopt(fixture.slot)
        #expect(fixture.store.isBlank(fixture.slot))
        fixture.store.raiseFloor(of: BucketIndex(hash: key.id.hash), to: Fixture.stamp(1))
        #expect(!fixture.store.isBlank(fixture.slot))
    }

    @Test func floorsRiseOnlyAndOnlyInTheirBucket() throws {
        let fixture = try Fixture()
        let (first, second) = (BucketIndex(hash: 0), BucketIndex(hash: 1 << 47))
        fixture.store.raiseFloor(of: first, to: Fixture.stamp(5))
        fixture.store.raiseFloor(of: first, to: Fixture.stamp(4))
        #expect(fixture.store.floor(of: first) == Fixture.stamp(5))
        #expect(fixture.store.floor(of: second) == .zero)
        fixture.store.raiseFloor(of: BucketIndex(hash: .max), to: Fixture.stamp(5))
        #expect(fixture.store.floor(of: BucketIndex(hash: .max)) == .zero, "an absent slot has no floors")
    }

    @Test func bucketsCoverEverythingHeldThroughout() throws {
        for seed in Seeds.chosen(1...3) {
            var random = SeededRandom(seed: seed)
            let fixture = try Fixture()
            let stable = (0..<700).map { fixture.key("stable \($0)") }
            for key in stable { fixture.apply(key, Fixture.stamp(1)) }
            var written = 0
            let seen = fixture.contents(of: fixture.slot) { _ in
                // Entries come and go, others are replaced, the index and the entries move.
                for _ in 0..<40 {
                    written += 1
                    fixture.apply(fixture.key("new \(written)"), Fixture.stamp(written))
                    let gone = fixture.key("new \(Int.random(in: 1...written, using: &random))")
                    _ = fixture.drop(gone)
                }
            }
            let hashes = seen.map(\.id.hash)
            #expect(hashes == hashes.sorted(), "replay: PEERCACHE_SEED=\(seed)")
            for key in stable {
                #expect(seen.count { $0.key == key.bytes } == 1, "replay: PEERCACHE_SEED=\(seed)")
            }
            #expect(fixture.store.checkInvariants() == nil)
        }
    }

    @Test func deadEntriesAreDroppedRatherThanSeenSoThatTheFloorCoversThem() throws {
        let fixture = try Fixture()
        let (dead, alive) = (fixture.key("dead"), fixture.key("alive"))
        fixture.apply(alive, Fixture.stamp(-10_000))  // first, as writers drop what is due
        fixture.apply(dead, Fixture.stamp(-10_000), ttl: .seconds(1), now: Tick(Fixture.now.value &- 150))
        #expect(fixture.held(dead) != nil)
        #expect(fixture.contents(of: fixture.slot).map(\.key) == [alive.bytes])
        #expect(fixture.store.floor(of: dead.id.bucket) == Fixture.stamp(-10_000))
    }

    @Test func anAbsentSlotHoldsNothing() throws {
        let fixture = try Fixture()
        #expect(fixture.contents(of: Slot(hash: .max)).isEmpty)
    }

    // MARK: Caches

    @Test func aNameHasOneIndex() throws {
        let fixture = try Fixture()
        #expect(try fixture.store.register("users") == fixture.cache)
        let other = try fixture.store.register("carts")
        #expect(other != fixture.cache)
        #expect(fixture.store.name(of: other) == "carts")
        #expect(fixture.store.name(of: CacheIndex(99)) == nil)
        #expect(throws: StoreError.cacheNameTooLong(bytes: 129, max: 128)) {
            try fixture.store.register(String(repeating: "x", count: 129))
        }
        for number in 2..<4096 { _ = try fixture.store.register("cache \(number)") }
        #expect(throws: StoreError.tooManyCaches(max: 4096)) { try fixture.store.register("one more") }
        #expect(fixture.store.checkInvariants() == nil)
    }

    @Test func equalKeysOfTwoCachesAreTwoKeys() throws {
        let fixture = try Fixture()
        let other = try fixture.store.register("carts")
        let (mine, theirs) = (TestKey("a", hash: 1, cache: fixture.cache), TestKey("a", hash: 1, cache: other))
        fixture.apply(mine, Fixture.stamp(1))
        fixture.apply(theirs, Fixture.stamp(2))
        #expect(fixture.held(mine)?.stamp == Fixture.stamp(1))
        #expect(fixture.held(theirs)?.stamp == Fixture.stamp(2))
    }

    @Test func aClearedCacheMissesAtOnceAndIsSweptLater() throws {
        let fixture = try Fixture(shards: 4)
        let other = try fixture.store.register("carts")
        let keys = (0..<2000).map { fixture.key("\($0)") }
        for (number, key) in keys.enumerated() { fixture.apply(key, Fixture.stamp(number)) }
        fixture.apply(TestKey("a", hash: 1, cache: other), Fixture.stamp(0))
        let floor = Fixture.stamp(1500)
        fixture.store.raiseCacheFloor(fixture.cache, to: floor)
        fixture.store.raiseCacheFloor(fixture.cache, to: Fixture.stamp(3))
        #expect(fixture.store.cacheFloor(fixture.cache) == floor)
        #expect(fixture.read(keys[1500]) == nil)
        #expect(fixture.held(keys[0]) == nil)
        #expect(fixture.read(keys[1501]) != nil)
        #expect(fixture.apply(keys[0], floor) == .forgotten)
        #expect(fixture.apply(keys[0], Stamp(clock: floor.clock, origin: 2)) == .stored)
        #expect(fixture.store.memory.entries == 2001, "nothing but the written key was swept yet")
        var sweeps = 0
        while fixture.store.sweep(now: Fixture.now, bytesMax: 20_000) { sweeps += 1 }
        #expect(sweeps > 3)
        #expect(fixture.store.usage(of: fixture.cache).entries == 500)
        #expect(fixture.store.usage(of: other).entries == 1)
        #expect(fixture.store.checkInvariants() == nil)
    }
}

import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct ByteStoreWriteTests {
    typealias Fixture = StoreFixture

    @Test func anyOrderAndRepetitionEndsWithTheHighestStamp() throws {
        for seed in Seeds.chosen(1...20) {
            var random = SeededRandom(seed: seed)
            let fixture = try Fixture()
            let key = fixture.key("a")
            for _ in 0..<4 {
                for offset in (1...30).shuffled(using: &random) {
                    let stamp = Fixture.stamp(offset)
                    let before = fixture.held(key)?.stamp ?? .zero
                    let result = offset % 5 == 0 ? fixture.applyTombstone(key, stamp) : fixture.apply(key, stamp)
                    #expect(result == (stamp >= before ? .stored : .superseded), "replay: PEERCACHE_SEED=\(seed)")
                }
            }
            #expect(fixture.held(key)?.stamp == Fixture.stamp(30))
            #expect(fixture.held(key)?.isTombstone == true)
            #expect(fixture.read(key) == nil)
        }
    }

    @Test func whatWasDroppedDoesNotComeBack() throws {
        let fixture = try Fixture()
        let key = fixture.key("a")
        fixture.apply(key, Fixture.stamp(5))
        let dropped = fixture.drop(key)
        #expect(dropped)
        #expect(fixture.apply(key, Fixture.stamp(5)) == .forgotten)
        #expect(fixture.apply(key, Fixture.stamp(4)) == .forgotten)
        #expect(fixture.guardStamp(key) == Fixture.stamp(5))
        #expect(fixture.apply(key, Fixture.stamp(6)) == .stored)
        #expect(fixture.store.memory.forgotten.floor == 2)
    }

    @Test func aWriteThatCannotBeStoredStillRemovesTheOldValue() throws {
        let fixture = try Fixture(limit: 1 << 20)
        let key = fixture.key("a")
        fixture.apply(key, Fixture.stamp(1))
        #expect(fixture.apply(key, Fixture.stamp(2), bytes: 1 << 17 | 1) == .forgotten)
        #expect(fixture.held(key) == nil)
        #expect(fixture.guardStamp(key) == Fixture.stamp(2))
        #expect(fixture.apply(key, Fixture.stamp(3), bytes: 1 << 17) == .stored)
        #expect(fixture.apply(key, Fixture.stamp(4), ttl: .seconds(-1)) == .forgotten)
        #expect(fixture.guardStamp(key) == Fixture.stamp(4))
        let long = fixture.key(String(repeating: "k", count: 1025))
        #expect(fixture.apply(long, Fixture.stamp(9)) == .forgotten)
        #expect(fixture.guardStamp(long) == Fixture.stamp(9))
        #expect(fixture.apply(fixture.key(String(repeating: "k", count: 1024)), Fixture.stamp(10)) == .stored)
        #expect(fixture.store.memory.forgotten.tooLarge == 2)
        #expect(fixture.store.memory.forgotten.expired == 1)
    }

    @Test func mintSeesTheGuardAndALowStampChangesNothing() throws {
        let fixture = try Fixture()
        let key = fixture.key("a")
        fixture.store.raiseFloor(of: key.id.bucket, to: Fixture.stamp(3))
        let value: [UInt8] = [1]
        func set(_ stamp: Stamp) -> (WriteResult, Stamp, guardStamp: Stamp) {
            var seen = Stamp.zero
            let (result, final) = fixture.store.set(
                key.id, key.bytes.span.bytes, value: value.span.bytes, ttl: nil, now: Fixture.now
            ) {
                seen = $0
                return stamp
            }
            return (result, final, seen)
        }
        #expect(set(Fixture.stamp(2)) == (.forgotten, Fixture.stamp(2), Fixture.stamp(3)))
        #expect(set(Fixture.stamp(4)) == (.stored, Fixture.stamp(4), Fixture.stamp(3)))
        #expect(set(Fixture.stamp(3)) == (.superseded, Fixture.stamp(3), Fixture.stamp(4)))
        #expect(fixture.held(key)?.stamp == Fixture.stamp(4))
        let (result, stamp) = fixture.store.remove(key.id, key.bytes.span.bytes, keep: Tick(Fixture.now.value &+ 9), now: Fixture.now) {
            _ in
            Fixture.stamp(5)
        }
        #expect(result == .stored)
        #expect(stamp == Fixture.stamp(5))
        #expect(fixture.held(key)?.expiry == Tick(Fixture.now.value &+ 9))
    }

    @Test func whatGetsNoStampChangesNothing() throws {
        let fixture = try Fixture()
        let key = fixture.key("a"), bytes = key.bytes.span.bytes
        #expect(fixture.apply(key, Fixture.stamp(2)) == .stored)
        for count in [1, 10_000, fixture.store.memory.limit] {
            let value = [UInt8](repeating: 7, count: count)
            let (result, stamp) = fixture.store.set(key.id, bytes, value: value.span.bytes, ttl: nil, now: Fixture.now) { _ in nil }
            #expect(result == .refused)
            #expect(stamp == .zero)
            #expect(fixture.held(key)?.stamp == Fixture.stamp(2))
        }
        let (result, _) = fixture.store.remove(key.id, bytes, keep: Tick(Fixture.now.value &+ 9), now: Fixture.now) { _ in nil }
        #expect(result == .refused)
        #expect(fixture.held(key)?.stamp == Fixture.stamp(2))
        #expect(fixture.guardStamp(key) == Fixture.stamp(2))
    }

    @Test func absentSlotsAndUnknownCachesHoldNothing() throws {
        let fixture = try Fixture()
        let elsewhere = fixture.key("a", slot: Slot(hash: .max))
        #expect(fixture.apply(elsewhere, Fixture.stamp(1)) == .notHolder)
        #expect(fixture.read(elsewhere) == nil)
        #expect(fixture.guardStamp(elsewhere) == .zero)
        let unknown = TestKey("a", hash: 0, cache: CacheIndex(.max))
        #expect(fixture.apply(unknown, Fixture.stamp(1)) == .notHolder)
        #expect(fixture.read(unknown) == nil)
        #expect(fixture.guardStamp(unknown) == .zero)
        #expect(fixture.store.usage(of: unknown.id.cache) == CacheUsage())
    }

    @Test(arguments: [
        Duration.zero, .nanoseconds(1), .nanoseconds(-1), .seconds(Int64.max), .seconds(Int64.min), .milliseconds(64), .seconds(1 << 40),
        .seconds(137_000_000), .seconds(138_000_000),
    ])
    func noTtlAndNoStampTraps(ttl: Duration) throws {
        let fixture = try Fixture()
        for (number, clock) in [0, 1, 1 << 16, 63 << 16, Fixture.milliseconds << 16, 1 << 63, UInt64.max].enumerated() {
            for now in [Fixture.now, Tick(0), Tick(.max), Tick(Tick.horizon)] {
                let key = fixture.key("\(number) \(now)")
                let result = fixture.apply(key, Stamp(clock: clock, origin: 1), ttl: ttl, now: now)
                #expect(result == .stored || result == .forgotten)
                #expect(ttl > .zero || result == .forgotten)
                #expect((result == .stored) == (fixture.read(key, now: now) != nil))
            }
        }
        #expect(fixture.store.checkInvariants() == nil)
    }

    @Test func expiryIsRoundedDownAndTheSameOnAllHolders() throws {
        let fixture = try Fixture()
        let key = fixture.key("a")
        for (ttl, ticks) in [(63, nil), (64, 1), (127, 1), (128, 2), (64_000, 1000)] as [(Int, UInt32?)] {
            let start = Fixture.milliseconds / 64 * 64
            let stamp = Stamp(clock: start << 16 | UInt64(ttl), origin: UInt32(ttl))
            fixture.store.forget(fixture.slot)
            fixture.store.adopt(fixture.slot)
            let result = fixture.apply(key, stamp, ttl: .milliseconds(ttl))
            #expect(result == (ticks == nil ? .forgotten : .stored))
            #expect(fixture.held(key)?.expiry == ticks.map { Tick(Fixture.now.value &+ $0) })
            guard let ticks else { continue }
            #expect(fixture.read(key, now: Tick(Fixture.now.value &+ ticks &- 1)) != nil)
            #expect(fixture.read(key, now: Tick(Fixture.now.value &+ ticks)) == nil)
            #expect(fixture.held(key) != nil, "expired entries are held until they are dropped")
        }
        fixture.apply(key, Fixture.stamp(9000), ttl: .seconds(1 << 40))
        #expect(fixture.read(key, now: Tick(Fixture.now.value &- 1000)) != nil, "a clock stepped back does not end the longest life")
    }

    @Test func hostileKeysOfOneHashCostBoundedWorkAndCrowdEachOther() throws {
        let fixture = try Fixture()
        for number in 0..<500 {
            let key = TestKey("\(number)", hash: 42, cache: fixture.cache)
            #expect(fixture.apply(key, Fixture.stamp(number)) == .stored)
            #expect(fixture.held(key)?.stamp == Fixture.stamp(number))
        }
        #expect(fixture.store.memory.entries <= 36 && fixture.store.memory.entries >= 24)
        #expect(fixture.store.checkInvariants() == nil)
        #expect(fixture.contents(of: fixture.slot).count == fixture.store.memory.entries)
        #expect(fixture.store.memory.counted < 4 << 20, "the index does not grow for them")
    }

    @Test func hostileKeysOfOneSlotAreAllHeld() throws {
        let fixture = try Fixture()
        for number in 0..<5000 {
            fixture.apply(fixture.key("\(number)"), Fixture.stamp(number))
        }
        #expect(fixture.store.memory.entries == 5000)
        let hashes = (0..<5000).map { Fixture.kept(fixture.key("\($0)").id.hash) }
        #expect(fixture.contents(of: fixture.slot).map(\.id.hash) == hashes.sorted())
        #expect(fixture.store.checkInvariants() == nil)
    }
}

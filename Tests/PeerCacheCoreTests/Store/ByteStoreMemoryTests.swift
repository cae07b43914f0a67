import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct ByteStoreMemoryTests {
    typealias Fixture = StoreFixture

    @Test func evictsTheLeastRecentlyUsed() throws {
        let fixture = try Fixture(limit: 1 << 20)
        let keys = (0..<7).map { fixture.key("\($0)") }
        for (number, key) in keys[..<5].enumerated() { fixture.apply(key, Fixture.stamp(number), bytes: 120_000) }
        #expect(fixture.store.memory.evictions == 0)
        _ = fixture.read(keys[0])
        let third = keys[2]
        let tooSmall = fixture.store.copy(third.id, third.bytes.span.bytes, into: .init(start: nil, count: 0), now: Fixture.now)
        #expect(tooSmall == fixture.held(third).map { .tooSmall($0) })
        _ = fixture.held(keys[1])  // does not count as use
        fixture.apply(keys[3], Fixture.stamp(10), bytes: 120_000)
        // Used last: 1, 4, 0, 2, 3.
        fixture.apply(keys[5], Fixture.stamp(11), bytes: 120_000)
        fixture.apply(keys[6], Fixture.stamp(12), bytes: 120_000)
        let held = keys.map { fixture.held($0) != nil }
        let ofSix = [true, false, true, true, true, true, true]
        let ofFive = [true, false, true, true, false, true, true]
        #expect(held == (fixture.store.memory.evictions == 1 ? ofSix : ofFive))
        #expect(fixture.guardStamp(keys[1]) >= Fixture.stamp(1))
    }

    /// The hit ratio of exact LRU over a loop one longer than the store is zero, and over one that fits it is all but the first round.
    @Test func loopsHitNeverOrAlways() throws {
        let fixture = try Fixture(limit: 1 << 20)
        func hits(_ count: Int) -> Int {
            var hits = 0
            for round in 0..<4 {
                for number in 0..<count {
                    let key = fixture.key("\(count) \(number)")
                    if fixture.read(key) != nil {
                        hits += 1
                    } else {
                        fixture.apply(key, Fixture.stamp(round * 1000 + number), bytes: 100_000)
                    }
                }
            }
            return hits
        }
        #expect(hits(5) == 15)
        #expect(hits(9) == 0)
    }

    @Test func theBoundHoldsForEverySizeMix() throws {
        for seed in Seeds.chosen(1...3) {
            var random = SeededRandom(seed: seed)
            let store = try ByteStore(limit: 1 << 20, shards: 4, seed: seed)
            let cache = try store.register("c")
            for index in 0..<Slot.count { Slot(index: index).map { store.adopt($0) } }
            let value = [UInt8](repeating: 1, count: 1 << 17)
            for step in 0..<12_000 {
                let sizeMax = [50, 100_000, 700, 5000][step / 3000]
                let key = TestKey("\(step % 3500)", hash: publicHash("\(step % 3500)"), cache: cache)
                let span = value.span.extracting(0..<Int.random(in: 0...sizeMax, using: &random)).bytes
                let stamp = Fixture.stamp(step)
                let result = store.apply(key.id, key.bytes.span.bytes, value: span, stamp: stamp, ttl: nil, kind: .fill, now: Fixture.now)
                #expect(result == .stored, "replay: PEERCACHE_SEED=\(seed)")
                if step % 100 == 0 { #expect(store.memory.counted <= 1 << 20, "replay: PEERCACHE_SEED=\(seed)") }
                if step % 3000 == 2999 {
                    #expect(store.checkInvariants() == nil, "replay: PEERCACHE_SEED=\(seed)")
                    #expect(step < 3000 || store.memory.counted > 900_000, "memory is used: \(store.memory)")
                }
            }
        }
    }

    @Test func oneShardMayHoldAlmostAllOfTheLimit() throws {
        let fixture = try Fixture(limit: 8 << 20, shards: 2)
        for number in 0..<7000 { fixture.apply(fixture.key("\(number)"), Fixture.stamp(number), bytes: 800) }
        #expect(fixture.store.memory.evictions == 0)
    }

    @Test func anEmptyShardTakesRoomFromFullOnes() throws {
        let fixture = try Fixture(limit: 1 << 20, shards: 4)
        for number in 0..<20 { fixture.apply(fixture.key("\(number)"), Fixture.stamp(number), bytes: 50_000) }
        let late = Slot(hash: .max)
        fixture.store.adopt(late)
        let later = Tick(Fixture.now.value &+ 1000)
        for number in 0..<8 {
            fixture.apply(fixture.key("\(number)", slot: late), Fixture.stamp(100 + number), bytes: 50_000, now: later)
        }
        #expect(fixture.contents(of: late).count == 8, "older values of other shards go first")
        #expect(fixture.store.checkInvariants() == nil)
    }

    @Test func aLoweredLimitIsReachedBySweeps() throws {
        let fixture = try Fixture(limit: 64 << 20, shards: 4)
        for index in 0..<Slot.count { Slot(index: index).map { fixture.store.adopt($0) } }
        for number in 0..<20_000 {
            fixture.apply(TestKey("\(number)", hash: publicHash("\(number)"), cache: fixture.cache), Fixture.stamp(number), bytes: 900)
        }
        fixture.store.setLimit(0)
        #expect(fixture.store.memory.limit == 8 << 20)
        var sweeps = 0
        while fixture.store.sweep(now: Fixture.now, bytesMax: 1 << 20) { sweeps += 1 }
        #expect(sweeps > 5)
        #expect(fixture.store.memory.counted <= 8 << 20)
        #expect(fixture.store.memory.entries > 3000)
        #expect(fixture.store.checkInvariants() == nil)
    }

    @Test func anIdleStoreExpires() throws {
        let fixture = try Fixture()
        for number in 0..<3000 {
            fixture.apply(fixture.key("\(number)"), Fixture.stamp(0), ttl: number % 2 == 0 ? .seconds(1) : nil)
        }
        let before = fixture.store.memory.charged
        let now = Tick(Fixture.now.value &+ 100)
        #expect(fixture.store.expire(now: Fixture.now, entriesMax: .max) == 0)
        var calls = 0
        while fixture.store.memory.entries > 1500, calls < 100 {
            #expect(fixture.store.expire(now: now, entriesMax: 50) <= 50)
            calls += 1
        }
        #expect(fixture.store.memory.expiries == 1500)
        #expect(calls <= 31)
        #expect(fixture.store.memory.charged == before / 2)
        #expect(fixture.store.checkInvariants() == nil)
    }

    /// Ticks wrap around; the second half of their range is later than 0, where a wheel begins.
    @Test func expiryWorksInBothHalvesOfTheRange() throws {
        for milliseconds in [1_700_000_000_000, 1_790_000_000_000, 1_924_145_348_500] as [UInt64] {
            let fixture = try Fixture()
            let (key, now) = (fixture.key("a"), Tick(milliseconds: milliseconds))
            fixture.apply(key, Stamp(clock: milliseconds << 16, origin: 1), ttl: .seconds(60), now: now)
            #expect(fixture.read(key, now: now) != nil)
            #expect(fixture.store.expire(now: Tick(now.value &+ 900), entriesMax: .max) == 0)
            #expect(fixture.store.expire(now: Tick(now.value &+ 1000), entriesMax: .max) == 1)
        }
    }

    @Test func tombstonesAboveTheirShareAreCollectedOldestFirst() throws {
        let fixture = try Fixture(limit: 1 << 20)
        for number in 0..<1000 { fixture.applyTombstone(fixture.key("\(number)"), Fixture.stamp(number)) }
        #expect(fixture.store.memory.tombstones == 1000)
        #expect(!fixture.store.sweep(now: Fixture.now, bytesMax: .max))
        #expect(fixture.store.usage(of: fixture.cache).bytes <= (1 << 20) / 20)
        #expect(fixture.held(fixture.key("0")) == nil)
        #expect(fixture.held(fixture.key("999")) != nil)
        #expect(fixture.apply(fixture.key("0"), Fixture.stamp(0)) == .forgotten, "its floor keeps the removal")
        #expect(fixture.store.memory.collections > 0)
    }

    @Test func aFloodOfRemovalsDoesNotPushOutValues() throws {
        let fixture = try Fixture(limit: 1 << 20)
        for number in 0..<1000 { fixture.apply(fixture.key("v\(number)"), Fixture.stamp(number), bytes: 300) }
        for number in 0..<20_000 { fixture.applyTombstone(fixture.key("\(number)"), Fixture.stamp(5000 + number)) }
        #expect(fixture.store.memory.entries == 1000, "\(fixture.store.memory)")
    }

    @Test func impossibleLimitsAndShardsAreRefusedWithTheReason() {
        #expect(throws: StoreError.limitTooSmall(bytes: 5, minimum: 1 << 20)) { try ByteStore(limit: 5, shards: nil, seed: 0) }
        #expect(throws: StoreError.invalidShards(count: 3, max: 16)) { try ByteStore(limit: 1 << 20, shards: 3, seed: 0) }
        #expect(throws: StoreError.invalidShards(count: 32, max: 16)) { try ByteStore(limit: 1 << 20, shards: 32, seed: 0) }
        #expect("\(StoreError.limitTooSmall(bytes: 5, minimum: 9))" == "memory limit is 5 bytes; the smallest allowed is 9 bytes")
    }
}

import PeerCacheCore
import PeerCacheTesting
import Testing

/// The policies inside the store, and quotas of caches.
@Suite struct ByteStorePolicyTests {
    private final class Subject {
        let store: ByteStore
        private var stamp = StoreFixture.milliseconds << 16

        init(_ policy: PolicyKind, limit: Int = 2 << 20, shards: Int = 2) throws {
            store = try ByteStore(limit: limit, policy: policy, shards: shards, seed: 1)
            for index in 0..<Slot.count { Slot(index: index).map { store.adopt($0) } }
        }

        func key(_ number: Int, _ cache: CacheIndex) -> TestKey { TestKey("\(number)", hash: publicHash("\(number)"), cache: cache) }

        /// - Returns: whether it was a hit; a miss is filled.
        func get(_ number: Int, _ cache: CacheIndex, bytes: Int = 1000) -> Bool {
            let key = key(number, cache)
            if read(key) { return true }
            write(key, bytes: bytes, kind: .fill)
            return false
        }

        func read(_ key: TestKey) -> Bool {
            store.withValue(key.id, key.bytes.span.bytes, now: StoreFixture.now) { info, _ in info } != nil
        }

        @discardableResult
        func write(_ key: TestKey, bytes: Int = 1000, kind: WriteKind = .explicit) -> WriteResult {
            stamp += 1
            let value = [UInt8](repeating: UInt8(truncatingIfNeeded: stamp), count: bytes)
            return store.apply(
                key.id, key.bytes.span.bytes, value: value.span.bytes, stamp: Stamp(clock: stamp, origin: 1), ttl: nil, kind: kind,
                now: StoreFixture.now)
        }
    }

    /// Hot keys are read twice, then far more cold keys than fit pass by: what was used often stays, except under LRU.
    @Test(arguments: PolicyKind.allCases)
    func aScanDoesNotFlushWhatIsUsedOften(policy: PolicyKind) throws {
        let subject = try Subject(policy)
        let cache = try subject.store.register("items")
        for _ in 0..<6 { for number in 0..<300 { _ = subject.get(number, cache) } }
        for number in 1000..<9000 { _ = subject.get(number, cache) }
        let hits = (0..<300).count { subject.read(subject.key($0, cache)) }
        #expect(policy == .lru ? hits == 0 : hits > 250, "\(hits) of 300")
        #expect(subject.store.checkInvariants() == nil)
    }

    /// An explicit write is there afterwards, whatever the policy thinks of the key.
    @Test(arguments: PolicyKind.allCases)
    func whatIsSetCanBeRead(policy: PolicyKind) throws {
        let subject = try Subject(policy)
        let cache = try subject.store.register("items")
        for _ in 0..<6 { for number in 0..<2000 { _ = subject.get(number, cache) } }
        for number in 5000..<9000 {
            let key = subject.key(number, cache)
            #expect(subject.write(key) == .stored)
            #expect(subject.read(key))
        }
    }

    /// Sketches and ghosts count against the limit, also when they have to grow in a full store.
    @Test(arguments: [PolicyKind.tinyLFU, .s3fifo])
    func tablesOfThePolicyGrowInAFullStore(policy: PolicyKind) throws {
        let subject = try Subject(policy, limit: 4 << 20, shards: 1)
        let cache = try subject.store.register("items")
        for number in 0..<100 { subject.write(subject.key(number, cache), bytes: 100_000) }
        for number in 1000..<40_000 {
            subject.write(subject.key(number, cache), bytes: 20)
            if number % 100 == 0 { _ = subject.store.sweep(now: StoreFixture.now, bytesMax: 1 << 20) }
            #expect(subject.store.memory.counted <= 4 << 20)
        }
        #expect(subject.store.checkInvariants() == nil)
        #expect(subject.store.policyBytes > subject.store.memory.entries * 3, "\(subject.store.policyBytes) bytes")
    }

    @Test(arguments: PolicyKind.allCases)
    func aCacheWithAQuotaStaysBelowItAndLeavesOthersAlone(policy: PolicyKind) throws {
        let subject = try Subject(policy, limit: 8 << 20)
        let (small, large) = (try subject.store.register("small"), try subject.store.register("large"))
        try subject.store.setQuota(small, 1 << 20)
        for number in 0..<2000 { subject.write(subject.key(number, large)) }
        for number in 0..<20_000 {
            #expect(subject.write(subject.key(number, small)) == .stored)
            #expect(subject.store.usage(of: small).valueBytes <= 1 << 20)
        }
        #expect(subject.store.usage(of: small).entries > 900)
        #expect(subject.store.usage(of: large).entries == 2000)
        #expect(subject.store.checkInvariants() == nil)
    }

    /// Entries move to lists of their own when the quota comes, and back when it goes.
    @Test(arguments: PolicyKind.allCases)
    func quotasComeChangeAndGo(policy: PolicyKind) throws {
        let subject = try Subject(policy, limit: 8 << 20)
        let (one, other) = (try subject.store.register("one"), try subject.store.register("other"))
        for number in 0..<2000 {
            subject.write(subject.key(number, one))
            subject.write(subject.key(number, other))
        }
        let before = subject.store.memory.counted
        try subject.store.setQuota(one, 1 << 20)
        #expect(subject.store.usage(of: one).bytes <= 1 << 20 && subject.store.usage(of: other).entries == 2000)
        #expect(subject.store.checkInvariants() == nil)
        try subject.store.setQuota(one, 2 << 20)
        for number in 0..<2000 { subject.write(subject.key(number, one)) }
        #expect((1 << 20...2 << 20).contains(subject.store.usage(of: one).bytes))
        try subject.store.setQuota(one, nil)
        for number in 0..<2000 { subject.write(subject.key(number, one)) }
        #expect(subject.store.usage(of: one).entries == 2000)
        #expect(subject.store.checkInvariants() == nil)
        #expect(subject.store.memory.counted <= before)
    }

    /// Removals are not values: they may be many more than the quota's worth.
    @Test func tombstonesDoNotCountAgainstTheQuota() throws {
        let subject = try Subject(.lru, limit: 64 << 20, shards: 4)
        let cache = try subject.store.register("items")
        try subject.store.setQuota(cache, 1 << 20)
        for number in 0..<300 { subject.write(subject.key(number, cache)) }
        for number in 1000..<21_000 {
            let key = subject.key(number, cache)
            _ = subject.store.remove(
                key.id, key.bytes.span.bytes, keep: Tick(StoreFixture.now.value &+ 10_000), now: StoreFixture.now
            ) { max($0, StoreFixture.stamp(number)) }
        }
        #expect(subject.store.usage(of: cache).bytes > 1 << 20)
        #expect((0..<300).allSatisfy { subject.read(subject.key($0, cache)) })
    }

    /// One value that is larger than the quota is refused and takes nothing with it but its own predecessor.
    @Test func aValueLargerThanTheQuotaIsForgotten() throws {
        let subject = try Subject(.lru, limit: 64 << 20)
        let cache = try subject.store.register("items")
        try subject.store.setQuota(cache, 1 << 20)
        for number in 0..<500 { subject.write(subject.key(number, cache)) }
        #expect(subject.write(subject.key(3, cache), bytes: 2 << 20) == .forgotten)
        #expect(subject.store.usage(of: cache).entries == 499 && !subject.read(subject.key(3, cache)))
    }

    /// Each shard gives way to its own writes, and a quota that comes late takes from all shards alike.
    @Test(arguments: PolicyKind.allCases)
    func shardsKeepTheirPartOfAQuota(policy: PolicyKind) throws {
        let subject = try Subject(policy, limit: 64 << 20, shards: 8)
        let cache = try subject.store.register("items")
        for number in 0..<8000 { subject.write(subject.key(number, cache)) }
        try subject.store.setQuota(cache, 2 << 20)
        let before = subject.store.memory.entries
        for number in 0..<40_000 { _ = subject.get(number % 3000, cache) }
        var held = [Int](repeating: 0, count: 8)
        for number in 0..<8000 where subject.store.held(subject.key(number, cache).id, subject.key(number, cache).bytes.span.bytes) != nil {
            held[subject.key(number, cache).id.slot.index / (Slot.count / 8)] += 1
        }
        #expect(held.allSatisfy { (before / 8 / 2...before / 8 * 2).contains($0) }, "\(held) of \(before)")
    }

    /// What was used often keeps its advantage when the cache gets a quota.
    @Test(arguments: PolicyKind.allCases)
    func hotValuesSurviveTheComingOfAQuota(policy: PolicyKind) throws {
        let subject = try Subject(policy, limit: 8 << 20, shards: 1)
        let cache = try subject.store.register("items")
        for _ in 0..<6 { for number in 0..<600 { _ = subject.get(number, cache) } }
        for number in 1000..<9000 { _ = subject.get(number, cache) }
        for _ in 0..<6 { for number in 0..<600 { _ = subject.get(number, cache) } }
        try subject.store.setQuota(cache, 1 << 20)
        let hot = (0..<600).count { subject.read(subject.key($0, cache)) }
        #expect(hot > 550, "\(hot) of 600")
    }

    /// A store that becomes much smaller gives its tables up too.
    @Test(arguments: PolicyKind.allCases)
    func aMuchLowerLimitLeavesRoomForValues(policy: PolicyKind) throws {
        let subject = try Subject(policy, limit: 4 << 30, shards: 32)
        let cache = try subject.store.register("items")
        for number in 0..<20_000 { subject.write(subject.key(number, cache), bytes: 20) }
        subject.store.setLimit(8 << 20)
        for _ in 0..<200 { _ = subject.store.sweep(now: StoreFixture.now, bytesMax: 32 << 20) }
        #expect(subject.store.memory.counted <= 8 << 20)
        #expect(subject.store.memory.entries > 10_000)
        #expect(subject.write(subject.key(1, cache)) == .stored)
    }

    @Test func moreQuotasThanAllowedAreRefusedAndSmallOnesRaised() throws {
        let subject = try Subject(.lru, limit: 64 << 20)
        for number in 0..<64 { try subject.store.setQuota(try subject.store.register("\(number)"), 1) }
        let last = try subject.store.register("last")
        #expect(throws: StoreError.tooManyQuotas(max: 64)) { try subject.store.setQuota(last, 1 << 20) }
        for number in 0..<900 { subject.write(subject.key(number, CacheIndex(3))) }
        #expect(subject.store.usage(of: CacheIndex(3)).entries == 900)
        try subject.store.setQuota(CacheIndex(999), 1)  // no such cache: nothing happens
        #expect(subject.store.checkInvariants() == nil)
    }
}

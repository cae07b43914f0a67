import PeerCacheCore
import PeerCacheTesting
import Synchronization
import Testing

private final class SharedClock: Sendable {
    let last = Atomic<UInt64>(StoreFixture.milliseconds << 16)
}

/// Several threads at once: no torn value, no byte above the limit, and afterwards everything adds up. TSan runs this too.
@Suite struct ByteStoreConcurrencyTests {
    @Test(arguments: Seeds.chosen(1...2), PolicyKind.allCases)
    func threadsSeeWholeValuesWithinTheBound(seed: UInt64, policy: PolicyKind) async throws {
        let store = try ByteStore(limit: 1 << 20, policy: policy, shards: 8, seed: seed)
        let cache = try store.register("users")
        for index in 0..<Slot.count { Slot(index: index).map { store.adopt($0) } }
        let clock = SharedClock()
        let problem = await withTaskGroup(of: String?.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    var random = SeededRandom(seed: seed &* 31 &+ UInt64(worker))
                    for _ in 0..<4000 {
                        if let problem = Self.step(store, cache, clock, UInt32(worker), &random) { return problem }
                    }
                    return nil
                }
            }
            var problem: String? = nil
            for await result in group { problem = problem ?? result }
            return problem
        }
        #expect(problem == nil, "PEERCACHE_SEED=\(seed)")
        #expect(store.checkInvariants() == nil, "PEERCACHE_SEED=\(seed)")
        #expect(store.memory.evictions > 0)
    }

    private static func step(
        _ store: ByteStore, _ cache: CacheIndex, _ clock: SharedClock, _ origin: UInt32, _ random: inout SeededRandom
    ) -> String? {
        let text = "\(Int.random(in: 0..<300, using: &random))"
        let key = TestKey(text, hash: publicHash(text), cache: cache)
        let span = key.bytes.span.bytes
        let now = StoreFixture.now
        let stamp = Stamp(clock: clock.last.wrappingAdd(1, ordering: .relaxed).newValue, origin: origin)
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<40:
            let fill = UInt8.random(in: 0...255, using: &random)
            let value = [UInt8](repeating: fill, count: Int.random(in: 0..<20_000, using: &random))
            _ = store.set(key.id, span, value: value.span.bytes, ttl: .seconds(60), now: now) {
                max(stamp, Stamp(clock: $0.clock + 1, origin: origin))
            }
        case 40..<80:
            let isWhole = store.withValue(key.id, span, now: now) { info, value in
                value.withUnsafeBytes { $0.count == info.valueBytes && $0.first == $0.last && ($0.isEmpty || $0[$0.count / 2] == $0[0]) }
            }
            if isWhole == false { return "a torn value" }
        case 80..<89: _ = store.applyTombstone(key.id, span, stamp: stamp, keep: Tick(now.value &+ 100), now: now)
        case 90: store.raiseCacheFloor(cache, to: Stamp(clock: stamp.clock &- 5000, origin: 0))
        case 89: try? store.setQuota(cache, Bool.random(using: &random) ? nil : 1)
        case 91: _ = store.sweep(now: now, bytesMax: 100_000)
        case 92: _ = store.expire(now: Tick(now.value &+ UInt32.random(in: 0..<1000, using: &random)), entriesMax: 50)
        case 93:
            store.forget(key.id.slot)
            store.adopt(key.id.slot)
        case 94:
            for bucket in BucketIndex.all(of: key.id.slot) {
                _ = store.readBucket(bucket, now: now, valueBytesMax: { 1_000 }) { _, _, _, _ in }
            }
        case 95: _ = store.drop(key.id, span)
        default:
            if store.memory.counted > store.memory.limit { return "above the limit" }
        }
        return nil
    }
}

import Foundation
import PeerCacheCore
import PeerCacheTesting
import Testing

/// Random operations against ``StoreModel``: every answer must agree, and every hundredth operation everything held.
///
/// 1,100,000 operations; `PEERCACHE_OPERATIONS` is another number for each of the eleven runs, for example under Thread Sanitizer.
@Suite struct StoreModelTests {
    static let operations = ProcessInfo.processInfo.environment["PEERCACHE_OPERATIONS"].flatMap { Int($0) } ?? 100_000

    @Test(arguments: Seeds.chosen(1...4))
    func agreesWithTheModelWhenEverythingFits(seed: UInt64) throws {
        var run = try ModelRun(seed: seed, limit: 64 << 20, floorsPerSlot: 8, keys: 120, valueBytesMax: 300)
        run.perform(Self.operations)
        #expect(run.store.memory.evictions == 0)
    }

    @Test(arguments: Seeds.chosen(1...4))
    func agreesWithTheModelWhenTheLeastRecentlyUsedIsEvicted(seed: UInt64) throws {
        var run = try ModelRun(seed: seed, limit: 3 << 20, floorsPerSlot: 2, keys: 120, valueBytesMax: 100_000)
        run.perform(Self.operations)
        #expect(run.store.memory.evictions > Self.operations / 1000)
    }

    /// Whatever the policy chooses: what it evicted is gone, with a floor in its place, and nothing else is.
    @Test(arguments: PolicyKind.allCases)
    func agreesWithTheModelUnderEachPolicyWithQuotas(policy: PolicyKind) throws {
        var run = try ModelRun(
            seed: Seeds.chosen(7...7)[0], limit: 3 << 20, floorsPerSlot: 2, keys: 120, valueBytesMax: 100_000, policy: policy)
        run.perform(Self.operations)
        #expect(run.store.memory.evictions > Self.operations / 1000)
    }
}

private struct ModelRun {
    let store: ByteStore
    private var model: StoreModel
    private var random: SeededRandom
    private let seed: UInt64
    private let keys: [TestKey]
    private let slots: [Slot]
    private let caches: [CacheIndex]
    private let valueBytesMax: Int
    /// Every hit moves, so the model knows what is evicted; no quotas.
    private let isExact: Bool
    private let limit: Int
    private var quotas: [CacheIndex: Int] = [:]
    private var milliseconds: UInt64 = 1_700_000_000_000
    private var clock: UInt64 = 0
    private var step = 0

    /// - Parameter policy: nil: exact LRU.
    init(seed: UInt64, limit: Int, floorsPerSlot: Int, keys count: Int, valueBytesMax: Int, policy: PolicyKind? = nil) throws {
        self.seed = seed
        self.limit = limit
        isExact = policy == nil
        self.valueBytesMax = valueBytesMax
        let store = try ByteStore(limit: limit, policy: policy ?? .lru, shards: 1, seed: seed, isExact: policy == nil)
        var random = SeededRandom(seed: seed)
        let caches = try ["users", "carts", "prices"].map { try store.register($0) }
        let slots = (0..<6).map { _ in Slot(hash: random.next()) }
        var keys: [TestKey] = []
        for number in 0..<count {
            let slot = UInt64(slots[number % slots.count].index)
            var hash = slot << 50 | random.next() >> 14
            if number % 10 == 9, let other = keys.last?.id.hash { hash = other }  // equal hashes, other bytes
            let text = number == 3 ? "" : number == 5 ? String(repeating: "long", count: 257) : "key-\(number)"
            for cache in caches { keys.append(TestKey(text, hash: hash, cache: cache)) }
        }
        self.store = store
        self.random = random
        self.caches = caches
        self.slots = slots
        self.keys = keys
        model = StoreModel(limit: limit, floorsPerSlot: floorsPerSlot)
        for slot in slots {
            store.adopt(slot)
            model.slots.insert(slot.index)
        }
    }

    private var now: Tick { Tick(milliseconds: milliseconds) }

    mutating func perform(_ count: Int) {
        for _ in 0..<count {
            step += 1
            guard operation(), step % 100 != 0 || everythingAgrees() else { return }
        }
    }

    /// Reports the first difference and ends the run.
    private func agree<T: Equatable>(_ theirs: T, _ ours: T, _ what: String) -> Bool {
        if theirs == ours { return true }
        Issue.record("\(what): store \(theirs), model \(ours), step \(step). Replay: PEERCACHE_SEED=\(seed)")
        return false
    }

    private mutating func pick(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

    private mutating func nextClock() -> UInt64 {
        clock = max(clock + 1, milliseconds << 16)
        return clock
    }

    private mutating func operation() -> Bool {
        let key = keys[pick(keys.count)]
        switch pick(1000) {
        case 0..<250: return write(key, .value(bytes: valueLength(), fill: UInt8(pick(256)), ttl: ttl()), stamp: nil)
        case 250..<400: return write(key, .value(bytes: valueLength(), fill: UInt8(pick(256)), ttl: ttl()), stamp: foreignStamp(key))
        case 400..<450: return write(key, .tombstone(keep: keep()), stamp: nil)
        case 450..<500: return write(key, .tombstone(keep: keep()), stamp: foreignStamp(key))
        case 500..<750: return read(key)
        case 750..<850: return agree(store.held(key.id, key.bytes.span.bytes), model.visible(key)?.info, "held")
        case 850..<900: return agree(store.guardStamp(key.id, key.bytes.span.bytes), model.guardStamp(key), "guard")
        case 900..<920:
            let dropped = store.drop(key.id, key.bytes.span.bytes)
            defer { model.drop(key) }
            return agree(dropped, model.visible(key) != nil, "drop")
        case 920..<970:
            milliseconds += UInt64(pick(1000))
            return true
        case 970..<980: return expireAndSweep()
        case 980..<990: return iterate(slots[pick(slots.count)])
        case 990..<992: return forget(slots[pick(slots.count)])
        case 992: return changeLimit()
        case 993 where !isExact: return changeQuota()
        case 993..<997:
            let stamp = Stamp(clock: clock &- UInt64(pick(1 << 30)), origin: 7)
            store.raiseFloor(of: key.id.bucket, to: stamp)
            model.raiseFloor(key.id.bucket, stamp)
            return agree(store.floor(of: key.id.bucket), model.floor(key.id.bucket), "floor")
        default:
            let stamp = Stamp(clock: clock &- UInt64(pick(1 << 30)), origin: UInt32(pick(3)))
            store.raiseCacheFloor(key.id.cache, to: stamp)
            model.cacheFloors[key.id.cache] = max(stamp, model.cacheFloors[key.id.cache] ?? .zero)
            // Where the model asks what was evicted, nothing that was cleared must be held.
            return agree(store.cacheFloor(key.id.cache), model.cacheFloors[key.id.cache] ?? .zero, "cache floor")
                && (isExact || sweep(evictionsBefore: store.memory.evictions))
        }
    }

    private mutating func valueLength() -> Int { pick(200) == 0 ? model.limit / 8 + 1 : pick(valueBytesMax) }

    private mutating func ttl() -> Duration? {
        switch pick(10) {
        case 0..<5: nil
        case 5: .milliseconds(pick(300) - 150)
        default: .milliseconds(pick(100_000))
        }
    }

    private mutating func keep() -> Tick { Tick(now.value &+ UInt32(pick(2000))) }

    /// Of another peer: late, ahead, or the very stamp that is held.
    private mutating func foreignStamp(_ key: TestKey) -> Stamp {
        switch pick(10) {
        case 0: model.guardStamp(key)
        case 1..<5: Stamp(clock: clock &- UInt64(pick(1 << 28)), origin: UInt32(pick(3)))
        default: Stamp(clock: nextClock(), origin: UInt32(pick(3)))
        }
    }

    private mutating func write(_ key: TestKey, _ content: StoreModel.Content, stamp: Stamp?) -> Bool {
        expireBeforeWrite(key)
        let before = store.memory.evictions
        var guardSeen: Stamp? = nil
        let next = nextClock()
        let mint: (Stamp) -> Stamp = {
            guardSeen = $0
            return Stamp(clock: max(next, $0.clock + 1), origin: 9)
        }
        var result: WriteResult
        var final = stamp ?? .zero
        let bytes = key.bytes.span.bytes
        switch (content, stamp) {
        case (.value(let count, let fill, let ttl), let stamp):
            let value = [UInt8](repeating: fill, count: count)
            if let stamp {
                result = store.apply(key.id, bytes, value: value.span.bytes, stamp: stamp, ttl: ttl, kind: .fill, now: now)
            } else {
                (result, final) = store.set(key.id, bytes, value: value.span.bytes, ttl: ttl, now: now, mint: mint)
            }
        case (.tombstone(let keep), let stamp?): result = store.applyTombstone(key.id, bytes, stamp: stamp, keep: keep, now: now)
        case (.tombstone(let keep), nil): (result, final) = store.remove(key.id, bytes, keep: keep, now: now, mint: mint)
        }
        clock = max(clock, final.clock)
        let evictions = evictions(since: before, sparing: key)
        let expected = model.write(key, final, content, isMinted: stamp == nil, evictions: evictions, now: now)
        if stamp == nil, result != .notHolder, guardSeen == nil { return agree(true, false, "mint was not called") }
        return agree(result, expected, "write of \(content) at \(final), \(evictions)")
            && quotasAreKept() && agree(store.held(key.id, bytes), model.visible(key)?.info, "held after write")
    }

    /// A writer drops what is due before it looks for its key, but not many at once.
    private mutating func expireBeforeWrite(_ key: TestKey) {
        guard model.slots.contains(key.id.slot.index) else { return }
        let (before, now) = (model, now)
        let dead = before.held.filter { before.isDead($0.value, now) }
        if dead.count > 10 { _ = store.expire(now: now, entriesMax: .max) }
        for key in dead.keys { model.drop(key) }
    }

    private mutating func read(_ key: TestKey) -> Bool {
        let expected = model.read(key, now: now)
        if pick(2) == 0 {
            let value = store.withValue(key.id, key.bytes.span.bytes, now: now) { info, value in
                value.withUnsafeBytes { bytes in "\(info) \(bytes.isEmpty ? 0 : bytes[bytes.count / 2])" }
            }
            return agree(value, expected.map { "\($0.info) \($0.info.valueBytes == 0 ? 0 : $0.fill)" }, "withValue")
        }
        var buffer = [UInt8](repeating: 0, count: 10_000)
        let result = buffer.withUnsafeMutableBytes { store.copy(key.id, key.bytes.span.bytes, into: $0, now: now) }
        guard let expected else { return agree(result, .miss, "copy") }
        guard expected.info.valueBytes <= buffer.count else { return agree(result, .tooSmall(expected.info), "copy") }
        let last = expected.info.valueBytes > 0 ? buffer[expected.info.valueBytes - 1] : expected.fill
        return agree(result, .hit(expected.info), "copy") && agree(last, expected.fill, "last byte")
    }

    /// What the store evicted. The model knows itself in which order if that is exact.
    private func evictions(since before: Int, sparing spared: TestKey?) -> StoreModel.Evictions {
        let count = store.memory.evictions - before
        if isExact || count == 0 { return .leastRecent(count) }
        let gone = model.held.keys.filter { $0 != spared && store.held($0.id, $0.bytes.span.bytes) == nil }
        if gone.count != count {
            Issue.record("\(gone.count) entries are gone, \(count) evicted, step \(step). PEERCACHE_SEED=\(seed)")
        }
        return .keys(gone)
    }

    private func quotasAreKept() -> Bool {
        quotas.allSatisfy { cache, quota in
            let bytes = store.usage(of: cache).valueBytes
            return agree(bytes <= quota, true, "\(bytes) bytes of a cache with a quota of \(quota)")
        }
    }

    private mutating func changeQuota() -> Bool {
        let cache = caches[pick(caches.count)]
        let quota = pick(3) == 0 ? nil : 1 << 20 + pick(1 << 20)
        let before = store.memory.evictions
        do { try store.setQuota(cache, quota) } catch { return agree("\(error)", "", "quota") }
        model.evict(evictions(since: before, sparing: nil), sparing: nil)
        quotas[cache] = quota
        return quotasAreKept()
    }

    /// Only where entries are evicted anyway.
    private mutating func changeLimit() -> Bool {
        guard limit < 8 << 20 else { return true }
        let (bytes, before) = (2 << 20 + pick(2 << 20), store.memory.evictions)
        store.setLimit(bytes)
        model.limit = bytes
        return sweep(evictionsBefore: before) && agree(store.memory.counted <= bytes, true, "bytes above a lowered limit")
    }

    private mutating func expireAndSweep() -> Bool {
        _ = store.expire(now: now, entriesMax: .max)
        let (now, cleared) = (now, model)
        model.dropAll { _, entry in cleared.isDead(entry, now) }
        if pick(2) == 0 {
            return sweep(evictionsBefore: store.memory.evictions)
        }
        return true
    }

    private mutating func sweep(evictionsBefore before: Int) -> Bool {
        let (left, cleared) = (store.sweep(now: now, bytesMax: .max), model)
        if isExact || model.held.allSatisfy({ !cleared.isCleared($0.key, $0.value) }) {
            model.evict(evictions(since: before, sparing: nil), sparing: nil)
        }
        while model.hasTooManyTombstones, let key = model.oldest(tombstones: true, sparing: nil) { model.drop(key) }
        model.dropAll { key, entry in cleared.isCleared(key, entry) }
        return agree(left, false, "work left after a sweep without bound")
    }

    private mutating func forget(_ slot: Slot) -> Bool {
        if model.slots.contains(slot.index) {
            store.forget(slot)
            model.forget(slot)
        } else {
            store.adopt(slot)
            model.slots.insert(slot.index)
        }
        return agree(store.isHeld(slot), model.slots.contains(slot.index), "held slot")
    }

    private mutating func iterate(_ slot: Slot) -> Bool {
        let (now, before) = (now, model)
        model.dropAll { key, entry in key.id.slot == slot && (before.isDead(entry, now) || before.isCleared(key, entry)) }
        var seen: [TestKey: EntryInfo] = [:]
        var (last, isOrdered, repeats) = (UInt64(0), true, 0)
        let valueBytesMax = pick(40_000)
        for bucket in BucketIndex.all(of: slot) {
            _ = store.readBucket(bucket, now: now, valueBytesMax: { valueBytesMax }) { id, key, info, value in
                isOrdered = isOrdered && id.hash >= last && id.hash & 0xFFFF_FFFF == 0 && id.bucket == bucket
                isOrdered = isOrdered && (info.valueBytes > valueBytesMax ? value == nil : value?.count == info.valueBytes)
                last = id.hash
                let key = TestKey(String(decoding: key, as: UTF8.self), hash: id.hash, cache: id.cache)
                if seen.updateValue(info, forKey: key) != nil { repeats += 1 }
            }
        }
        var expected: [TestKey: EntryInfo] = [:]
        for (key, entry) in model.held where key.id.slot == slot {
            var key = key
            key.id.hash = StoreFixture.kept(key.id.hash)
            expected[key] = entry.info
        }
        return agree(isOrdered, true, "order of hash") && agree(repeats, 0, "seen twice") && agree(seen, expected, "iteration")
    }

    private func everythingAgrees() -> Bool {
        guard agree(store.checkInvariants(), nil, "invariants") else { return false }
        for key in keys where store.held(key.id, key.bytes.span.bytes) != model.visible(key)?.info {
            return agree(store.held(key.id, key.bytes.span.bytes), model.visible(key)?.info, "held of \(key)")
        }
        for cache in caches {
            var usage = CacheUsage()
            for (key, entry) in model.held where key.id.cache == cache {
                usage.bytes += entry.charge
                if entry.info.isTombstone {
                    usage.tombstones += 1
                } else {
                    usage.entries += 1
                    usage.valueBytes += entry.charge
                }
            }
            guard agree(store.usage(of: cache), usage, "usage") else { return false }
        }
        let memory = store.memory
        return agree(memory.counted <= memory.limit, true, "bound") && agree(memory.slotsHeld, model.slots.count, "slots held")
            && agree(memory.entries + memory.tombstones, model.held.count, "entries")
    }
}

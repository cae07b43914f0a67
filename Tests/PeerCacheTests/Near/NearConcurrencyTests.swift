import CAllocationCounter
import PeerCache
import PeerCacheCore
import PeerCacheTesting
import Synchronization
import Testing

@Suite struct NearConcurrencyTests {
    /// Calls the store that lets it go: a deadlock, were it released under a lock.
    final class Caller: Sendable {
        let store: NearStore, hash: UInt64, calls: Tracked.Count

        init(_ store: NearStore, hash: UInt64, calls: Tracked.Count) {
            self.store = store
            self.hash = hash
            self.calls = calls
        }

        deinit {
            [UInt8](repeating: 1, count: 20).withUnsafeBytes {
                _ = store.object(hash: hash, cache: 1, key: $0, nowMilliseconds: 0)
                store.invalidate(hash: hash, cache: 1, key: $0, upTo: .zero)
            }
            _ = store.usage
            store.sweep(nowMilliseconds: 0, entriesMax: 10)
            calls.living.add(1, ordering: .relaxed)
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: [1, 16])
    func aDeinitMayCallTheStore(shards: Int) {
        let near = Near(entries: 100, cost: 100_000, shards: shards), calls = Tracked.Count()
        var inserted = 0
        func insert(_ key: String, stamp: UInt64, expires: UInt64 = 1000, bytes: Int = 10) {
            let hash = Near.hash(key)
            Array(key.utf8).withUnsafeBytes {
                _ = near.store.insert(
                    Caller(near.store, hash: hash, calls: calls), hash: hash, cache: 1, key: $0, encodedBytes: bytes,
                    stamp: Stamp(clock: stamp, origin: 1), expires: expires, nowMilliseconds: 0)
            }
            inserted += 1
        }
        for key in 0..<300 { insert("\(key)", stamp: 5) }  // evicted
        for key in 0..<300 { insert("\(key)", stamp: 6) }  // replaced
        for key in 0..<300 { insert("\(key)", stamp: 6, bytes: 50_000) }  // too large
        for key in 0..<300 { insert("\(key)", stamp: 1) }  // superseded, or stored where the newer one was evicted
        for key in 0..<300 { near.invalidate("\(key)", upTo: 7) }
        for key in 0..<300 { insert("\(key)", stamp: 8) }
        near.store.sweep(nowMilliseconds: 1000, entriesMax: 50)
        near.store.setLimits(.init(entriesMax: 10, costMax: 100_000), nowMilliseconds: 0)
        near.store.removeAll()
        #expect(calls.value == inserted && near.store.usage.entries == 0)
    }

    /// For the thread sanitizer; the checks hold without it too.
    @Test func threadsMayDoEverythingAtOnce() async {
        let near = Near(entries: 200, cost: 60_000, shards: 4), count = Tracked.Count(), store = near.store
        await withTaskGroup(of: Bool.self) { group in
            for seed in 1...4 as ClosedRange<UInt64> {
                group.addTask {
                    var random = SeededRandom(seed: seed), isGood = true
                    for step in 0..<20_000 {
                        let number = Int.random(in: 0..<400, using: &random),
                            key = number % 2 == 0 ? "\(number)" : "a long key for number \(number)"
                        switch Int.random(in: 0..<100, using: &random) {
                        case 0..<60: isGood = isGood && (near.get(key) ?? number) == number
                        case 60..<92: near.insert(key, number, stamp: UInt64(step), bytes: 100, count: count)
                        case 92..<97: near.invalidate(key, upTo: UInt64(step))
                        case 97: store.sweep(nowMilliseconds: 5, entriesMax: 30)
                        case 98: store.raiseCacheFloor(1, to: Stamp(clock: UInt64(step / 2), origin: 0))
                        default: if step % 7 == 0 { store.removeAll() } else { _ = store.usage }
                        }
                        let usage = store.usage
                        isGood = isGood && usage.entries <= 200 && usage.cost <= 60_000
                    }
                    return isGood
                }
            }
            for await isGood in group { #expect(isGood) }
        }
        #expect(store.usage.entries == count.value && count.value > 0)
        store.removeAll()
        #expect(store.usage.entries == 0 && store.usage.cost == 0 && count.value == 0)
    }

    /// Readers without a lock while writers replace, remove and grow: every hit is the value that belongs to its key, alive, and each object is
    /// let go exactly once.
    @Test(.timeLimit(.minutes(1))) func readersSeeWholeRecordsWhileWritersMoveThem() async {
        let near = Near(entries: 3000, cost: 1 << 30, shards: 2), count = Tracked.Count(), store = near.store
        let keys = (0..<600).map { $0 % 2 == 0 ? "\($0)" : "a key with memory of its own: \($0)" }
        let isOver = Tracked.Count(), hits = Tracked.Count()
        await withTaskGroup(of: Bool.self) { group in
            for reader in 1...2 as ClosedRange<UInt64> {
                group.addTask {
                    var random = SeededRandom(seed: reader), isGood = true, found = 0, looks = 0
                    // At least so many, whenever it gets a thread.
                    while isOver.value == 0 || looks < 20_000 {
                        looks += 1
                        if looks % 1024 == 0 { await Task.yield() }
                        let number = Int.random(in: 0..<keys.count, using: &random)
                        guard let value = near.get(keys[number]) else { continue }
                        isGood = isGood && value % keys.count == number
                        found += 1
                    }
                    hits.living.add(found, ordering: .relaxed)
                    return isGood
                }
            }
            group.addTask {
                var random = SeededRandom(seed: 9)
                for step in 1...60_000 {
                    let number = Int.random(in: 0..<keys.count, using: &random)
                    if step % 5 == 0 {
                        near.invalidate(keys[number], upTo: UInt64(step))
                    } else {
                        near.insert(keys[number], step * keys.count + number, stamp: UInt64(step), count: count)
                    }
                    if step % 10_000 == 0 { store.removeAll() }
                    if step % 256 == 0 { await Task.yield() }
                }
                isOver.living.store(1, ordering: .relaxed)
                return true
            }
            for await isGood in group { #expect(isGood) }
        }
        #expect(hits.value > 0)
        store.sweep(nowMilliseconds: 0, entriesMax: 1)  // lets go what readers held up
        #expect(count.value == store.usage.entries)
    }

    static let isCounting = peercache_test_allocations() >= 0

    @Test(.enabled(if: isCounting, "allocations cannot be counted here"), arguments: [1, 20, 21, 100])
    func aHitAllocatesNothing(keyBytes: Int) {
        let near = Near(), key = [UInt8](repeating: 0x61, count: keyBytes), text = String(repeating: "a", count: keyBytes)
        near.insert(text, 1)
        let hash = Near.hash(text)
        var found = 0
        func hit(_ bytes: UnsafeRawBufferPointer) {
            if near.store.object(hash: hash, cache: 1, key: bytes, nowMilliseconds: 0) != nil { found += 1 }
            if near.store.object(hash: hash, cache: 2, key: bytes, nowMilliseconds: 0) != nil { found += 1 }
        }
        key.withUnsafeBytes { hit($0) }  // the runtime's own caches, in debug builds
        let counted = key.withUnsafeBytes { bytes in allocations { hit(bytes) } }
        #expect(counted == 0 && found == 1001)
        // The count sees what it should: the same with a copy of the key.
        let copying = allocationsWhileCopying(key, hit)
        #expect(copying >= 1000)
    }

    private func allocationsWhileCopying(_ key: [UInt8], _ hit: (UnsafeRawBufferPointer) -> Void) -> Int64 {
        allocations {
            var copy = key
            copy[0] ^= UInt8(truncatingIfNeeded: copy.count) & 0  // makes it a copy
            copy.withUnsafeBytes { hit($0) }
        }
    }

    /// Allocations of this thread in a thousand calls.
    private func allocations(_ body: () -> Void) -> Int64 {
        let before = peercache_test_allocations()
        for _ in 0..<1000 { body() }
        return peercache_test_allocations() - before
    }
}

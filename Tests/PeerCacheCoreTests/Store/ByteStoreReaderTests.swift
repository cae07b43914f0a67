import PeerCacheCore
import PeerCacheTesting
import Synchronization
import Testing

/// Readers without a lock beside writers: values are uniform, so a torn one shows. To be run in release and under TSan too.
@Suite struct ByteStoreReaderTests {
    private final class Flag: Sendable { let isSet = Atomic<Bool>(false) }

    @Test(arguments: [16, 200, 1500, 9000, 150_000])
    func noValueIsTorn(bytesMax: Int) async throws {
        let store = try ByteStore(limit: 4 << 20, shards: 2, seed: 1)
        let cache = try store.register("users")
        for index in 0..<Slot.count { Slot(index: index).map { store.adopt($0) } }
        let steps = 200_000_000 / (bytesMax + 20_000)
        let problems = await withTaskGroup(of: Int.self) { group in
            // A writer and a reader side by side, as there may be two threads only; then another pair.
            for worker in 0..<2 {
                group.addTask { Self.write(store, cache, worker, bytesMax: bytesMax, steps: steps) }
                group.addTask { Self.read(store, cache, worker, steps: steps) }
            }
            return await group.reduce(0, +)
        }
        #expect(problems == 0)
        #expect(store.checkInvariants() == nil)
    }

    /// Of what is too long to be copied here and now, a visitor learns how long it is.
    @Test(arguments: [10, 1500, 70_000, 150_000]) func aVisitorCanLeaveLongValues(byteCount: Int) throws {
        let fixture = try StoreFixture()
        let key = fixture.key("a")
        fixture.apply(key, StoreFixture.stamp(1), bytes: byteCount)
        for limit in [byteCount - 1, byteCount, .max] {
            var seen: [(held: Int, got: Int)] = []
            let isHit = fixture.store.visit(key.id, key.bytes.span.bytes, now: StoreFixture.now, upTo: limit) {
                seen.append(($0.valueBytes, $1.byteCount))
            }
            // What is copied anyway, on the reader's stack, is shown whatever the limit.
            let isShown = byteCount <= limit || byteCount < 1000
            #expect(isHit && seen.count == 1 && seen.first?.held == byteCount && seen.first?.got == (isShown ? byteCount : 0))
        }
    }

    private static func key(_ number: Int, _ cache: CacheIndex) -> TestKey {
        TestKey("key \(number)", hash: publicHash("key \(number)"), cache: cache)
    }

    private static func write(_ store: ByteStore, _ cache: CacheIndex, _ worker: Int, bytesMax: Int, steps: Int) -> Int {
        var random = SeededRandom(seed: UInt64(worker))
        let keys = (0..<64).map { key($0, cache) }
        for step in 1...steps {
            let key = keys[Int.random(in: 0..<64, using: &random)]
            let value = [UInt8](repeating: UInt8(truncatingIfNeeded: step), count: Int.random(in: 1...bytesMax, using: &random))
            let stamp = Stamp(clock: StoreFixture.milliseconds << 16 + UInt64(step), origin: UInt32(worker))
            _ = store.apply(
                key.id, key.bytes.span.bytes, value: value.span.bytes, stamp: stamp, ttl: nil, kind: .fill, now: StoreFixture.now)
            if step % 50 == 0 { _ = store.drop(key.id, key.bytes.span.bytes) }
            if step % 1000 == 0 {
                store.forget(key.id.slot)
                store.adopt(key.id.slot)
            }
        }
        return 0
    }

    private static func read(_ store: ByteStore, _ cache: CacheIndex, _ worker: Int, steps: Int) -> Int {
        var random = SeededRandom(seed: UInt64(worker))
        let keys = (0..<64).map { key($0, cache) }
        var problems = 0
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 200_000, alignment: 16)
        defer { buffer.deallocate() }
        for step in 0..<steps {
            let key = keys[Int.random(in: 0..<64, using: &random)]
            if step & 1 == 0 {
                guard case .hit(let info) = store.copy(key.id, key.bytes.span.bytes, into: buffer, now: StoreFixture.now) else { continue }
                if !isUniform(UnsafeRawBufferPointer(rebasing: buffer[..<info.valueBytes]), info) { problems += 1 }
            } else {
                store.visit(key.id, key.bytes.span.bytes, now: StoreFixture.now) { info, value in
                    if !value.withUnsafeBytes({ isUniform($0, info) }) { problems += 1 }
                }
            }
        }
        return problems
    }

    private static func isUniform(_ bytes: UnsafeRawBufferPointer, _ info: EntryInfo) -> Bool {
        guard bytes.count == info.valueBytes, let first = bytes.first else { return false }
        // The value also tells its stamp.
        return first == UInt8(truncatingIfNeeded: info.stamp.clock) && bytes.allSatisfy { $0 == first }
    }

    /// What is held throughout is seen exactly once while another thread writes, and blocks of the index split and shrink.
    @Test func iterationBesideAWriterSeesWhatIsHeldThroughout() async throws {
        let fixture = try StoreFixture(shards: 1)
        let stable = (0..<400).map { fixture.key("stable \($0)") }
        for key in stable { fixture.apply(key, StoreFixture.stamp(1)) }
        let done = Flag()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for round in 0..<40 {
                    for number in 0..<500 { fixture.apply(fixture.key("new \(number)"), StoreFixture.stamp(round * 2)) }
                    for number in 0..<500 { _ = fixture.drop(fixture.key("new \(number)")) }
                }
                done.isSet.store(true, ordering: .relaxed)
            }
            group.addTask {
                for _ in 0..<10_000 where !done.isSet.load(ordering: .relaxed) {
                    let seen = fixture.contents(of: fixture.slot)
                    let keys = Set(seen.map(\.key))
                    #expect(keys.count == seen.count)
                    #expect(stable.allSatisfy { keys.contains($0.bytes) })
                    #expect(zip(seen, seen.dropFirst()).allSatisfy { $0.id.hash <= $1.id.hash })
                }
            }
        }
        #expect(fixture.store.checkInvariants() == nil)
    }
}

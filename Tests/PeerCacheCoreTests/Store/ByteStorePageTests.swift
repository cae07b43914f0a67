import PeerCacheCore
import PeerCacheTesting
import Testing

/// Memory from the system that is refused, changes of the size mix, and limits that change.
@Suite struct ByteStorePageTests {
    /// The same writes once for each request for memory, which fails that one time.
    @Test func eachRequestForMemoryMayFail() throws {
        let whole = PageSource()
        _ = try run(whole)
        #expect(whole.requestCount > 5)
        for number in 0..<min(40, whole.requestCount) {
            let pages = PageSource(failing: number)
            do {
                let stored = try run(pages)
                #expect(stored > 800, "request \(number)")
            } catch let error as StoreError {
                #expect(error.description.contains("refused"), "request \(number)")
            }
        }
    }

    /// - Returns: writes that were stored.
    private func run(_ pages: PageSource) throws -> Int {
        let store = try ByteStore(limit: 3 << 20, shards: 2, seed: 1, pages: pages)
        let cache = try store.register("c")
        for index in 0..<Slot.count { Slot(index: index).map { store.adopt($0) } }
        let value = [UInt8](repeating: 1, count: 20_000)
        var stored = 0
        for step in 0..<900 {
            let key = TestKey("\(step % 500)", hash: publicHash("\(step % 500)"), cache: cache)
            let span = value.span.extracting(0..<step * 37 % 20_000).bytes
            let result = store.apply(
                key.id, key.bytes.span.bytes, value: span, stamp: StoreFixture.stamp(step), ttl: .seconds(60), kind: .fill,
                now: StoreFixture.now)
            if result == .stored { stored += 1 }
            if step == 600 {
                store.setLimit(2 << 20)
                while store.sweep(now: StoreFixture.now, bytesMax: .max) {}
                store.setLimit(3 << 20)
            }
        }
        #expect(store.checkInvariants() == nil)
        #expect(store.memory.counted <= store.memory.limit)
        return stored
    }

    @Test func memoryStaysUsedWhenTheSizesChange() throws {
        for seed in Seeds.chosen(1...2) {
            var random = SeededRandom(seed: seed)
            let limit = 16 << 20
            let store = try ByteStore(limit: limit, shards: nil, seed: seed)
            let cache = try store.register("c")
            for index in 0..<Slot.count { Slot(index: index).map { store.adopt($0) } }
            let value = [UInt8](repeating: 1, count: 256 << 10)
            var (written, step) = (0, 0)
            while written < 8 * limit {
                let bytes: Int
                switch written / (2 * limit) {
                case 0: bytes = Int.random(in: 16...4000, using: &random)
                case 1: bytes = 1 << Int.random(in: 4...18, using: &random)
                case 2: bytes = Int.random(in: 300...600, using: &random)
                default: bytes = Int.random(in: 4000...256 << 10, using: &random)
                }
                let text = "\(random.next() as UInt64)"
                let key = TestKey(text, hash: publicHash(text), cache: cache)
                let now = Tick(StoreFixture.now.value &+ UInt32(step))
                let result = store.apply(
                    key.id, key.bytes.span.bytes, value: value.span.extracting(0..<bytes).bytes, stamp: StoreFixture.stamp(step), ttl: nil,
                    kind: .fill, now: now)
                #expect(result == .stored, "replay: PEERCACHE_SEED=\(seed)")
                written += bytes + 60
                step += 1
                if step % 500 == 0 {
                    let memory = store.memory
                    #expect(memory.counted <= limit)
                    #expect(written < 2 * limit || memory.charged > limit * 3 / 4, "\(memory), replay: PEERCACHE_SEED=\(seed)")
                }
            }
            #expect(store.checkInvariants() == nil, "replay: PEERCACHE_SEED=\(seed)")
        }
    }

    /// Values of every length around the borders of chunks and pieces come back as they were.
    @Test func everyLengthComesBack() throws {
        let fixture = try StoreFixture(shards: 1)
        let borders = [128, 1024, 2048, 4096, 4096 + 4092, 4096 + 2 * 4092, 65_536, 200_000]
        let lengths = Array(0..<40) + borders.flatMap { ($0 - 25)...($0 + 5) }
        for (number, length) in lengths.enumerated() {
            let value = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
            let key = fixture.key(String(repeating: "k", count: number % 23))
            let span = key.bytes.span.bytes
            let result = fixture.store.apply(
                key.id, span, value: value.span.bytes, stamp: StoreFixture.stamp(number), ttl: nil, kind: .fill, now: StoreFixture.now)
            #expect(result == .stored)
            #expect(fixture.store.withValue(key.id, span, now: StoreFixture.now) { $1.withUnsafeBytes { Array($0) } } == value)
            var copy = [UInt8](repeating: 0, count: length)
            _ = copy.withUnsafeMutableBytes { fixture.store.copy(key.id, span, into: $0, now: StoreFixture.now) }
            #expect(copy == value, "\(length) bytes")
        }
        #expect(fixture.store.checkInvariants() == nil)
    }

    @Test func entriesMoveTogetherWhenMostAreGone() throws {
        let fixture = try StoreFixture(limit: 64 << 20, shards: 1)
        for number in 0..<20_000 {
            fixture.apply(fixture.key("\(number)"), StoreFixture.stamp(number), bytes: number % 5 == 0 ? 5000 : 50, ttl: .seconds(100))
        }
        for number in 0..<20_000 where number % 16 != 0 { _ = fixture.drop(fixture.key("\(number)")) }
        let kept = fixture.store.memory
        fixture.store.setLimit(8 << 20)
        while fixture.store.sweep(now: StoreFixture.now, bytesMax: 1 << 20) {}
        #expect(fixture.store.memory.counted <= 8 << 20)
        #expect(fixture.store.memory.entries > kept.entries * 2 / 3, "\(kept) \(fixture.store.memory)")
        #expect(fixture.store.checkInvariants() == nil)
        #expect(fixture.store.expire(now: Tick(StoreFixture.now.value &+ 5000), entriesMax: .max) > 0)
        #expect(fixture.store.memory.entries == 0)
        #expect(fixture.store.checkInvariants() == nil)
    }
}

import PeerCacheCore

/// A store with one cache and one adopted slot, and short words for what tests do with it.
struct StoreFixture {
    let store: ByteStore
    let cache: CacheIndex
    let slot = Slot(hash: 0)

    static let milliseconds: UInt64 = 1_700_000_000_000
    static let now = Tick(milliseconds: milliseconds)

    init(limit: Int = 64 << 20, shards: Int? = 1) throws {
        store = try ByteStore(limit: limit, shards: shards, seed: 1, isExact: true)
        cache = try store.register("users")
        store.adopt(slot)
    }

    /// A stamp that many milliseconds after the tests' time.
    static func stamp(_ offset: Int, origin: UInt32 = 1) -> Stamp {
        Stamp(clock: (milliseconds &+ UInt64(bitPattern: Int64(offset))) << 16, origin: origin)
    }

    /// The hash is the text's, within `slot` unless another is given.
    func key(_ text: String, slot: Slot? = nil) -> TestKey {
        TestKey(text, hash: UInt64((slot ?? self.slot).index) << 50 | publicHash(text) >> 14, cache: cache)
    }

    /// The half of a hash that the store keeps, which is what iteration shows.
    static func kept(_ hash: UInt64) -> UInt64 { hash & ~0xFFFF_FFFF }

    @discardableResult
    func apply(_ key: TestKey, _ stamp: Stamp, bytes: Int = 10, ttl: Duration? = nil, now: Tick = now) -> WriteResult {
        let value = [UInt8](repeating: UInt8(truncatingIfNeeded: stamp.milliseconds), count: bytes)
        return store.apply(key.id, key.bytes.span.bytes, value: value.span.bytes, stamp: stamp, ttl: ttl, kind: .explicit, now: now)
    }

    @discardableResult
    func applyTombstone(_ key: TestKey, _ stamp: Stamp, keep: Tick = Tick(now.value &+ 1000)) -> WriteResult {
        store.applyTombstone(key.id, key.bytes.span.bytes, stamp: stamp, keep: keep, now: Self.now)
    }

    func read(_ key: TestKey, now: Tick = now) -> EntryInfo? {
        store.withValue(key.id, key.bytes.span.bytes, now: now) { info, _ in info }
    }

    func drop(_ key: TestKey) -> Bool { store.drop(key.id, key.bytes.span.bytes) }
    func held(_ key: TestKey) -> EntryInfo? { store.held(key.id, key.bytes.span.bytes) }
    func guardStamp(_ key: TestKey) -> Stamp { store.guardStamp(key.id, key.bytes.span.bytes) }

    func contents(of slot: Slot, betweenBuckets: (Int) -> Void = { _ in }) -> [(id: KeyID, key: [UInt8], info: EntryInfo)] {
        var seen: [(id: KeyID, key: [UInt8], info: EntryInfo)] = []
        for (number, bucket) in BucketIndex.all(of: slot).enumerated() {
            if number > 0 { betweenBuckets(number) }
            _ = store.readBucket(bucket, now: Self.now, valueBytesMax: { .max }) { id, key, info, _ in
                seen.append((id, Array(key), info))
            }
        }
        return seen
    }
}

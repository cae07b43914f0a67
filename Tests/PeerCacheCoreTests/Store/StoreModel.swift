import PeerCacheCore

/// A key of the tests: any bytes under any hash.
struct TestKey: Hashable {
    var id: KeyID
    var bytes: [UInt8]

    init(_ text: String, hash: UInt64, cache: CacheIndex) {
        id = KeyID(hash: hash, cache: cache)
        bytes = Array(text.utf8)
    }
}

/// What ``ByteStore`` must hold, as two dictionaries: what is held, and the floors. Naive and slow; one shard.
struct StoreModel {
    struct Held {
        var info: EntryInfo
        var fill: UInt8
        var charge: Int
        /// Position in the order of use (values) or writing (tombstones).
        var order: Int
    }

    var held: [TestKey: Held] = [:]
    var floors: [Int: Stamp] = [:]
    var cacheFloors: [CacheIndex: Stamp] = [:]
    var slots: Set<Int> = []
    let floorsPerSlot: Int
    var limit: Int
    private var order = 0

    init(limit: Int, floorsPerSlot: Int) {
        self.limit = limit
        self.floorsPerSlot = floorsPerSlot
    }

    enum Content {
        case value(bytes: Int, fill: UInt8, ttl: Duration?)
        case tombstone(keep: Tick)
    }

    // MARK: What must be read

    func isCleared(_ key: TestKey, _ entry: Held) -> Bool { entry.info.stamp <= cacheFloors[key.id.cache] ?? .zero }

    func visible(_ key: TestKey) -> Held? { held[key].flatMap { isCleared(key, $0) ? nil : $0 } }

    func guardStamp(_ key: TestKey) -> Stamp {
        visible(key)?.info.stamp ?? max(floor(key.id.bucket), cacheFloors[key.id.cache] ?? .zero)
    }

    func floor(_ bucket: BucketIndex) -> Stamp { floors[floorIndex(bucket)] ?? .zero }

    private func floorIndex(_ bucket: BucketIndex) -> Int { bucket.index * floorsPerSlot / BucketIndex.perSlot }

    mutating func read(_ key: TestKey, now: Tick) -> Held? {
        guard let entry = visible(key), !entry.info.isTombstone, !isDead(entry, now) else { return nil }
        order += 1
        held[key]?.order = order
        return entry
    }

    func isDead(_ entry: Held, _ now: Tick) -> Bool { entry.info.expiry.map { now.isAtOrAfter($0) } ?? false }

    // MARK: Writes

    /// What a write pushed out: so many of the least recently used, or these.
    enum Evictions {
        case leastRecent(Int)
        case keys([TestKey])
    }

    mutating func write(
        _ key: TestKey, _ stamp: Stamp, _ content: Content, isMinted: Bool, evictions: Evictions, now: Tick
    ) -> WriteResult {
        guard slots.contains(key.id.slot.index) else { return .notHolder }
        if let entry = held[key], isCleared(key, entry) { drop(key) }
        if !isMinted, let refusal = refusal(key, stamp) { return refusal }
        evict(evictions, sparing: key)
        if isMinted, let refusal = refusal(key, stamp) { return refusal }

        var info = EntryInfo(stamp: stamp, expiry: nil, valueBytes: 0, isTombstone: false)
        var fill: UInt8 = 0
        var isDead = key.bytes.count > 1024
        switch content {
        case .value(let bytes, let byte, let ttl):
            (info.valueBytes, fill) = (bytes, byte)
            isDead = isDead || bytes > limit / 8
            if let ttl {
                // The tests' ttls are whole milliseconds and end within four years of `now`.
                let milliseconds = Int64(ttl.components.seconds) * 1000 + ttl.components.attoseconds / 1_000_000_000_000_000
                let expiry = Tick(milliseconds: UInt64(max(0, Int64(stamp.milliseconds) + milliseconds)))
                info.expiry = expiry
                isDead = isDead || ttl <= .zero || now.isAtOrAfter(expiry)
            }
        case .tombstone(let keep):
            (info.expiry, info.isTombstone) = (keep, true)
            isDead = isDead || now.isAtOrAfter(keep)
        }
        if isDead {
            drop(key)
            raiseFloor(key.id.bucket, stamp)
            return .forgotten
        }
        order += 1
        let charge = Self.charge(key: key.bytes.count, value: info.valueBytes)
        held[key] = Held(info: info, fill: fill, charge: charge, order: order)
        return .stored
    }

    /// The sizes that pages are cut into, simply as a list.
    private static let sizes =
        Array(stride(from: 16, through: 128, by: 8)) + [144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416, 448, 480, 512]
        + [576, 640, 704, 768, 832, 896, 960, 1024, 1152, 1280, 1408, 1536, 1664, 1792, 1920, 2048, 2336, 2728, 3272, 4096]

    private static func charge(key: Int, value: Int) -> Int {
        func size(_ bytes: Int) -> Int { sizes.first { $0 >= bytes } ?? 0 }
        if 2 + key + value <= 4096 { return 56 + size(2 + key + value) }
        let rest = value - (4096 - 8 - key)
        let full = (rest - 1) / 4092
        return 56 + 4096 + full * 4096 + size(rest - full * 4092 + 4)
    }

    private func refusal(_ key: TestKey, _ stamp: Stamp) -> WriteResult? {
        let guardStamp = guardStamp(key)
        if stamp > guardStamp { return nil }
        guard let entry = visible(key) else { return .forgotten }
        return entry.info.stamp == stamp ? .stored : .superseded
    }

    mutating func drop(_ key: TestKey) {
        guard let entry = held.removeValue(forKey: key) else { return }
        raiseFloor(key.id.bucket, entry.info.stamp)
    }

    mutating func raiseFloor(_ bucket: BucketIndex, _ stamp: Stamp) {
        guard slots.contains(bucket.slot) else { return }
        floors[floorIndex(bucket)] = max(floor(bucket), stamp)
    }

    mutating func forget(_ slot: Slot) {
        slots.remove(slot.index)
        held = held.filter { $0.key.id.slot != slot }
        floors = floors.filter { $0.key / floorsPerSlot != slot.index }
    }

    // MARK: Room

    mutating func evict(_ evictions: Evictions, sparing key: TestKey?) {
        switch evictions {
        case .leastRecent(let count): for _ in 0..<count { evictLeastRecent(sparing: key) }
        case .keys(let keys): for key in keys { drop(key) }
        }
    }

    private mutating func evictLeastRecent(sparing key: TestKey?) {
        let tombstone = oldest(tombstones: true, sparing: key)
        let value = oldest(tombstones: false, sparing: key)
        let prefersTombstone = value == nil || hasTooManyTombstones
        guard let victim = prefersTombstone ? tombstone ?? value : value else { return }
        drop(victim)
    }

    var hasTooManyTombstones: Bool {
        held.values.reduce(0) { $0 + ($1.info.isTombstone ? $1.charge : 0) } > limit / 20
    }

    func oldest(tombstones: Bool, sparing key: TestKey?) -> TestKey? {
        held.lazy.filter { $0.value.info.isTombstone == tombstones && $0.key != key }.min { $0.value.order < $1.value.order }?.key
    }

    mutating func dropAll(where condition: (TestKey, Held) -> Bool) {
        for key in held.filter({ condition($0.key, $0.value) }).keys { drop(key) }
    }
}

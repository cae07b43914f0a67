internal import Synchronization

/// What the shards of one store share. Plain pointers, owned by ``ByteStore``: following a reference would cost a retain and a release on
/// each hit.
struct StoreShared {
    let budget: UnsafeMutablePointer<ByteBudget>
    let caches: UnsafeMutablePointer<CacheTable>
    let ages: UnsafeMutablePointer<ShardAges>
    let arena: UnsafeMutablePointer<Arena>

    init(limit: Int, shards: Int, arena: consuming Arena) {
        self.arena = .allocate(capacity: 1)
        self.arena.initialize(to: arena)
        budget = .allocate(capacity: 1)
        budget.initialize(to: ByteBudget(limit: limit))
        caches = .allocate(capacity: 1)
        caches.initialize(to: CacheTable(shards: shards))
        ages = .allocate(capacity: 1)
        ages.initialize(to: ShardAges(shards: shards))
    }

    func deallocate() {
        budget.deinitialize(count: 1)
        budget.deallocate()
        caches.deinitialize(count: 1)
        caches.deallocate()
        ages.deinitialize(count: 1)
        ages.deallocate()
        arena.deinitialize(count: 1)
        arena.deallocate()
    }
}

/// When the least recently used value of each shard was last used, so that a writer sees where older values lie without another lock.
///
/// Shards have no share of their own: without this one that starts late, when the memory is full, would evict its own few entries for ever.
struct ShardAges: ~Copyable {
    /// A donor's oldest value is at least this much older (in ticks: about four seconds) …
    private static let marginTicks: Int32 = 64
    /// … and at least twice as old as the writer's own (`STORE.md` §3).
    private static let factor: Int32 = 2
    private static let looksMax = 8

    private let count: Int
    /// 0: no value. Else the tick, with bit 32 set.
    private let oldest: UnsafeMutablePointer<Atomic<UInt64>>
    private let hand = Atomic<Int>(0)

    init(shards: Int) {
        count = shards
        oldest = .allocate(capacity: shards)
        for number in 0..<shards { (oldest + number).initialize(to: Atomic(0)) }
    }

    deinit {
        oldest.deinitialize(count: count)
        oldest.deallocate()
    }

    /// Bytes counted.
    static func charge(shards: Int) -> Int { AllocatorClass.charge(shards * MemoryLayout<Atomic<UInt64>>.stride) }

    /// - Parameter tick: of the oldest value's last use; nil when the shard has no value.
    func publish(_ shard: Int, _ tick: UInt32?) {
        let word = tick.map { UInt64($0) | 1 << 32 } ?? 0
        if oldest[shard].load(ordering: .relaxed) != word { oldest[shard].store(word, ordering: .relaxed) }
    }

    /// The next shard round robin. O(1).
    func next() -> Int {
        let turn = hand.wrappingAdd(1, ordering: .relaxed).newValue
        return Int(UInt(bitPattern: turn) % UInt(count))
    }

    /// The shard with the oldest value among the next eight round robin, if that is so much older than `own` that it should make the room.
    /// - Parameter hand: the last one looked at; the asking shard's own, as all ask at each eviction.
    func donor(for shard: Int, own: UInt32?, now: Tick, hand: inout Int) -> Int? {
        guard count > 1 else { return nil }
        let ownAge = max(0, own.map { Tick($0).distance(to: now) } ?? 0)
        var best: Int? = nil
        guard ownAge <= Int32.max / Self.factor else { return nil }
        var bestAge = max(Self.marginTicks, ownAge * Self.factor)
        for _ in 0..<min(count, Self.looksMax) {
            hand = hand &+ 1 >= count ? 0 : hand &+ 1
            let other = hand
            let word = oldest[other].load(ordering: .relaxed)
            guard other != shard, word != 0 else { continue }
            let age = Tick(UInt32(truncatingIfNeeded: word)).distance(to: now)
            if age > bestAge { (best, bestAge) = (other, age) }
        }
        return best
    }
}

package import PeerCacheCore
internal import Synchronization

/// Decoded objects for the keys this process uses, whoever owns them (`STORE.md` §9).
///
/// Knows no key or value type and reads no clock. Everything may be called from any thread. A hit takes no lock and counts no reference of
/// store, cache or object. Objects that leave the store are released outside its locks, because their `deinit` is user code and may call
/// the store.
///
/// What is current is decided by the owner; the store only makes sure that a copy which was invalidated here does not come back with an
/// answer that was on its way meanwhile (`CONTRACT.md` I40). When this process may have missed what an owner said, all copies of a slot become
/// suspect at once and are misses: each carries the epoch of its slot at the time when the owner was asked.
package final class NearStore: @unchecked Sendable {  // all state is behind the shards' locks or atomic
    /// Charged for every entry besides its encoded value and its key: record, index, mark, sketch. Key allocation and object header go with
    /// the estimate that the encoded size is.
    package static let overheadBytes = 96
    /// Ranges of hashes that share a floor.
    static let floorCount = 4096
    /// Cache indices are below this.
    static let cachesMax = 4096

    /// How much the store may hold.
    package struct Limits: Sendable, Hashable {
        /// 0...2,147,483,647; 0 keeps nothing.
        package var entriesMax: Int
        /// In bytes, as charged: encoded value, key, and ``NearStore/overheadBytes``. An estimate of the objects' size. One entry may have 1/8.
        package var costMax: Int

        /// Clamps to the allowed ranges.
        package init(entriesMax: Int, costMax: Int) {
            self.entriesMax = min(max(0, entriesMax), Int(Int32.max))
            self.costMax = max(0, costMax)
        }
    }

    /// What the store holds.
    package struct Usage: Sendable, Hashable {
        package var entries = 0
        /// In bytes, as charged.
        package var cost = 0
    }

    let shardBits: Int
    private let base: UnsafeMutableRawPointer
    /// For each cache the clock of its floor: copies at or below it are misses.
    private let cacheFloors: UnsafeMutablePointer<Atomic<UInt64>>
    /// By slot. A copy of another epoch is a miss. It comes round after 65,536 suspicions of one slot, long after a sweep has met the copy.
    private let epochs: UnsafeMutablePointer<Atomic<UInt16>>
    let readers = NearReaders()
    /// What was unlinked while a reader might see it, with its epoch; what that costs, and whether there is any.
    let limbo = Lock<[(epoch: UInt64, retired: NearRetired)]>([])
    let limboCost = Atomic<Int>(0)
    let isLimboEmpty = Atomic<Bool>(true)
    let entriesMax: Atomic<Int>, costMax: Atomic<Int>
    let entries = Atomic<Int>(0), cost = Atomic<Int>(0)
    /// The shard that gives up an entry next when the inserting one is poor.
    let victim = Atomic<Int>(0)
    let sweepShard = Atomic<Int>(0)

    /// - Parameter shards: rounded up to a power of two, 1...256. Two writers in the same shard wait for each other; with fewer than some 16
    ///   entries to a shard CLOCK has no choice left.
    package init(limits: Limits, shards: Int = 16) {
        var bits = 0
        while 1 << bits < min(max(1, shards), 256) { bits += 1 }
        shardBits = bits
        entriesMax = Atomic(limits.entriesMax)
        costMax = Atomic(limits.costMax)
        base = .allocate(byteCount: NearShard.stride << bits, alignment: 128)
        cacheFloors = .allocate(capacity: Self.cachesMax)
        for index in 0..<Self.cachesMax { (cacheFloors + index).initialize(to: Atomic(0)) }
        epochs = .allocate(capacity: Slot.count)
        for index in 0..<Slot.count { (epochs + index).initialize(to: Atomic(0)) }
        for index in 0..<1 << bits { shard(at: index).initialize(floorCount: Self.floorCount >> bits) }
    }

    deinit {
        // Nobody reads any more, so everything goes now.
        removeAll()
        for (_, retired) in limbo.withLock({ $0 }) { retired.destroy() }
        for index in 0..<shardCount { shard(at: index).destroy() }
        base.deallocate()
        cacheFloors.deallocate()
        epochs.deallocate()
        readers.destroy()
    }

    // MARK: Reading

    /// A copy that was found. Valid until ``leave(_:)``, which must follow soon.
    struct Hit {
        let object: UnsafeRawPointer
        /// Milliseconds since 1970.
        let expires: UInt64
        /// Of the copy's stamp.
        let clock: UInt64
        /// Nil: the object has been retained instead.
        let line: NearReaders.Line?
    }

    /// Finds the copy of a key and keeps it in place until ``leave(_:)``. Nil when there is none that is current.
    /// - Parameters:
    ///   - hash: the key's hash under its cache's secret.
    ///   - cache: equal bytes in two caches are two keys.
    ///   - nowMilliseconds: since 1970.
    /// - Complexity: O(1), at most 64 probes. No lock, unless writers disturb three looks in a row; no allocation.
    @inline(__always)
    func enter(hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer, nowMilliseconds: UInt64) -> Hit? {
        guard let line = readers.enter() else { return enterByLock(hash, cache, key, nowMilliseconds) }
        let shard = shard(of: hash)
        for _ in 0..<3 {
            switch shard.look(hash: hash, cache: cache, key: key) {
            case .found(_, let object, let lifetime, let clock, let mark):
                let expires = lifetime & NearRecord.expiresMax
                guard expires > nowMilliseconds, clock > cacheFloor(cache), lifetime &>> 48 == epoch(of: hash),
                    let object = UnsafeRawPointer(bitPattern: UInt(object))
                else {
                    readers.leave(line)
                    return nil
                }
                // A look first: a store would take the line from the other readers at every hit.
                if mark.pointee.load(ordering: .relaxed) == 0 { mark.pointee.store(1, ordering: .relaxed) }
                return Hit(object: object, expires: expires, clock: clock, line: line)
            case .missing:
                readers.leave(line)
                return nil
            case .disturbed: continue
            }
        }
        readers.leave(line)
        return enterByLock(hash, cache, key, nowMilliseconds)
    }

    @inline(never)
    private func enterByLock(_ hash: UInt64, _ cache: UInt16, _ key: UnsafeRawBufferPointer, _ nowMilliseconds: UInt64) -> Hit? {
        let shard = shard(of: hash)
        shard.lock.lock()
        defer { shard.lock.unlock() }
        guard let position = shard.position(hash: hash, cache: cache, key: key) else { return nil }
        let record = shard.record(position)
        guard isCurrent(record, nowMilliseconds: nowMilliseconds), let object = record.object?.retain() else { return nil }
        return Hit(object: UnsafeRawPointer(object.toOpaque()), expires: record.expires, clock: record.clock, line: nil)
    }

    @inline(__always)
    func leave(_ hit: Hit) {
        if let line = hit.line { readers.leave(line) } else { Unmanaged<AnyObject>.fromOpaque(hit.object).release() }
    }

    /// The copy of a key, or nil when there is none that is current. For callers that are not in a hurry: it counts references.
    package func object(hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer, nowMilliseconds: UInt64) -> AnyObject? {
        guard let hit = enter(hash: hash, cache: cache, key: key, nowMilliseconds: nowMilliseconds) else { return nil }
        let object = Unmanaged<AnyObject>.fromOpaque(hit.object).retain()
        leave(hit)
        return object.takeRetainedValue()
    }

    /// Neither expired nor suspect nor at or below its cache's floor.
    @inline(__always)
    func isCurrent(_ record: NearRecord, nowMilliseconds: UInt64) -> Bool {
        record.expires > nowMilliseconds && record.clock > cacheFloor(record.cache) && UInt64(record.epoch) == epoch(of: record.hash)
    }

    // MARK: Suspicion

    @inline(__always)
    func epoch(of hash: UInt64) -> UInt64 { UInt64(epochs[Slot(hash: hash).index].load(ordering: .relaxed)) }

    /// Makes every copy of these slots a miss, also those that are asked for now and come later. They keep their room until a sweep or an
    /// eviction meets them. O(slots).
    package func suspect(_ slots: some Sequence<Slot>) {
        for slot in slots { epochs[slot.index].wrappingAdd(1, ordering: .releasing) }
    }

    // MARK: Floors of caches

    /// Only the clock of the stamp: a copy of the same moment from another origin is a miss too, which does no harm.
    @inline(__always)
    func cacheFloor(_ cache: UInt16) -> UInt64 {
        Int(cache) < Self.cachesMax ? cacheFloors[Int(cache)].load(ordering: .relaxed) : .max
    }

    /// Makes every copy of a cache a miss whose stamp is `stamp` or lower, and refuses such copies from now on. They keep their room until
    /// a sweep or an eviction meets them. A lower stamp than before changes nothing. O(1).
    package func raiseCacheFloor(_ cache: UInt16, to stamp: Stamp) {
        guard Int(cache) < Self.cachesMax else { return }
        let floor = cacheFloors + Int(cache)
        var seen = floor.pointee.load(ordering: .relaxed)
        while seen < stamp.clock {
            let (exchanged, original) = floor.pointee.weakCompareExchange(expected: seen, desired: stamp.clock, ordering: .relaxed)
            if exchanged { return }
            seen = original
        }
    }

    // MARK: Shards

    var shardCount: Int { 1 << shardBits }

    @inline(__always)
    func shard(at index: Int) -> NearShard { NearShard(at: base + index &* NearShard.stride) }

    /// By the top bits of the hash, which also choose the floor; the index uses the low half.
    @inline(__always)
    func shard(of hash: UInt64) -> NearShard { shard(at: Int(truncatingIfNeeded: (hash &>> 32) &>> (32 &- UInt64(shardBits)))) }

    /// Which floor of its shard a hash has: the next of the top 12 bits.
    func floorRange(of hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> 52) & (Self.floorCount >> shardBits - 1) }
}

/// Records and tables that were unlinked.
struct NearRetired {
    var records: [NearRecord] = []
    var tables: [NearTable] = []

    var isEmpty: Bool { records.isEmpty && tables.isEmpty }

    /// In bytes, as charged.
    var cost: Int { records.reduce(0) { $0 + $1.cost } }

    /// Runs user code (`deinit`): no lock may be held.
    func destroy() {
        for record in records { record.destroy() }
        for table in tables { table.deallocate() }
    }
}

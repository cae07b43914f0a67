internal import Synchronization

/// One shard behind its lock. Its address never changes.
struct ShardCell: ~Copyable {
    let lock: Lock<Shard>

    init(_ shard: consuming sending Shard) { lock = Lock(shard) }
}

/// What this peer owns or replicates, as bytes, within one limit (`STORE.md`).
///
/// Shards over contiguous ranges of slots, each with one lock; memory in pages of 16 KiB that shards take from one pool. It reads no clock
/// and draws nothing at random. A writer takes one shard's lock at a time, for no longer than it takes to handle a few hundred entries;
/// nobody suspends. Readers of short values take no lock and allocate nothing. `mint`, and the bodies of `forEach`, run under a shard's
/// lock: they must be short and must not call the store.
///
/// Nothing that a peer or a user can send traps: unknown caches, absent slots, keys and values of any length, stamps and ttls of any size
/// have an answer.
package final class ByteStore: @unchecked Sendable {  // unchecked: the pointers never change, and what they lead to has its own lock
    /// Smallest limit.
    package static let limitMin = 1 << 20
    /// Longest key; a longer one is a miss to read and forgotten when written.
    package static let keyBytesMax = WriteRequest.keyBytesMax
    private static let shardsMax = 256
    /// More than most caches have: a policy's tables begin too small rather than too large.
    private static let bytesPerEntryExpected = 2048

    let shardCount: Int
    /// slot >> shardShift is the shard.
    let shardShift: Int
    let cells: UnsafeMutablePointer<ShardCell>
    let shared: StoreShared
    /// What readers without a lock need, in one place.
    let reader: StoreReader
    /// Bytes that no eviction gives back.
    let fixedBytes: Int
    /// ``setLimit(_:)`` goes no lower.
    let limitFloor: Int
    let upkeep = Lock(Upkeep())
    let expiryHand = Atomic<Int>(0)
    /// Cache floors raised so far.
    let clearings = Atomic<Int>(0)
    /// Caches with a quota.
    let quotas = Lock<[UInt16]>([])
    private let fixedMemory: PageSource.Reservation
    private let pages: PageSource

    /// - Parameters:
    ///   - limit: bytes that everything together may take, at least 1 MiB. More than 32 GiB are not used.
    ///   - shards: a power of two in 1...256, with 64 KiB of the limit each. Nil: the largest up to limit / 16 MiB, 1...32, but
    ///     up to 8 from 4 MiB each.
    ///   - seed: for policies that draw lots.
    ///   - pages: where memory comes from.
    ///   - limitMax: what ``setLimit(_:)`` may ask for later; nil: four times the limit.
    ///   - isExact: under ``PolicyKind/lru`` each hit moves its entry to the front; else the first one of an era does.
    package init(
        limit: Int, policy: PolicyKind = .lru, shards: Int?, seed: UInt64, pages: PageSource = PageSource(), limitMax: Int? = nil,
        isExact: Bool = false
    ) throws(StoreError) {
        guard limit >= Self.limitMin else { throw .limitTooSmall(bytes: limit, minimum: Self.limitMin) }
        let shardsMax = min(Self.shardsMax, Self.powerOfTwo(atMost: limit / (64 << 10)))
        let count = shards ?? Self.powerOfTwo(atMost: min(32, max(limit / (16 << 20), min(8, limit / (4 << 20)))))
        guard count >= 1, count <= shardsMax, count.nonzeroBitCount == 1 else { throw .invalidShards(count: count, max: shardsMax) }

        let plan = FixedPlan(limit: limit, shards: count)
        let fixedCharge = plan.bytes + count * Self.cellCharge + Self.sharedCharge(count)
        let reach = min(Arena.bytesMax, max(limitMax ?? limit.multipliedReportingOverflow(by: 4).partialValue, limit))
        guard let fixed = pages.reserve(plan.bytes) else { throw .noMemory(bytes: plan.bytes) }
        guard pages.commit(fixed.base, plan.bytes),
            let arena = Arena(bytes: reach, extentBytes: limit < 64 << 20 ? 256 << 10 : 2 << 20, source: pages)
        else {
            pages.release(fixed)
            throw .noMemory(bytes: reach)
        }
        self.pages = pages
        fixedMemory = fixed
        shardCount = count
        shardShift = (Slot.count / count).trailingZeroBitCount
        limitFloor = max(plan.floorsPerSlot << 20, count * (64 << 10))
        fixedBytes = fixedCharge
        shared = StoreShared(limit: limit, shards: count, arena: arena)
        cells = .allocate(capacity: count)
        reader = StoreReader(plan: plan, fixed: fixed.base, arena: shared.arena)
        shared.budget.pointee.take(fixedBytes)
        for number in 0..<count {
            let shard = plan.shard(
                number, fixed: fixed.base, shared: shared, policy: policy, isExact: isExact, seed: seed,
                entriesExpected: limit / count / Self.bytesPerEntryExpected)
            (cells + number).initialize(to: ShardCell(shard))
        }
    }

    deinit {
        for number in 0..<shardCount {
            cells[number].lock.withLock { shard in
                shard.order.deallocate(CountedMemory(shared))
            }
        }
        cells.deinitialize(count: shardCount)
        cells.deallocate()
        shared.deallocate()
        pages.release(fixedMemory)
    }

    private static var cellCharge: Int {
        MemoryLayout<ShardCell>.stride + AllocatorClass.charge(MemoryLayout<Shard>.stride) + AllocatorClass.charge(64)
            + ValueOrder.setCharge
    }

    private static func sharedCharge(_ shards: Int) -> Int {
        ShardAges.charge(shards: shards) + CacheTable.directoryCharge + AllocatorClass.charge(MemoryLayout<CacheTable>.stride)
            + AllocatorClass.charge(MemoryLayout<ByteBudget>.stride) + AllocatorClass.charge(MemoryLayout<Arena>.stride)
    }

    static func powerOfTwo(atMost number: Int) -> Int { 1 << (Int.bitWidth - 1 - max(1, number).leadingZeroBitCount) }

    /// The shard of a slot; nil when there is no such slot.
    @inline(__always)
    func shard(ofSlot slot: Int) -> UnsafeMutablePointer<ShardCell>? {
        guard slot >= 0, slot < Slot.count else { return nil }
        return cells + slot >> shardShift
    }

    /// The shard of a key.
    @inline(__always)
    func shard(of id: KeyID) -> UnsafeMutablePointer<ShardCell> {
        cells + Slot(hash: id.hash).index &>> shardShift
    }

    /// What is held for the key: values, tombstones, expired ones too, but nothing at or below its cache's floor. Changes no order.
    package func held(_ id: KeyID, _ key: RawSpan) -> EntryInfo? {
        key.withUnsafeBytes { key in shard(of: id).pointee.lock.withLock { $0.held(id, key) } }
    }

    /// The stamp that a write must exceed: of what is held, else the higher of the bucket's and the cache's floor.
    package func guardStamp(_ id: KeyID, _ key: RawSpan) -> Stamp {
        key.withUnsafeBytes { key in shard(of: id).pointee.lock.withLock { $0.held(id, key)?.stamp ?? $0.floor(id) } }
    }
}

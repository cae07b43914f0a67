internal import Synchronization

/// One shard behind its lock. Its address never changes.
struct ShardCell: ~Copyable {
    let lock: Lock<Shard>

    init(_ shard: consuming sending Shard) { lock = Lock(shard) }
}

/// What this peer owns or replicates, as bytes, within one limit (`STORE.md`).
///
/// This is the plain form: shards over contiguous ranges of slots, each with one lock, an index, exact LRU order, and one allocation per
/// entry. It reads no clock and draws nothing at random. A call takes one shard's lock at a time, for no longer than it takes to handle a
/// few hundred entries; none suspends. Reading allocates nothing. Bodies and `mint` run under a shard's lock: they must be short and must
/// not call the store.
///
/// Nothing that a peer or a user can send traps: unknown caches, absent slots, keys and values of any length, stamps and ttls of any size
/// have an answer.
package final class ByteStore: @unchecked Sendable {  // unchecked: the pointers never change, and what they lead to has its own lock
    /// Smallest limit.
    package static let limitMin = 1 << 20
    /// Longest key; a longer one is a miss to read and forgotten when written.
    package static let keyBytesMax = WriteRequest.keyBytesMax
    private static let shardsMax = 256

    let shardCount: Int
    /// slot >> shardShift is the shard.
    let shardShift: Int
    let cells: UnsafeMutablePointer<ShardCell>
    let shared: StoreShared
    /// Bytes that no eviction gives back.
    let fixedBytes: Int
    /// ``setLimit(_:)`` goes no lower.
    let limitFloor: Int
    let upkeep = Lock(Upkeep())
    let expiryHand = Atomic<Int>(0)
    /// Cache floors raised so far.
    let clearings = Atomic<Int>(0)

    /// - Parameters:
    ///   - limit: bytes that everything together may take, at least 1 MiB.
    ///   - shards: a power of two in 1...256, with 64 KiB of the limit each. Nil: the largest up to limit / 4 MiB, 1...64.
    ///   - seed: of the index. Stores of one process should differ.
    package init(limit: Int, shards: Int?, seed: UInt64) throws(StoreError) {
        guard limit >= Self.limitMin else { throw .limitTooSmall(bytes: limit, minimum: Self.limitMin) }
        let shardsMax = min(Self.shardsMax, Self.powerOfTwo(atMost: limit / (64 << 10)))
        let count = shards ?? min(64, Self.powerOfTwo(atMost: max(1, limit / (4 << 20))))
        guard count >= 1, count <= shardsMax, count.nonzeroBitCount == 1 else { throw .invalidShards(count: count, max: shardsMax) }
        let floorsPerSlot = min(BucketIndex.perSlot, Self.powerOfTwo(atMost: limit >> 20))
        let slotsPerShard = Slot.count / count

        shardCount = count
        shardShift = slotsPerShard.trailingZeroBitCount
        limitFloor = max(floorsPerSlot << 20, count * (64 << 10))
        fixedBytes =
            count * SlotTable.charge(slots: slotsPerShard, floorsPerSlot: floorsPerSlot)
            + AllocatorClass.charge(count * MemoryLayout<ShardCell>.stride) + ShardAges.charge(shards: count) + CacheTable.directoryCharge
            + AllocatorClass.charge(MemoryLayout<CacheTable>.stride) + AllocatorClass.charge(MemoryLayout<ByteBudget>.stride)
        shared = StoreShared(limit: limit, shards: count)
        cells = .allocate(capacity: count)
        shared.budget.pointee.take(fixedBytes)
        for number in 0..<count {
            let slots = SlotTable(slots: number * slotsPerShard..<(number + 1) * slotsPerShard, floorsPerSlot: floorsPerSlot)
            (cells + number).initialize(to: ShardCell(Shard(number: number, shared: shared, slots: slots, seed: seed)))
        }
    }

    deinit {
        cells.deinitialize(count: shardCount)
        cells.deallocate()
        shared.deallocate()
    }

    private static func powerOfTwo(atMost number: Int) -> Int { 1 << (Int.bitWidth - 1 - max(1, number).leadingZeroBitCount) }

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

    // MARK: Reading

    /// Copies the value to the start of `destination`. A hit, also one that is too long to copy, makes it the last used. O(length).
    package func copy(_ id: KeyID, _ key: RawSpan, into destination: UnsafeMutableRawBufferPointer, now: Tick) -> ReadResult {
        key.withUnsafeBytes { key in
            shard(of: id).pointee.lock.withLock { shard in
                guard let entry = shard.use(id, key, now: now) else { return .miss }
                let value = entry.pointee.value
                guard value.count <= destination.count else { return .tooSmall(entry.pointee.info) }
                if value.count > 0, let start = destination.baseAddress, let from = value.baseAddress {
                    start.copyMemory(from: from, byteCount: value.count)
                }
                return .hit(entry.pointee.info)
            }
        }
    }

    /// Calls `body` with the value under the shard's lock. Makes it the last used.
    ///
    /// For the hot path: not generic, so a hit costs as much as ``copy(_:_:into:now:)``. Through ``withValue(_:_:now:_:)`` it took five times
    /// as long, which Swift 6.3.1 does not specialise for its caller even when it is inlinable.
    /// - Returns: false for a miss, without a call: nothing held, a tombstone, expired, or cleared.
    @discardableResult
    package func visit(_ id: KeyID, _ key: RawSpan, now: Tick, _ body: (EntryInfo, RawSpan) -> Void) -> Bool {
        key.withUnsafeBytes { key in
            shard(of: id).pointee.lock.withLock { shard in
                guard let entry = shard.use(id, key, now: now) else { return false }
                body(entry.pointee.info, entry.pointee.value.bytes)
                return true
            }
        }
    }

    /// As ``visit(_:_:now:_:)``, for a body that returns or throws something.
    /// - Returns: nil for a miss.
    package func withValue<R, E: Error>(
        _ id: KeyID, _ key: RawSpan, now: Tick, _ body: (EntryInfo, RawSpan) throws(E) -> R
    ) throws(E) -> R? {
        var result: R? = nil
        var failure: E? = nil
        visit(id, key, now: now) { info, value in
            do throws(E) { result = try body(info, value) } catch { failure = error }
        }
        if let failure { throw failure }
        return result
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

package import PeerCacheCore
internal import Synchronization

/// Decoded objects for the keys this process uses, whoever owns them (`STORE.md` §9, first form).
///
/// Knows no key or value type and reads no clock. Everything may be called from any thread. Objects that leave the store are released after
/// its locks are, because their `deinit` is user code and may call the store.
///
/// What is current is decided by the owner; the store only makes sure that a copy which was invalidated here does not come back with an
/// answer that was on its way meanwhile (`CONTRACT.md` I40).
package final class NearStore: @unchecked Sendable {  // all state is behind the shards' locks or atomic
    /// Charged for every entry besides its encoded value and its key: record, index, key allocation, object header.
    package static let overheadBytes = 96
    /// Ranges of hashes that share a floor.
    static let floorCount = 4096

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
        /// Since the store was made.
        package var hits: UInt64 = 0
        package var misses: UInt64 = 0
    }

    let shardBits: Int
    private let base: UnsafeMutableRawPointer
    let entriesMax: Atomic<Int>, costMax: Atomic<Int>
    let entries = Atomic<Int>(0), cost = Atomic<Int>(0)
    /// The shard that gives up an entry next when the inserting one is poor.
    let victim = Atomic<Int>(0)
    let sweepShard = Atomic<Int>(0)

    /// - Parameter shards: rounded up to a power of two, 1...256. Two threads in the same shard wait for each
    ///   other; with fewer than some 16 entries to a shard CLOCK has no choice left.
    package init(limits: Limits, shards: Int = 16) {
        var bits = 0
        while 1 << bits < min(max(1, shards), 256) { bits += 1 }
        shardBits = bits
        entriesMax = Atomic(limits.entriesMax)
        costMax = Atomic(limits.costMax)
        base = .allocate(byteCount: Shard.stride << bits, alignment: 128)
        for index in 0..<1 << bits { shard(at: index).initialize(floorCount: Self.floorCount >> bits) }
    }

    deinit {
        removeAll()
        for index in 0..<shardCount { shard(at: index).destroy() }
        base.deallocate()
    }

    /// The copy of a key, or nil when there is none that is current.
    /// - Parameters:
    ///   - hash: the key's hash under its cache's secret.
    ///   - cache: equal bytes in two caches are two keys.
    ///   - nowMilliseconds: since 1970.
    /// - Complexity: O(1), at most 64 probes. One lock, one retain of the object, no allocation.
    package func object(hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer, nowMilliseconds: UInt64) -> AnyObject? {
        let shard = shard(of: hash)
        shard.lock.lock()
        guard let record = shard.hit(hash: hash, cache: cache, key: key, nowMilliseconds: nowMilliseconds) else {
            shard.lock.unlock()
            return nil
        }
        let object = record.pointee.object.retain()  // before another thread can remove it
        shard.lock.unlock()
        return object.takeRetainedValue()
    }

    /// A copy and what it was stored with.
    package struct Copy {
        package var object: AnyObject
        package var stamp: Stamp
        /// Milliseconds since 1970.
        package var expires: UInt64
    }

    /// As ``object(hash:cache:key:nowMilliseconds:)``, with stamp and expiry.
    package func copy(hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer, nowMilliseconds: UInt64) -> Copy? {
        let shard = shard(of: hash)
        shard.lock.lock()
        guard let record = shard.hit(hash: hash, cache: cache, key: key, nowMilliseconds: nowMilliseconds) else {
            shard.lock.unlock()
            return nil
        }
        let object = record.pointee.object.retain(), stamp = record.pointee.stamp, expires = record.pointee.expires
        shard.lock.unlock()
        return Copy(object: object.takeRetainedValue(), stamp: stamp, expires: expires)
    }

    // MARK: Shards

    var shardCount: Int { 1 << shardBits }

    /// A lock and the shard it guards, side by side in memory and away from the other shards.
    struct Shard {
        static let stateOffset = (MemoryLayout<NearLock.Storage>.size + 7) & ~7
        static let stride = (stateOffset + MemoryLayout<NearShard>.size + 127) & ~127
        let lock: NearLock
        let state: UnsafeMutablePointer<NearShard>

        @inline(__always)
        init(at address: UnsafeMutableRawPointer) {
            lock = NearLock(at: address)
            state = (address + Self.stateOffset).assumingMemoryBound(to: NearShard.self)
        }

        func initialize(floorCount: Int) {
            lock.initialize()
            state.initialize(to: NearShard(floorCount: floorCount))
        }

        func destroy() {
            state.pointee.destroy()
            state.deinitialize(count: 1)
            lock.destroy()
        }

        /// Counts in the cache line that the lock has made ours already.
        @inline(__always)
        func hit(
            hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer, nowMilliseconds: UInt64
        ) -> UnsafeMutablePointer<NearRecord>? {
            guard let record = state.pointee.find(hash: hash, cache: cache, key: key),
                state.pointee.isCurrent(record, nowMilliseconds: nowMilliseconds)
            else {
                state.pointee.misses &+= 1
                return nil
            }
            state.pointee.hits &+= 1
            if !record.pointee.isReferenced { record.pointee.isReferenced = true }
            return record
        }
    }

    @inline(__always)
    func shard(at index: Int) -> Shard { Shard(at: base + index &* Shard.stride) }

    /// By the top bits of the hash, which also choose the floor; the index uses the low half.
    @inline(__always)
    func shard(of hash: UInt64) -> Shard { shard(at: Int(truncatingIfNeeded: (hash >> 32) >> (32 &- UInt64(shardBits)))) }

    /// Which floor of its shard a hash has: the next of the top 12 bits.
    func floorRange(of hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> 52) & (Self.floorCount >> shardBits - 1) }
}

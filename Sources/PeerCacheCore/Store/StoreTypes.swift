/// Names a registered cache inside one store. Never sent to another peer: indices of two stores differ.
package struct CacheIndex: Hashable, Sendable {
    /// 0..<``CacheTable/cachesMax``.
    package var value: UInt16

    package init(_ value: UInt16) { self.value = value }
}

/// What the store looks a key up by: the key's 64-bit hash under its cache's secret, and the cache. The key's bytes decide.
package struct KeyID: Hashable, Sendable {
    package var hash: UInt64
    package var cache: CacheIndex

    package init(hash: UInt64, cache: CacheIndex) {
        self.hash = hash
        self.cache = cache
    }

    /// The slot of the key: the top 14 bits of its hash.
    package var slot: Slot { Slot(hash: hash) }
    /// The bucket of the key: the top 17 bits of its hash.
    package var bucket: BucketIndex { BucketIndex(hash: hash) }
}

/// What the store knows about a held entry besides its value.
package struct EntryInfo: Hashable, Sendable {
    package var stamp: Stamp
    /// From this tick on the entry is dead; nil: it lives until it is evicted or replaced. A tombstone always has one.
    package var expiry: Tick?
    /// Length of the value; 0 for a tombstone.
    package var valueBytes: Int
    package var isTombstone: Bool
    /// ``SourceVersion``, where it was asked for; 0: the cache has none.
    package var sourceVersion: UInt64 = 0

    package init(stamp: Stamp, expiry: Tick?, valueBytes: Int, isTombstone: Bool) {
        self.stamp = stamp
        self.expiry = expiry
        self.valueBytes = valueBytes
        self.isTombstone = isTombstone
    }
}

/// Answer of ``ByteStore/copy(_:_:into:now:)``.
package enum ReadResult: Hashable, Sendable {
    /// The value's bytes are at the start of the destination.
    case hit(EntryInfo)
    /// The value is longer than the destination, which was left as it was.
    case tooSmall(EntryInfo)
    /// Nothing held, or a tombstone, expired, or cleared with its cache.
    case miss
}

/// Where a write comes from. Kept for admission policies: fills compete for room, explicit writes do not. Exact LRU admits both.
package enum WriteKind: Hashable, Sendable { case explicit, fill }

/// Answer to a write (`CONTRACT.md` §4).
package enum WriteResult: Hashable, Sendable {
    /// The store holds this write, now or already.
    case stored
    /// A newer write is held; nothing changed.
    case superseded
    /// Nothing is held: a floor stood against the write, or it could not be kept and the floor rose to its stamp.
    case forgotten
    /// The slot is not held here, or the cache is unknown; nothing changed.
    case notHolder
    /// It got no stamp; nothing changed.
    case refused
}

/// What a store refuses when it is made or a cache is registered.
package enum StoreError: Error, Hashable, Sendable, CustomStringConvertible {
    case limitTooSmall(bytes: Int, minimum: Int)
    case invalidShards(count: Int, max: Int)
    case tooManyCaches(max: Int)
    case cacheNameTooLong(bytes: Int, max: Int)
    case tooManyQuotas(max: Int)
    /// The limit is taken by what cannot be evicted.
    case noRoom(bytes: Int, limit: Int)
    /// The system refused addresses or memory.
    case noMemory(bytes: Int)

    package var description: String {
        switch self {
        case .limitTooSmall(let bytes, let minimum): "memory limit is \(bytes) bytes; the smallest allowed is \(minimum) bytes"
        case .invalidShards(let count, let max): "shard count is \(count); allowed with this memory limit are powers of two in 1...\(max)"
        case .tooManyCaches(let max): "too many caches: a store registers at most \(max)"
        case .tooManyQuotas(let max): "too many quotas: a store has them for at most \(max) caches"
        case .cacheNameTooLong(let bytes, let max): "cache name has \(bytes) bytes of UTF-8; allowed are 0...\(max)"
        case .noMemory(let bytes): "the system refused \(bytes) bytes of memory or address space"
        case .noRoom(let bytes, let limit): "no room for \(bytes) bytes within the memory limit of \(limit) bytes"
        }
    }
}

/// What one cache holds. Entries that were cleared or expired count until a sweep drops them.
package struct CacheUsage: Hashable, Sendable {
    /// Values, without tombstones.
    package var entries = 0
    package var tombstones = 0
    /// Bytes of values and tombstones: 56 each for entry and index, and key and value with their rounding.
    package var bytes = 0
    /// Of these, those of values.
    package var valueBytes = 0

    package init(entries: Int = 0, tombstones: Int = 0, bytes: Int = 0, valueBytes: Int = 0) {
        self.entries = entries
        self.tombstones = tombstones
        self.bytes = bytes
        self.valueBytes = valueBytes
    }
}

/// How often a write was answered ``WriteResult/forgotten``, by reason. Each counts up from 0 for the life of the store.
package struct ForgottenCounts: Hashable, Sendable {
    /// Nothing held, and a floor at or above the stamp.
    package var floor = 0
    /// Key or value longer than allowed.
    package var tooLarge = 0
    /// Everything evictable was gone and it still did not fit.
    package var noRoom = 0
    /// Dead by its own ttl when it came.
    package var expired = 0

    package var total: Int { floor + tooLarge + noRoom + expired }
}

/// State and counters of a store, added up shard by shard: exact when nobody writes.
package struct StoreMemory: Hashable, Sendable {
    /// Most bytes that may be counted.
    package var limit = 0
    /// Bytes counted now: fixed tables and pages taken from the system.
    package var counted = 0
    /// Of these, in pages that no shard has.
    package var free = 0
    /// Bytes of values and tombstones, as in ``CacheUsage/bytes``.
    package var charged = 0
    /// Values held, without tombstones.
    package var entries = 0
    package var tombstones = 0
    package var slotsHeld = 0
    /// Dropped to make room.
    package var evictions = 0
    /// Dropped because their time was up, tombstones included.
    package var expiries = 0
    /// Tombstones dropped before their time, because all together took more than 5 % of the limit.
    package var collections = 0
    /// Dropped because their cache was cleared.
    package var clearances = 0
    package var forgotten = ForgottenCounts()
}

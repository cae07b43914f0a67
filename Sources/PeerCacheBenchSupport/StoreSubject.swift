internal import PeerCacheCore

/// The byte store as the benchmarks drive it. Not API: made for the package `Benchmarks`, changes without notice.
///
/// The store's interface is `package`, which another package cannot call. What is measured loops here, so that a call of the store costs what
/// it costs in the library, and the wrapper is paid once per batch.
public final class StoreSubject: Sendable {
    /// What gives way when the limit is reached.
    public enum Policy: String, Sendable, CaseIterable {
        case lru, tinyLFU, s3fifo

        var kind: PolicyKind {
            switch self {
            case .lru: .lru
            case .tinyLFU: .tinyLFU
            case .s3fifo: .s3fifo
            }
        }
    }

    private let store: ByteStore
    private let cache: CacheIndex
    private let secret: HashSecret

    /// A store that holds all slots, with one cache.
    /// - Parameter limit: bytes that everything together may take.
    public init(limit: Int, policy: Policy = .lru, seed: UInt64 = 1) throws {
        store = try ByteStore(limit: limit, policy: policy.kind, shards: nil, seed: seed)
        cache = try store.register("bench")
        let bytes = (0..<HashSecret.byteCount).map { UInt8(truncatingIfNeeded: ($0 &* 167 &+ 13) ^ Int(truncatingIfNeeded: seed)) }
        guard let secret = HashSecret(bytes) else { throw StoreError.limitTooSmall(bytes: 0, minimum: 0) }
        self.secret = secret
        for index in 0..<Slot.count { if let slot = Slot(index: index) { store.adopt(slot) } }
    }

    /// The hash of a key as everybody can compute it; the store's own needs its secret.
    public static func unseededHash(_ key: [UInt8]) -> UInt64 { key.withUnsafeBytes { publicHash($0) } }

    // MARK: Batches

    /// Reads the keys with these numbers, one after the other.
    /// - Parameters:
    ///   - keys: key bytes by number.
    ///   - destination: takes the value each time.
    /// - Returns: how many were not held.
    public func copy(
        _ numbers: UnsafeBufferPointer<UInt32>, of keys: UnsafeBufferPointer<UnsafeRawBufferPointer>,
        into destination: UnsafeMutableRawBufferPointer, milliseconds: UInt64
    ) -> Int {
        let now = Tick(milliseconds: milliseconds)
        var misses = 0
        for number in numbers where !read(keys[Int(number)], into: destination, now: now) { misses &+= 1 }
        return misses
    }

    /// Writes the keys with these numbers, one after the other, explicitly and without time to live.
    /// - Returns: how many could not be kept.
    public func set(
        _ numbers: UnsafeBufferPointer<UInt32>, of keys: UnsafeBufferPointer<UnsafeRawBufferPointer>, value: UnsafeRawBufferPointer,
        milliseconds: UInt64
    ) -> Int {
        let now = Tick(milliseconds: milliseconds), time = milliseconds << 16
        var failures = 0
        for number in numbers where !write(keys[Int(number)], value, ttl: nil, now: now, time: time) { failures &+= 1 }
        return failures
    }

    // MARK: Single operations

    /// - Returns: whether the key is held.
    public func copy(_ key: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer, milliseconds: UInt64) -> Bool {
        read(key, into: destination, now: Tick(milliseconds: milliseconds))
    }

    /// - Parameter ttl: nil: for ever.
    /// - Returns: whether the value was kept.
    @discardableResult
    public func set(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, ttl: Duration? = nil, milliseconds: UInt64) -> Bool {
        write(key, value, ttl: ttl, now: Tick(milliseconds: milliseconds), time: milliseconds << 16)
    }

    @inline(__always)
    private func read(_ key: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer, now: Tick) -> Bool {
        if case .hit = store.copy(KeyID(hash: secret.hash(key), cache: cache), key.bytes, into: destination, now: now) {
            true
        } else {
            false
        }
    }

    @inline(__always)
    private func write(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, ttl: Duration?, now: Tick, time: UInt64) -> Bool {
        let id = KeyID(hash: secret.hash(key), cache: cache)
        return store.set(id, key.bytes, value: value.bytes, ttl: ttl, now: now) { held in
            Stamp(clock: max(time, held.clock + 1), origin: 1)
        }.0 == .stored
    }

    // MARK: Upkeep

    /// Drops entries whose time is up.
    public func expire(entriesMax: Int, milliseconds: UInt64) -> Int {
        store.expire(now: Tick(milliseconds: milliseconds), entriesMax: entriesMax)
    }

    /// Gives memory back.
    /// - Returns: whether work is left.
    public func sweep(bytesMax: Int, milliseconds: UInt64) -> Bool {
        store.sweep(now: Tick(milliseconds: milliseconds), bytesMax: bytesMax)
    }

    /// Sets the limit and returns at once.
    public func setLimit(_ bytes: Int) { store.setLimit(bytes) }

    /// What the store says of itself.
    public struct Usage: Sendable {
        /// Entries with a value.
        public var entries: Int
        /// Bytes counted against the limit.
        public var counted: Int
        /// Bytes charged to the entries.
        public var charged: Int
        /// Entries dropped for room.
        public var evictions: Int
    }

    /// What the store says of itself. O(shards).
    public var usage: Usage {
        let memory = store.memory
        return Usage(
            entries: memory.entries, counted: memory.counted, charged: store.usage(of: cache).bytes, evictions: memory.evictions)
    }
}

internal import Logging
internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// A named, typed group of keys, spread over the peers of the cluster. Made by ``CachePeer/cache(_:key:value:codec:options:loader:)``;
/// cheap to copy and safe to use from everywhere.
///
/// The read path: a near copy in this process; else the key's owner, which is this peer or one request away; else, on the owner, the loader,
/// once for everybody who waits.
public struct Cache<Key: CacheKey, Value: Sendable>: Sendable {
    let core: CacheCore
    @usableFromInline let codec: ValueCodec<Value>
    @usableFromInline let near: NearReader

    init(core: CacheCore, codec: ValueCodec<Value>) {
        self.core = core
        self.codec = codec
        near = NearReader(core)
    }

    /// The cache's name.
    public var name: String { core.name }

    // MARK: Reading

    /// The value of a key, or nil when it has none: the loader returned nil, or there is no loader and nothing is held.
    ///
    /// A near hit neither suspends nor allocates nor decodes. Otherwise one request to the key's owner at most; a miss there runs the loader
    /// once for all peers that wait. If the owner does not answer, another holder does, and at last the loader runs here and its value is
    /// returned but not stored.
    ///
    /// - Throws: the loader's own error when it ran in this process, `.loadFailed` with its description when it ran on another peer;
    ///   `.loadTimedOut`, `.overloaded`, `.keyTooLong`, `.encodingFailed` (of what the loader brought), `.incompatibleCache`,
    ///   `.invalidConfiguration`, `.peerUnreachable`, `.shuttingDown`; `.notRunning` when the peer has not started within the request timeout;
    ///   `CancellationError`.
    @inlinable
    public func get(_ key: Key) async throws -> Value? {
        if let value = nearValue(key) { return value }
        return try await find(key)
    }

    /// The value of a key if this process has it: a near copy, or the own store. Never loads, never suspends, never throws.
    ///
    /// A value from the own store may lag behind the key's owner when that is another peer.
    @inlinable
    public func peek(_ key: Key) -> Value? {
        if let value = nearValue(key) { return value }
        return peekOwn(key)
    }

    // MARK: Writing

    /// Stores a value under a key. The key's owner has it when this returns, and ``CacheOptions/ackedBy`` holders in all. Near copies of the
    /// older value on other peers go within milliseconds, after ``CacheOptions/nearFor`` at the latest; further holders follow.
    ///
    /// - Parameter ttl: time to live instead of the cache's; zero or less: expired at once.
    /// - Throws: `.valueTooLarge`, `.keyTooLong`, `.encodingFailed`, `.overloaded`, `.peerUnreachable`, `.incompatibleCache`,
    ///   `.invalidConfiguration`, `.notRunning`, `.shuttingDown`: nothing happened. `.indeterminate`, and `CancellationError` once it was sent:
    ///   it may take effect now, later or never; in fast caches not later than the request timeout after it was sent, also when the owner was
    ///   stopped and goes on. Set again, or remove.
    public func set(_ key: Key, _ value: Value, ttl: Duration? = nil) async throws {
        let bytes = try await prepare(key)
        let encoded: ByteBuffer
        do { encoded = try codec.encode(value) } catch {
            throw PeerCacheError(.encodingFailed, "cache \"\(name)\": the codec \"\(codec.name)\" threw", underlying: error)
        }
        guard encoded.readableBytes <= core.peer.valueBytesMax else {
            throw PeerCacheError(
                .valueTooLarge,
                "cache \"\(name)\": the value has \(encoded.readableBytes) bytes encoded; \(core.peer.valueLimit)")
        }
        core.counters.add(.sets)
        let hash = core.hash(bytes), token = core.nearToken(hash)
        let written = try await core.write(bytes, hash, .value(encoded, ttl: ttl ?? core.options.ttl, isFill: false))
        guard written.isCacheable else { return }
        let left = core.peer.millisecondsLeft(of: ttl ?? core.options.ttl, since: written.stamp)
        keepNear(
            NearBox(value), bytes, hash, encodedBytes: encoded.readableBytes, stamp: written.stamp, ttlMilliseconds: left, token: token,
            isWrite: true)
    }

    /// Removes a key. When this returns its owner no longer has it, and no load that began before can bring it back; near copies and further
    /// holders follow as with ``set(_:_:ttl:)``.
    ///
    /// Call it after the database has committed. Throws as ``set(_:_:ttl:)``.
    public func remove(_ key: Key) async throws {
        guard !core.types.isVersioned else {
            throw PeerCacheError(
                .invalidConfiguration,
                "cache \"\(name)\" has versions of its data source: call remove(_:sourceVersion:) with the version of the change")
        }
        try await remove(key, .tombstone())
    }

    /// Removes a key of a cache whose codec is ``ValueCodec/versioned(by:)``, as of a version: that of the change or deletion in the data
    /// source. Of what is held only lower and equal versions go, and as long as the removal is remembered (10 minutes, if memory allows) no
    /// lower version is stored.
    ///
    /// Throws as ``remove(_:)``; `.invalidConfiguration` when the cache has no versions.
    public func remove(_ key: Key, sourceVersion: UInt64) async throws {
        guard core.types.isVersioned else {
            throw PeerCacheError(
                .invalidConfiguration, "cache \"\(name)\" has no versions of its data source: its codec must be versioned(by:)")
        }
        try await remove(key, .tombstone(version: sourceVersion))
    }

    private func remove(_ key: Key, _ content: Content) async throws {
        let bytes = try await prepare(key)
        core.counters.add(.removes)
        _ = try await core.write(bytes, core.hash(bytes), content)
    }

    /// Empties the whole cache on all peers: every entry older than this call is a miss from now on, and no running load stores its value.
    /// O(members) requests; memory is given back by and by.
    ///
    /// - Throws: `.indeterminate` when a member does not answer within the request timeout; call again. Otherwise as ``set(_:_:ttl:)``.
    public func removeAll() async throws {
        try await prepare()
        try await core.removeAll()
    }

    // MARK: Looking

    /// Where a key lives and how fresh it is. One request to the owner, when that is another peer, and if it does not answer to the other
    /// holders; loads nothing.
    ///
    /// - Throws: `.keyTooLong`, `.incompatibleCache`, `.invalidConfiguration`, `.notRunning`, `.shuttingDown`; `CancellationError`.
    public func explain(_ key: Key) async throws -> KeyExplanation {
        let bytes = try await prepare(key)
        return try await core.explain(bytes, core.hash(bytes))
    }
}

extension Cache {
    /// The near copy of a key. No allocation, no lock. Inlinable, as a generic function that is not specialised in the caller's module costs
    /// some hundred nanoseconds.
    @inlinable
    @inline(__always)
    func nearValue(_ key: Key) -> Value? {
        // Plain pointers; `self` keeps what they lead to, but the closure must not capture it: that would count three references.
        let near = near
        guard near.isOn else { return nil }
        return withExtendedLifetime(self) {
            // All of it within the key's closure: a key type of the user may call it twice or never.
            key.withKeyBytes { bytes in
                guard let hit = near.enter(bytes) else { return nil }
                // Only this cache's keys have its index, and only boxes of its value type are put under them. No reference is counted.
                let value = Unmanaged<NearBox<Value>>.fromOpaque(hit.object)._withUnsafeGuaranteedRef { $0.value }
                near.leave(hit)
                return value
            }
        }
    }

    @usableFromInline
    func peekOwn(_ key: Key) -> Value? {
        guard core.failure == nil else { return nil }
        let bytes = key.keyBytes
        let hash = core.hash(bytes)
        guard core.isServing(hash), let found = core.held(bytes, hash) else { return nil }
        return try? codec.decode(found.bytes)
    }

    @usableFromInline
    func find(_ key: Key) async throws -> Value? { try await find(key.keyBytes) }

    private func find(_ bytes: [UInt8]) async throws -> Value? {
        try await prepare(bytes)
        let hash = core.hash(bytes), token = core.nearToken(hash)
        guard let found = try await core.find(bytes, hash) else { return nil }
        if let value = value(of: found, bytes, hash, token: token) { return value }
        // Stored bytes that cannot be decoded are a miss: drop them, load again.
        guard let stored = try await core.replace(undecodable: found, bytes, hash) else { return nil }
        if let value = value(of: stored, bytes, hash, token: token) { return value }
        // The owner encodes in a form that this process cannot read: a deploy that changes the type is under way.
        return try await core.loadHere(bytes, hash).flatMap { value(of: $0, bytes, hash, token: token) }
    }

    /// Decodes what was found and keeps a near copy. Nil: the codec cannot decode it.
    /// - Parameter token: of the near store, from before the search began.
    func value(of found: Found, _ bytes: [UInt8], _ hash: UInt64, token: NearStore.Token?) -> Value? {
        var box: NearBox<Value>?
        if let object = found.object { box = object as? NearBox<Value> }
        let value: Value
        if let box {
            value = box.value
        } else {
            do { value = try codec.decode(found.bytes) } catch {
                core.counters.add(.decodeFailures)
                core.peer.logger.debug(
                    "stored value cannot be decoded",
                    metadata: [LogKey.cache.rawValue: "\(name)", LogKey.error.rawValue: "\(error)"])
                return nil
            }
        }
        if found.isCacheable {
            keepNear(
                box ?? NearBox(value), bytes, hash, encodedBytes: found.bytes.readableBytes, stamp: found.stamp,
                ttlMilliseconds: found.ttlMilliseconds, token: token)
        }
        return value
    }

    private func keepNear(
        _ box: NearBox<Value>, _ bytes: [UInt8], _ hash: UInt64, encodedBytes: Int, stamp: Stamp, ttlMilliseconds: UInt64?,
        token: NearStore.Token?, isWrite: Bool = false
    ) {
        guard core.keepsNear, let token else { return }
        let near = UInt64(core.options.nearLife.millisecondsRoundedUp)
        let life = min(near, ttlMilliseconds ?? .max)
        guard life > 0 else { return }
        bytes.withUnsafeBytes { key in
            let now = ClusterClock.wallMilliseconds
            _ = core.peer.near.insert(
                box, hash: hash, cache: core.index.value, key: key, encodedBytes: encodedBytes, stamp: stamp,
                expires: now &+ min(life, 1 << 47), nowMilliseconds: now, token: token, isWrite: isWrite)
        }
    }

    func prepare() async throws {
        if let failure = core.failure { throw failure }
        try await core.peer.started()
    }

    func prepare(_ bytes: [UInt8]) async throws {
        try await prepare()
        guard bytes.count <= WireLimits.keyBytesMax else {
            throw PeerCacheError(
                .keyTooLong, "cache \"\(name)\": the key has \(bytes.count) bytes; the limit is \(WireLimits.keyBytesMax)")
        }
    }

    private func prepare(_ key: Key) async throws -> [UInt8] {
        let bytes = key.keyBytes
        try await prepare(bytes)
        return bytes
    }
}

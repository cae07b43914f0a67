internal import CoreMetrics
internal import Logging
internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport
internal import Synchronization

/// One cache without its types: keys and values are bytes, decoded values are objects.
final class CacheCore: Sendable {
    /// The user's loader: key bytes in, value out in both forms.
    typealias ErasedLoader = @Sendable (_ key: [UInt8]) async throws -> (bytes: ByteBuffer, object: any AnyObject & Sendable)?

    let peer: PeerCore
    let name: String
    let nameBytes: [UInt8]
    let index: CacheIndex
    let options: CacheOptions
    let types: CacheTypes
    let typeFingerprint: UInt32
    let secret: HashSecret
    let loader: ErasedLoader?
    /// Why every operation of this handle throws.
    let failure: PeerCacheError?
    /// Near copies are made. Never for a handle that failed: its values are of another type than those under its index.
    let keepsNear: Bool
    /// The numbers of a strict cache; nil: a fast one.
    let scheme: QuorumScheme?
    /// Of a strict cache: on which slots this peer votes.
    let votes: Votes?
    let counters = StripedCounters<CacheCounter>()
    let metrics: CacheMetrics
    let trail = ReadTrail()
    let sampler: NearSampler
    /// For what may load on another peer.
    let loadPatience: Patience
    private let hasWarnedOfSize = Atomic(false)
    private let loads: LoadDriver
    private let fallbackLoads: LoadDriver

    init(
        peer: PeerCore, name: String, index: CacheIndex, options: CacheOptions, types: CacheTypes, secret: HashSecret,
        votes: Votes?, loader: ErasedLoader?, failure: PeerCacheError?
    ) {
        self.peer = peer
        self.name = name
        nameBytes = Array(name.utf8)
        self.index = index
        self.options = options
        self.types = types
        typeFingerprint = types.fingerprint
        self.secret = secret
        self.loader = loader
        self.failure = failure
        scheme = failure == nil ? options.scheme : nil
        self.votes = votes
        keepsNear = failure == nil && options.nearLife > .zero
        metrics = peer.metrics.cache(name)
        sampler = NearSampler(clock: peer.clock)
        loadPatience = Patience(max(peer.configuration.requestTimeout, options.loadTimeout + .seconds(1)))
        let timeout = max(.milliseconds(1), options.loadTimeout)
        let loadsMax = peer.configuration.limits.loadsMax
        loads = LoadDriver(timeout: timeout, loadsMax: loadsMax, tasks: peer.loaders, clock: peer.clock, counters: counters)
        fallbackLoads = LoadDriver(timeout: timeout, loadsMax: loadsMax, tasks: peer.loaders, clock: peer.clock, counters: counters)
    }

    func hash(_ key: [UInt8]) -> UInt64 { key.withUnsafeBytes { secret.hash($0) } }

    func id(_ hash: UInt64) -> KeyID { KeyID(hash: hash, cache: index) }

    /// Loads that run on this peer for this cache.
    var loadsRunning: Int { loads.count + fallbackLoads.count }

    /// Called every 100 ms.
    func tick() {
        loads.tick()
        fallbackLoads.tick()
        compareSamples()
    }

    /// Fails everybody who waits for a load. Call it when nobody ticks any more.
    func stop() {
        loads.stop()
        fallbackLoads.stop()
    }

    // MARK: Own store

    /// Reads the own store; false: nothing is held. `body` may run under the store's lock, and must not call the store. Not generic: that costs four times as much.
    func visitHeld(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, upTo limit: Int = .max, _ body: (EntryInfo, RawSpan) -> Void
    ) -> Bool {
        peer.store.visit(id(hash), key.bytes, now: peer.clock.tick(), upTo: limit, body)
    }

    /// Whether what the own store holds of a key may be used: the slot is held for this cache, and nobody else may have changed it.
    func isServing(_ hash: UInt64) -> Bool {
        guard scheme == nil else { return false }  // one holder alone knows nothing for sure
        return switch peer.replicator.serving(hash) {
        case .open, .warming: peer.table.routing.isHolder(Slot(hash: hash), copies: options.copies)
        case .claiming, .doubtful, .kept: false
        }
    }

    /// A copy of what the own store holds.
    func held(_ key: [UInt8], _ hash: UInt64) -> Found? {
        var found: Found?
        var large = 0
        _ = key.withUnsafeBytes { key in
            visitHeld(key, hash, upTo: WireLimits.chunkBytes) { info, value in
                guard value.byteCount == info.valueBytes else { return large = info.valueBytes }
                found = self.found(value.withUnsafeBytes { ByteBuffer(bytes: $0) }, info)
            }
        }
        return large > 0 ? heldLarge(key, hash, large) : found
    }

    private func found(_ bytes: ByteBuffer, _ info: EntryInfo) -> Found {
        Found(bytes: bytes, object: nil, stamp: info.stamp, ttlMilliseconds: peer.millisecondsLeft(info.expiry), source: .own)
    }

    /// As ``held(_:_:)`` for a long value: copied once, to where it stays.
    /// - Parameter byteCount: as it was seen.
    func heldLarge(_ key: [UInt8], _ hash: UInt64, _ byteCount: Int) -> Found? {
        var byteCount = byteCount
        // It may be replaced by a longer one meanwhile.
        for _ in 0..<3 {
            var bytes = ByteBuffer(), result = ReadResult.miss
            bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: byteCount) { target in
                result = key.withUnsafeBytes { peer.store.copy(id(hash), $0.bytes, into: target, now: peer.clock.tick()) }
                return if case .hit(let info) = result { info.valueBytes } else { 0 }
            }
            switch result {
            case .hit(let info): return found(bytes, info)
            case .tooSmall(let info): byteCount = info.valueBytes
            case .miss: return nil
            }
        }
        return nil
    }

    // MARK: Loading at the owner

    /// Waits for the load of a key that this peer owns.
    /// - Parameter known: the highest stamp that the caller knows of.
    func load(_ key: [UInt8], _ hash: UInt64, guard known: Stamp = .zero) async throws -> LoadOutcome {
        let guardStamp = max(known, guardStamp(key, hash)), placement = peer.table.routing.digest
        return try await loads.load(
            LoadKey(cache: index.value, bytes: key, placement: placement), lease: peer.mint(above: guardStamp), guard: guardStamp,
            loader: { lease in await self.runLoader(key, hash, lease: lease, placement: placement) },
            shared: { counters.add(.coalescedWaits) })
    }

    /// As ``load(_:_:)`` for another peer's request.
    func load(_ key: [UInt8], _ hash: UInt64, guard known: Stamp, waiter: @escaping LoadDriver.Waiter) -> WaiterID {
        let guardStamp = max(known, guardStamp(key, hash)), placement = peer.table.routing.digest
        let (waiterID, isShared) = loads.join(
            LoadKey(cache: index.value, bytes: key, placement: placement), lease: peer.mint(above: guardStamp), guard: guardStamp,
            loader: { lease in await self.runLoader(key, hash, lease: lease, placement: placement) }, waiter: waiter)
        if isShared { counters.add(.coalescedWaits) }
        return waiterID
    }

    /// Whether a key that is not held may be found in some other way.
    func mayFind(_ serving: Serving) -> Bool { loader != nil || serving == .warming || serving == .doubtful }

    func guardStamp(_ key: [UInt8], _ hash: UInt64) -> Stamp {
        key.withUnsafeBytes { peer.store.guardStamp(id(hash), $0.bytes) }
    }

    func abandon(_ waiter: WaiterID) { loads.abandon(waiter) }

    /// Loads here what a silent owner cannot; shared by the callers of this process and not stored (`CONTRACT.md` §7).
    func loadAtCaller(_ key: [UInt8], _ hash: UInt64) async throws -> LoadOutcome {
        guard loader != nil else { return .absent }
        counters.add(.fallbackLoads)
        return try await fallbackLoads.load(
            LoadKey(cache: index.value, bytes: key), lease: peer.mint(above: .zero), guard: .zero,
            loader: { lease in await self.runLoader(key, hash, lease: lease, placement: nil) },
            shared: { counters.add(.coalescedWaits) })
    }

    /// - Parameter placement: under which the load began; nil: the value is not stored.
    private func runLoader(_ key: [UInt8], _ hash: UInt64, lease: Stamp, placement: UInt64?) async -> Result<LoadOutcome, any Error> {
        if scheme != nil, let placement { return await runStrictLoader(key, hash, lease: lease, placement: placement) }
        if placement != nil {
            // The load before this one may have ended between the caller's look at the store and its joining.
            if peer.replicator.serving(hash) != .doubtful, let found = held(key, hash) { return .success(.value(LoadedValue(found))) }
            if let found = await fetch(key, hash) { return .success(.value(LoadedValue(found))) }
        }
        return await callLoader(key, lease: lease) { loaded in
            guard let placement else { return false }
            return self.fill(key, hash, loaded, placement: placement)
        }
    }

    /// - Parameter fill: stores what the loader brought; false: it is for those who wait only.
    func callLoader(
        _ key: [UInt8], lease: Stamp, fill: (LoadedValue) async -> Bool
    ) async -> Result<LoadOutcome, any Error> {
        guard let loader else { return .success(.absent) }
        counters.add(.loads)
        let started = ClusterClock.monotonicNanoseconds
        defer { metrics.loadDuration.recordNanoseconds(ClusterClock.monotonicNanoseconds - started) }
        do {
            guard let (bytes, object) = try await loader(key) else { return .success(.absent) }
            if bytes.readableBytes > peer.valueBytesMax { warnOfSize(bytes.readableBytes) }
            let left = peer.millisecondsLeft(of: options.ttl, since: lease)
            var loaded = LoadedValue(bytes: bytes, object: object, stamp: lease, ttlMilliseconds: left, isStored: false)
            loaded.isStored = await fill(loaded)
            return .success(.value(loaded))
        } catch {
            counters.add(.loadErrors)
            return .failure(error)
        }
    }

    /// Such a value reaches those who wait for it, and a caller on another peer only by a load of its own.
    private func warnOfSize(_ byteCount: Int) {
        counters.add(.valuesTooLarge)
        guard !hasWarnedOfSize.exchange(true, ordering: .relaxed) else { return }
        peer.logger.warning(
            "a loaded value is too large to be stored, so it is loaded for each read",
            metadata: [
                LogKey.cache.rawValue: "\(name)", LogKey.reason.rawValue: "\(byteCount) bytes encoded; \(peer.valueLimit)",
            ])
    }

    /// Stores what a loader brought, unless something newer was written meanwhile, and sends the copies.
    private func fill(_ key: [UInt8], _ hash: UInt64, _ loaded: LoadedValue, placement: UInt64) -> Bool {
        // A load that outlived its placement is for its waiters only: another peer may have owned the key meanwhile.
        guard loaded.bytes.readableBytes <= peer.valueBytesMax, peer.table.routing.digest == placement else { return false }
        let result: WriteResult = key.withUnsafeBytes { key in
            loaded.bytes.withUnsafeReadableBytes { value in
                // What is outdated by its version nobody else gets either: no floor need rise above its stamp.
                let version = peer.store.sourceVersion(value, index)
                guard version == 0 || peer.store.wants(id(hash), key.bytes, stamp: loaded.stamp, version: version) else {
                    return .superseded
                }
                return peer.store.apply(
                    id(hash), key.bytes, value: value.bytes, stamp: loaded.stamp, ttl: options.ttl, kind: .fill, now: peer.clock.tick())
            }
        }
        guard result == .stored else {
            counters.add(.fillsForgotten)
            return false
        }
        dropNear(key, hash, below: loaded.stamp)
        // Older copies than what was evicted here may still be elsewhere.
        if keepsNear { peer.coherence.changed(hash, loaded.stamp) }
        sendCopies(.value(loaded.bytes, ttl: options.ttl, isFill: true), key, hash, loaded.stamp)
        return true
    }
}

/// A value that a read found.
struct Found: Sendable {
    var bytes: ByteBuffer
    /// The boxed value, when it was loaded in this process.
    var object: (any AnyObject & Sendable)?
    var stamp: Stamp
    /// Nil: does not expire.
    var ttlMilliseconds: UInt64?
    var source: ReadSource
    /// Near copies may be made.
    var isCacheable = true
}

extension PeerCore {
    /// A stamp of this peer above `stamp`.
    func mint(above stamp: Stamp) -> Stamp { Stamp(clock: clock.mint(above: stamp.clock), origin: me.originTag) }

    /// - Parameter limit: milliseconds since 1970: of a later stamp nil is returned. Nil: none.
    func mint(above stamp: Stamp, until limit: UInt64?) -> Stamp? {
        guard let limit else { return mint(above: stamp) }
        return clock.mint(above: stamp.clock, until: limit).map { Stamp(clock: $0, origin: me.originTag) }
    }

    /// What is left of a time to live that counts from a stamp, in milliseconds, rounded down: nothing outlives it (`CONTRACT.md` P3).
    func millisecondsLeft(of ttl: Duration?, since stamp: Stamp) -> UInt64? {
        guard let ttl else { return nil }
        let whole = UInt64(max(0, ttl.nanosecondsSaturating) / 1_000_000)
        let now = clock.reading() >> 16
        let age = now > stamp.milliseconds ? now - stamp.milliseconds : 0
        return whole > age ? whole - age : 0
    }

    /// Time until a tick begins, in milliseconds. Not in whole ticks: rounded up, a near copy would outlive its entry.
    func millisecondsLeft(_ expiry: Tick?) -> UInt64? {
        guard let expiry else { return nil }
        let now = clock.reading() >> 16
        let ticks = UInt64(max(0, Tick(milliseconds: now).distance(to: expiry)))
        return ticks == 0 ? 0 : ticks * Tick.milliseconds - now % Tick.milliseconds
    }
}

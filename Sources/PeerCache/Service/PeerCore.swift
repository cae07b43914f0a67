internal import Logging
internal import PeerCacheCore
internal import PeerCacheTransport
internal import Synchronization

/// What the caches of one peer share: stores, clock, routing, connections, loads. Knows nothing of types.
final class PeerCore: Sendable {
    let configuration: CachePeerConfiguration
    let clock = ClusterClock()
    let store: ByteStore
    let near: NearStore
    let coherence: NearCoherence
    let safety: WriteSafety
    let valueBytesMax: Int
    /// Which limit ``valueBytesMax`` is, and what to change.
    var valueLimit: String {
        let limit = configuration.limits.valueBytesMax
        return valueBytesMax == limit
            ? "the limit is \(limit): raise `limits.valueBytesMax` on all peers"
            : "the limit is \(valueBytesMax), an eighth of the store, which has three quarters of `memory`: raise `memory` on all peers"
    }
    let directory: ConnectionDirectory
    let table: RoutingTable
    let replicator: Replicator
    /// Loaders of all caches. A loader that is deaf to cancellation counts until it ends.
    let loaders: TaskOwner
    /// Answers that wait for other peers.
    let tasks = TaskOwner(countMax: 16_384)
    let events = EventBroadcast()
    let counters = StripedCounters<PeerCounter>()
    let metrics: PeerMetrics
    let logger: Logger
    private let hashKey: HashKey

    enum Phase: Sendable { case idle, starting, running, stopping, stopped }

    private struct State {
        var phase = Phase.idle
        var caches: [CacheCore] = []
        var byIndex: [CacheIndex: CacheCore] = [:]
        var problem: PeerCacheError?
        var byName: [String: CacheCore] = [:]
        /// By the public hash of the name, for requests that bring the name as bytes.
        var byHash: [UInt64: CacheCore] = [:]
        var synchronize: (@Sendable (PeerID) -> Void)?
        var dial: (@Sendable (PeerID) -> Void)?
        var cachesChanged: (@Sendable () -> Void)?
        var isSearching: (@Sendable () -> Bool)?
    }
    private let state = Lock(State())
    /// Whether the phase is `running`, for every operation to look at.
    private let isRunning = Atomic(false)
    /// For what loads nothing.
    let requestPatience: Patience

    init(configuration: CachePeerConfiguration, validated: ValidatedConfiguration, me: PeerID) throws(PeerCacheError) {
        self.configuration = configuration
        requestPatience = Patience(configuration.requestTimeout)
        do { store = try ByteStore(limit: validated.storeBytes, policy: configuration.eviction.kind, shards: nil, seed: me.low) } catch {
            throw PeerCacheError(.invalidConfiguration, "memory: \(error)", underlying: error)
        }
        safety = WriteSafety(bytesMax: configuration.memory.bytes / 64)
        valueBytesMax = validated.valueBytesMax
        loaders = TaskOwner(countMax: configuration.limits.loadsMax)
        directory = ConnectionDirectory()
        hashKey = validated.hashKey
        table = RoutingTable(Routing(placement: .empty, me: me, view: nil))
        near = NearStore(limits: .init(entriesMax: max(16, validated.nearBytes / 128), costMax: validated.nearBytes))
        coherence = NearCoherence(
            near: near, directory: directory, table: table, clock: clock, counters: counters, bytesMax: validated.sharerBytes)
        replicator = Replicator(me: me, configuration: validated.replica, voters: validated.voters)
        metrics = PeerMetrics(cluster: configuration.cluster, factory: configuration.metricsFactory)
        logger = configuration.logger
    }

    /// This peer's id: another one after it met a process that had it before.
    var me: PeerID { table.routing.me }

    // MARK: Phases

    var phase: Phase { state.withLock { $0.phase } }

    func setPhase(_ phase: Phase) {
        state.withLock { state in
            state.phase = phase
            // Until it has found others, or tried to, it looks each time, and an observer whether it knows anybody.
            isRunning.store(false, ordering: .releasing)
        }
    }

    /// False when another call of `run()` came first.
    func beginStarting() -> Bool {
        state.withLock { state in
            guard state.phase == .idle else { return false }
            state.phase = .starting
            return true
        }
    }

    /// Returns when the peer runs; one that is about to start is waited for, a search for others too, as what is written alone is not with them,
    /// and an observer until it knows a peer that holds slots.
    func started() async throws {
        if isRunning.load(ordering: .acquiring) { return }
        let deadline = ClusterClock.monotonicNanoseconds &+ configuration.requestTimeout.nanosecondsSaturating
        while true {
            switch phase {
            case .running where isObserver && !table.routing.placement.isEmpty: return
            case .running where !isObserver && hasSearched: return
            case .stopping: return
            case .stopped: throw PeerCacheError(.shuttingDown, "the peer has stopped")
            case .idle, .starting, .running:
                guard ClusterClock.monotonicNanoseconds < deadline else {
                    if phase == .running { return }  // its loader may help
                    throw PeerCacheError(
                        .notRunning, "the peer does not run: call `run()` in a task, or give the peer to a ServiceGroup")
                }
                try await Task.sleep(for: .milliseconds(5))
            }
        }
    }

    /// How to ask a peer for its member list, how to reach one, what to do about a new cache, and whether other peers are still being looked for;
    /// set while the peer runs.
    func connect(
        synchronize: (@Sendable (PeerID) -> Void)?, dial: (@Sendable (PeerID) -> Void)?, cachesChanged: (@Sendable () -> Void)?,
        isSearching: (@Sendable () -> Bool)? = nil
    ) {
        state.withLock { state in
            state.isSearching = isSearching
            state.synchronize = synchronize
            state.dial = dial
            state.cachesChanged = cachesChanged
        }
    }

    /// Whether other peers have been found and placed, or looked for. Once true it stays so while the peer runs.
    var hasSearched: Bool {
        if isRunning.load(ordering: .acquiring) { return true }
        guard phase == .running, state.withLock({ $0.isSearching })?() != true else { return false }
        state.withLock { if $0.phase == .running { isRunning.store(true, ordering: .releasing) } }
        return true
    }

    var isObserver: Bool { configuration.role == .observer }

    /// An observer has connections to few peers until it calls others.
    func reach(_ peer: PeerID) async { await reach([peer]) }

    func reach(_ peers: [PeerID]) async {
        let missing = peers.filter { directory.connection(to: $0) == nil }
        for peer in missing { state.withLock { $0.dial }?(peer) }
        for peer in missing { await waitForPath(to: peer, orChangeOf: table.routing.digest, within: .milliseconds(500)) }
    }

    func synchronize(with peer: PeerID) { state.withLock { $0.synchronize }?(peer) }

    // MARK: Caches

    /// What was wrong with the first cache that could not be made.
    var problem: PeerCacheError? { state.withLock { $0.problem } }

    /// All caches that could be made, in the order of their registration.
    var caches: [CacheCore] { state.withLock { $0.caches } }

    /// The same by their place in the store: looked up, never iterated.
    var cachesByIndex: [CacheIndex: CacheCore] { state.withLock { $0.byIndex } }

    /// A machine wants to hear of the placement. Not at once: the caller may hold locks.
    func wantsPlacement() {
        _ = tasks.start { [weak self] in self?.state.withLock { $0.cachesChanged }?() }
    }

    func releaseCaches() { state.withLock { ($0.caches, $0.byIndex, $0.byName, $0.byHash) = ([], [:], [:], [:]) } }

    func cache(named name: UnsafeRawBufferPointer) -> CacheCore? {
        let hash = publicHash(name)
        guard let cache = state.withLock({ $0.byHash[hash] }), cache.nameBytes.elementsEqual(name) else { return nil }
        return cache
    }

    /// The cache of this name: made now, or the one that exists if it is of the same types.
    func register(_ name: String, options: CacheOptions, types: CacheTypes, loader: CacheCore.ErasedLoader?) -> CacheCore {
        let secret = hashKey.hashSecret(cache: name)
        // Outside the lock: it may evict. Twice at once comes to the same.
        let isKnown = cache(named: name) != nil
        let (index, problem) = isKnown ? (CacheIndex(0), nil) : place(name, options, types)
        let votes = problem == nil ? options.scheme.flatMap { replicator.votes(of: $0) } : nil
        let (cache, changed): (CacheCore, (@Sendable () -> Void)?) = state.withLock { state in
            if let existing = state.byName[name] {
                if existing.types == types { return (existing, nil) }
                let failure = PeerCacheError(
                    .incompatibleCache,
                    "cache \"\(name)\" of \(types) was registered before as a cache of \(existing.types); use another name")
                return (
                    CacheCore(
                        peer: self, name: name, index: existing.index, options: options, types: types, secret: secret, votes: nil,
                        loader: nil,
                        failure: failure), nil
                )
            }
            let cache = CacheCore(
                peer: self, name: name, index: index, options: options, types: types, secret: secret, votes: votes, loader: loader,
                failure: problem)
            state.byName[name] = cache
            if let problem {
                // It has no place in the store, and is none of those that others share.
                state.problem = state.problem ?? problem
                return (cache, nil)
            }
            state.caches.append(cache)
            state.byIndex[index] = cache
            state.byHash[publicHash(name)] = cache
            return (cache, state.cachesChanged)
        }
        changed?()
        return cache
    }

    /// The hash of a key of a cache that is not registered here.
    func hash(_ key: UnsafeRawBufferPointer, cache name: UnsafeRawBufferPointer) -> UInt64 {
        hashKey.hashSecret(cache: String(decoding: name, as: UTF8.self)).hash(key)
    }

    private func cache(named name: String) -> CacheCore? { state.withLock { $0.byName[name] } }

    /// A place for the cache in the store, or why there is none.
    private func place(_ name: String, _ options: CacheOptions, _ types: CacheTypes) -> (CacheIndex, PeerCacheError?) {
        do throws(PeerCacheError) { try options.validate(cache: name) } catch { return (CacheIndex(0), error) }
        if let scheme = options.scheme {
            guard configuration.minimumPeers != nil else {
                return (
                    CacheIndex(0),
                    PeerCacheError(
                        .invalidConfiguration,
                        "cache \"\(name)\" is strict (readFrom + ackedBy > copies), and minimumPeers is nil; set it to more than half of the "
                            + "peers that you start, so that a part of them never takes itself for a new cluster")
                )
            }
            guard scheme.sealQuorum(of: scheme.copies) < scheme.copies || configuration.strictResetAfter != nil else {
                return (
                    CacheIndex(0),
                    PeerCacheError(
                        .invalidConfiguration,
                        "cache \"\(name)\" with copies \(scheme.copies), readFrom \(scheme.readFrom) and ackedBy \(scheme.ackedBy) bears no lost "
                            + "peer, and strictResetAfter is nil; set it, or use 3, 2 and 2")
                )
            }
            guard replicator.votes(of: scheme) != nil else {
                return (
                    CacheIndex(0),
                    PeerCacheError(
                        .invalidConfiguration,
                        "cache \"\(name)\": copies, readFrom and ackedBy are the \(Replicator.schemesMax + 1)th combination of strict caches; "
                            + "use one that another cache has")
                )
            }
        }
        do {
            let index = try store.register(name)
            if types.isVersioned { store.setVersioned(index) }
            if let memoryMax = options.memoryMax { try store.setQuota(index, memoryMax.bytes) }
            return (index, nil)
        } catch {
            return (CacheIndex(0), PeerCacheError(.invalidConfiguration, "cache \"\(name)\": \(error)", underlying: error))
        }
    }
}

/// What two registrations of a cache must have in common.
struct CacheTypes: Hashable, Sendable, CustomStringConvertible {
    var key: String
    var value: String
    var codec: String
    /// Values carry a version of their data source.
    var isVersioned: Bool
    /// The types themselves; only for registrations in this process.
    var local: [ObjectIdentifier]

    var description: String { "\(key) to \(value) by \(codec)" }

    /// What peers compare. Never 0, which means "not checked".
    var fingerprint: UInt32 {
        max(1, UInt32(truncatingIfNeeded: publicHash("\(key)\u{0}\(value)\u{0}\(codec)")))
    }
}

internal import Logging
internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

extension CacheCore {
    static let observerAlone = "this observer has found no peer of the cluster: check `discovery`"

    /// Finds the value of a key: own store, owner, other holders, loader. Nil: the key has no value.
    ///
    /// - Throws: the loader's own error when it ran here; otherwise `PeerCacheError`; `CancellationError`.
    func find(_ key: [UInt8], _ hash: UInt64) async throws -> Found? {
        let found =
            if let scheme { try await findByQuorum(scheme, key, hash) } else { try await findWithoutNote(key, hash) }
        trail.note(hash, found?.source ?? .absent)
        switch found?.source {
        case .own: counters.add(.ownHits)
        case .peer, .fallback: counters.add(.peerHits)
        case .loaded, .absent, .near, nil: counters.add(.misses)
        }
        return found
    }

    private func findWithoutNote(_ key: [UInt8], _ hash: UInt64) async throws -> Found? {
        var disagreements = 0, triedAgain = false, triedElsewhere = false
        var settling = Settling()
        while true {
            let routing = peer.table.routing
            guard let owner = routing.owner(hash) else {
                if peer.isObserver, loader == nil {
                    throw PeerCacheError(.peerUnreachable, Self.observerAlone)
                }
                return try await loadHere(key, hash)
            }
            if owner == routing.me {
                guard try await peer.settled(hash) else { return try await loadHere(key, hash) }
                guard peer.table.routing.isOwned(hash) else { continue }
                return try await findOwned(key, hash)
            }
            switch await answer(of: owner, key, hash, kind: .get) {
            case .success(let response):
                switch response.status {
                case .ok: return found(response, from: owner)
                case .absent: return nil
                case .notOwner where response.placement == routing.digest:
                    guard try await settling.wait() else { return try await loadHere(key, hash) }
                case .notOwner where disagreements < 25:
                    // One of us has an older member list: compare, then again. Never forwarded, so never in a circle.
                    disagreements += 1
                    peer.synchronize(with: owner)
                    // It may be the owner that is behind, so not for long.
                    let deadline = ClusterClock.monotonicNanoseconds &+ 20_000_000
                    _ = await peer.table.waitForChange(of: routing.digest, deadlineNanoseconds: deadline)
                case .notOwner, .noLoader, .valueTooLarge, .shuttingDown: return try await loadHere(key, hash)
                default: throw error(of: response, from: owner)
                }
            case .failure(.cancelled): throw CancellationError()
            case .failure(.overloaded): throw PeerCacheError(.overloaded, "too many calls to peer \(owner) wait for an answer")
            case .failure(.closed) where !triedAgain && peer.directory.connection(to: owner) != nil,
                .failure(.unreachable) where !triedAgain && peer.directory.connection(to: owner) != nil:
                triedAgain = true  // the connection went, the peer did not
            case .failure(let failure):
                if let found = try await findElsewhere(key, hash, routing, silent: owner) { return found }
                guard failure != .timedOut, !triedElsewhere, peer.isReached(owner) else { return try await loadHere(key, hash) }
                // Nobody has it. The owner is about to be connected (it has just joined) or to be replaced (it has just died): one of
                // them should load, for everybody.
                triedElsewhere = true
                await peer.waitForPath(to: owner, orChangeOf: routing.digest, within: .milliseconds(300))
            }
        }
    }

    private func findOwned(_ key: [UInt8], _ hash: UInt64) async throws -> Found? {
        let serving = peer.replicator.serving(hash)
        if serving != .doubtful, let found = heldForReader(key, hash) { return found }
        guard mayFind(serving) else { return nil }
        var loaded = found(try await load(key, hash))
        if peer.replicator.serving(hash) != .open { loaded?.isCacheable = false }
        return loaded
    }

    /// As ``held(_:_:)``; no near copies are made until the slot is complete, as another holder may still bring something newer.
    func heldForReader(_ key: [UInt8], _ hash: UInt64) -> Found? {
        let isComplete = peer.replicator.serving(hash) == .open
        var found = held(key, hash)
        found?.isCacheable = isComplete
        return found
    }

    /// What the owner answered.
    func found(_ response: PeerResponse, from owner: PeerID) -> Found {
        var found = Found(response, source: .peer)
        found.isCacheable = keepsNear && peer.coherence.mayKeep(response.near, from: owner)
        return found
    }

    func loadHere(_ key: [UInt8], _ hash: UInt64) async throws -> Found? { found(try await loadAtCaller(key, hash)) }

    func found(_ outcome: LoadOutcome) -> Found? {
        switch outcome {
        case .absent: nil
        case .value(let loaded):
            Found(
                bytes: loaded.bytes, object: loaded.object, stamp: loaded.stamp,
                ttlMilliseconds: loaded.ttlMilliseconds, source: .loaded, isCacheable: loaded.isStored)
        }
    }

    /// The owner does not answer: what do the other holders have? They answer what they hold and never load.
    private func findElsewhere(_ key: [UInt8], _ hash: UInt64, _ routing: Routing, silent: PeerID) async throws -> Found? {
        peer.logger.debug(
            "owner does not answer", metadata: [LogKey.peer.rawValue: "\(silent)", LogKey.cache.rawValue: "\(name)"])
        for holder in routing.holders(hash, copies: options.copies) where holder != silent {
            if holder == routing.me {
                if isServing(hash), peer.isReached(silent), var found = held(key, hash) {
                    found.source = .fallback
                    found.isCacheable = false
                    return found
                }
            } else if case .success(let response) = await answer(of: holder, key, hash, kind: .get, flags: .fallback),
                response.status == .ok
            {
                var found = Found(response, source: .fallback)
                found.isCacheable = false  // a copy may lag behind its silent owner
                return found
            }
            try Task.checkCancellation()
        }
        return nil
    }

    /// One call about a key.
    func answer(
        of other: PeerID, _ key: [UInt8], _ hash: UInt64, kind: RequestKind, flags: RequestFlags = .none
    ) async -> Result<PeerResponse, PeerCallError> {
        // The owner may have to load: it answers in `loadTimeout` at the latest. A silent one is noticed sooner by its connection.
        let patience = kind == .get && !flags.contains(.fallback) ? loadPatience : peer.requestPatience
        return await peer.call(other, patience: patience) { id, milliseconds, frames in
            withRequest(kind, key) { request in
                request.id = id
                request.flags = keepsNear && kind == .get ? flags.union(.near) : flags
                request.deadlineMilliseconds = milliseconds
                frames.append(request)
            }
        }
    }

    /// A request about a key, with pointers that live during `body`.
    func withRequest(_ kind: RequestKind, _ key: [UInt8], _ body: (inout WireRequest) -> Void) {
        nameBytes.withUnsafeBytes { name in
            key.withUnsafeBytes { key in
                var request = WireRequest(kind: kind, cache: name)
                request.type = typeFingerprint
                request.key = key
                body(&request)
            }
        }
    }

    /// What a peer's refusal means to the caller.
    func error(of response: PeerResponse, from other: PeerID) -> PeerCacheError {
        switch response.status {
        case .loadFailed: PeerCacheError(.loadFailed, "the loader of cache \"\(name)\" threw on peer \(other): \(response.message)")
        case .timedOut: PeerCacheError(.loadTimedOut, "the loader of cache \"\(name)\" did not end in time on peer \(other)")
        case .overloaded: PeerCacheError(.overloaded, "peer \(other) has too much to do")
        case .incompatible:
            PeerCacheError(
                .incompatibleCache,
                "cache \"\(name)\" of \(types) has other types on peer \(other); give one of them another name or codec name")
        case .keyTooLong: PeerCacheError(.keyTooLong, "peer \(other) refuses the key's length")
        case .valueTooLarge: PeerCacheError(.valueTooLarge, "peer \(other) refuses the value's size")
        case .noLoader:
            PeerCacheError(
                .incompatibleCache, "peer \(other) has not registered cache \"\(name)\"; register the same caches on all peers")
        case .shuttingDown: PeerCacheError(.shuttingDown, "peer \(other) is stopping")
        default: PeerCacheError(.peerUnreachable, "peer \(other) answered \(response.status)")
        }
    }
}

/// Waiting for an owner that agrees that it is one, and is still asking its predecessors.
struct Settling {
    private var rounds = 0

    /// False: it takes longer than that may.
    mutating func wait() async throws -> Bool {
        guard rounds < 120 else { return false }
        rounds += 1
        try await Task.sleep(for: .milliseconds(5))
        return true
    }
}

extension Found {
    init(_ response: PeerResponse, source: ReadSource) {
        self.init(
            bytes: response.value, object: nil, stamp: response.stamp, ttlMilliseconds: response.ttlMilliseconds, source: source)
    }
}

extension PeerCore {
    /// Copies answer for so long for an owner that they have no connection to: most clusters agree sooner that it is dead, if it is. Later
    /// it is likely that only this peer cannot reach it, and does not hear of what it writes.
    private static let answersForLost = Duration.seconds(5)

    /// There is a connection to a peer, or there was a moment ago. Observers have them while they use them.
    func isReached(_ other: PeerID) -> Bool {
        guard !isObserver, let since = directory.lostSince(other) else { return true }
        return ClusterClock.monotonicNanoseconds - since < Self.answersForLost.nanosecondsSaturating
    }

    /// Waits until there is a connection to a peer or another placement. Rare (members change), so it looks every few milliseconds.
    func waitForPath(to other: PeerID, orChangeOf digest: UInt64, within patience: Duration) async {
        let deadline = ClusterClock.monotonicNanoseconds &+ patience.nanosecondsSaturating
        while directory.connection(to: other) == nil, table.routing.digest == digest, !Task.isCancelled,
            ClusterClock.monotonicNanoseconds < deadline
        {
            try? await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Calls a peer within `patience`. `encode` gets the request id and the deadline in milliseconds.
    func call(
        _ other: PeerID, patience: Patience, large: ByteBuffer? = nil, mustSend: Bool = false,
        _ encode: (UInt64, UInt32, inout OutboundFrames) -> Void
    ) async -> Result<PeerResponse, PeerCallError> {
        counters.add(.peerRequests)
        var answer: Result<PeerResponse, PeerCallError> = .failure(.unreachable)
        if isObserver, directory.connection(to: other) == nil { await reach(other) }
        if let connection = directory.connection(to: other) {
            let now = ClusterClock.monotonicNanoseconds
            answer = await connection.call(
                nowNanoseconds: now, deadlineNanoseconds: now &+ patience.nanoseconds, large: large, mustSend: mustSend
            ) { encode($0, patience.milliseconds, &$1) }
        }
        if case .failure(let error) = answer, error != .cancelled { counters.add(.peerErrors) }
        return answer
    }
}

/// How long a caller waits for an answer, in the two units that a call needs.
struct Patience: Sendable {
    let nanoseconds: Int64
    let milliseconds: UInt32

    init(_ duration: Duration) {
        // Half of the range: added to any clock reading it does not overflow.
        nanoseconds = min(duration.nanosecondsSaturating, .max / 2)
        milliseconds = UInt32(clamping: duration.millisecondsRoundedUp)
    }
}

internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// Answers the requests of other peers on their connection's event loop. A store hit needs neither task nor copy: the value goes from the
/// store into the outgoing frame.
final class RequestServer: PeerRequestHandler {
    private let peer: PeerCore
    /// Remote callers that wait for a load, so that their giving up can release them.
    private let waiting = Lock<[RemoteCall: (cache: CacheCore, waiter: WaiterID)]>([:])
    /// Requests of one connection that wait for loads or acks.
    static let waitingPerPeerMax = 4096
    private let waitingCounts = Lock<[ConnectionID: Int]>([:])

    private struct RemoteCall: Hashable {
        let connection: ConnectionID
        let request: UInt64
    }

    init(peer: PeerCore) { self.peer = peer }

    // MARK: PeerRequestHandler

    func handle(_ request: WireRequest, on connection: PeerConnection) {
        if case .readClock = request.kind { return connection.respond(WireResponse(id: request.id, status: .ok)) }
        if case .clearCache = request.kind { return clear(request, connection) }
        guard let cache = peer.cache(named: request.cache) else { return refuse(request, .noLoader, connection) }
        guard request.type == 0 || request.type == cache.typeFingerprint else { return refuse(request, .incompatible, connection) }
        let hash = cache.secret.hash(request.key)
        switch request.kind {
        case .get: get(cache, request, hash, connection)
        case .getMany: getMany(cache, request, connection)
        case .set: write(cache, request, hash, connection)
        case .remove: write(cache, request, hash, connection)
        case .apply: apply(cache, request, hash, connection)
        case .inspect: inspect(cache, request, hash, connection)
        case .readClock, .clearCache: break
        }
    }

    func cancelled(requestID: UInt64, on connection: PeerConnection) {
        let call = RemoteCall(connection: connection.id, request: requestID)
        if let (cache, waiter) = waiting.withLock({ $0.removeValue(forKey: call) }) { cache.abandon(waiter) }
    }

    func invalidated(_ invalidation: WireInvalidation, by other: PeerID) {
        guard peer.clock.accepts(invalidation.stamp), let cache = peer.cache(named: invalidation.cache) else { return }
        peer.near.invalidate(
            hash: cache.secret.hash(invalidation.key), cache: cache.index.value, key: invalidation.key, upTo: invalidation.stamp)
    }

    func closed(_ connection: PeerConnection) {
        let gone = waiting.withLock { waiting in
            let gone = waiting.filter { $0.key.connection == connection.id }
            for call in gone.keys { waiting[call] = nil }
            return Array(gone.values)
        }
        for (cache, waiter) in gone { cache.abandon(waiter) }
        waitingCounts.withLock { $0[connection.id] = nil }
    }

    // MARK: Reads

    private func get(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        let isFallback = request.flags.contains(.fallback)
        let routing = peer.table.routing
        guard isFallback || routing.owner(hash) == peer.me else { return refuse(request, .notOwner, connection, digest: routing.digest) }
        cache.counters.add(.served)
        var large: Found?
        let isHeld = cache.visitHeld(request.key, hash) { info, value in
            let ttl = peer.millisecondsLeft(info.expiry)
            guard value.byteCount <= WireLimits.chunkBytes else {
                let bytes = value.withUnsafeBytes { ByteBuffer(bytes: $0) }
                large = Found(bytes: bytes, object: nil, stamp: info.stamp, ttlMilliseconds: ttl, source: .own)
                return
            }
            var response = WireResponse(id: request.id, status: .ok)
            response.stamp = info.stamp
            response.ttlMilliseconds = ttl
            value.withUnsafeBytes { bytes in
                response.value = bytes
                connection.respond(response)
            }
        }
        if let large { connection.respond(id: request.id, large.bytes, stamp: large.stamp, ttlMilliseconds: large.ttlMilliseconds) }
        if isHeld { return }
        if isFallback { return refuse(request, .absent, connection) }
        guard cache.loader != nil else { return refuse(request, .noLoader, connection) }
        let id = request.id
        load(cache, Array(request.key), hash, connection, id) { outcome in connection.respond(id: id, outcome) }
    }

    /// Joins a load on behalf of a remote caller.
    private func load(
        _ cache: CacheCore, _ key: [UInt8], _ hash: UInt64, _ connection: PeerConnection, _ request: UInt64?,
        _ answer: @escaping @Sendable (Result<LoadOutcome, any Error>) -> Void
    ) {
        guard enter(connection) else { return answer(.failure(PeerCacheError(.overloaded, "too many requests of one peer wait"))) }
        let call = request.map { RemoteCall(connection: connection.id, request: $0) }
        let isDone = Lock(false)
        let waiter = cache.load(key, hash) { result in
            isDone.withLock { $0 = true }
            self.leave(connection)
            if let call { self.waiting.withLock { $0[call] = nil } }
            answer(result)
        }
        // Kept only while it waits; the answer may have come already.
        guard let call else { return }
        self.waiting.withLock { waiting in
            if !isDone.withLock({ $0 }) { waiting[call] = (cache, waiter) }
        }
    }

    private func getMany(_ cache: CacheCore, _ request: WireRequest, _ connection: PeerConnection) {
        guard request.keys.count <= WireLimits.keysMax else { return refuse(request, .malformed, connection) }
        let routing = peer.table.routing
        let batch = BatchAnswer(id: request.id, count: request.keys.count, connection: connection)
        cache.counters.add(.served, UInt64(request.keys.count))
        for (index, key) in request.keys.enumerated() {
            let hash = cache.secret.hash(key)
            guard routing.owner(hash) == peer.me else {
                batch.fill(index, .init(status: .notOwner))
                continue
            }
            let isHeld = cache.visitHeld(key, hash) { info, value in
                batch.fill(index, value, stamp: info.stamp, ttlMilliseconds: peer.millisecondsLeft(info.expiry))
            }
            if isHeld { continue }
            guard cache.loader != nil else {
                batch.fill(index, .init(status: .noLoader))
                continue
            }
            // Giving up on the batch leaves its loads to their deadline.
            load(cache, Array(key), hash, connection, nil) { batch.fill(index, $0) }
        }
        batch.dispatched()
    }

    private func inspect(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        var response = WireResponse(id: request.id, status: .absent)
        if let info = peer.store.held(cache.id(hash), request.key.bytes), !info.isTombstone, !peer.isOver(info.expiry) {
            response.status = .ok
            response.stamp = info.stamp
            response.ttlMilliseconds = peer.millisecondsLeft(info.expiry)
        }
        connection.respond(response)
    }

    // MARK: Writes

    private func write(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        let routing = peer.table.routing
        guard routing.owner(hash) == peer.me else { return refuse(request, .notOwner, connection, digest: routing.digest) }
        let key = Array(request.key), id = request.id
        let content: Content =
            request.kind == .remove
            ? .tombstone
            : .value(ByteBuffer(bytes: request.value), ttl: request.ttlMilliseconds.map(Duration.init(milliseconds:)), isFill: false)
        if cache.options.ackedBy == 1 {
            guard let stamp = cache.storeOwned(key, hash, content) else { return refuse(request, .notOwner, connection) }
            cache.sendCopies(content, key, hash, stamp)
            return connection.respond(id: id, .ok, stamp: stamp)
        }
        guard enter(connection) else { return refuse(request, .overloaded, connection) }
        let started = peer.tasks.start {
            defer { self.leave(connection) }
            do {
                if let stamp = try await cache.writeOwned(key, hash, content, routing, isLocal: false) {
                    connection.respond(id: id, .ok, stamp: stamp)
                } else {
                    connection.respond(id: id, .notOwner, stamp: .zero)
                }
            } catch {
                connection.respond(id: id, .timedOut, stamp: .zero)
            }
        }
        if started == nil {
            leave(connection)
            refuse(request, peer.tasks.isStopped ? .shuttingDown : .overloaded, connection)
        }
    }

    private func apply(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        guard peer.clock.accepts(request.stamp) else {
            peer.counters.add(.clockSkew)
            return refuse(request, .clockSkew, connection)
        }
        let id = cache.id(hash), key = request.key.bytes, now = peer.clock.tick()
        let result =
            if request.flags.contains(.tombstone) {
                peer.store.applyTombstone(id, key, stamp: request.stamp, keep: peer.tombstoneExpiry(), now: now)
            } else {
                peer.store.apply(
                    id, key, value: request.value.bytes, stamp: request.stamp,
                    ttl: request.ttlMilliseconds.map(Duration.init(milliseconds:)),
                    kind: request.flags.contains(.fill) ? .fill : .explicit, now: now)
            }
        peer.near.invalidate(hash: hash, cache: cache.index.value, key: request.key, upTo: request.stamp)
        guard request.id != 0 else { return }
        connection.respond(WireResponse(id: request.id, status: ResponseStatus(result)))
    }

    private func clear(_ request: WireRequest, _ connection: PeerConnection) {
        guard peer.clock.accepts(request.stamp) else { return refuse(request, .clockSkew, connection) }
        if let cache = peer.cache(named: request.cache) { cache.clearHere(upTo: request.stamp) }
        connection.respond(WireResponse(id: request.id, status: .ok))
    }

    // MARK: Bounds and refusals

    private func refuse(_ request: WireRequest, _ status: ResponseStatus, _ connection: PeerConnection, digest: UInt64 = 0) {
        guard request.id != 0 else { return }
        var response = WireResponse(id: request.id, status: status)
        response.placement = digest
        connection.respond(response)
    }

    private func enter(_ connection: PeerConnection) -> Bool {
        waitingCounts.withLock { counts in
            let count = counts[connection.id, default: 0]
            guard count < Self.waitingPerPeerMax else { return false }
            counts[connection.id] = count + 1
            return true
        }
    }

    private func leave(_ connection: PeerConnection) {
        waitingCounts.withLock { counts in
            guard let count = counts[connection.id] else { return }
            counts[connection.id] = count > 1 ? count - 1 : nil
        }
    }
}

extension Duration {
    /// Saturates.
    init(milliseconds: UInt64) { self = .milliseconds(Int64(clamping: milliseconds)) }
}

extension ResponseStatus {
    init(_ result: WriteResult) {
        self =
            switch result {
            case .stored: .ok
            case .superseded: .superseded
            case .forgotten: .forgotten
            case .notHolder: .notHolder
            }
    }
}

extension PeerCore {
    func isOver(_ expiry: Tick?) -> Bool { expiry.map { clock.tick().isAtOrAfter($0) } ?? false }
}

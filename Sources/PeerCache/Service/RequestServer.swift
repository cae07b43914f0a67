internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// Answers the requests of other peers on their connection's event loop. A store hit needs neither task nor copy: the value goes from the
/// store into the outgoing frame.
final class RequestServer: PeerRequestHandler {
    let peer: PeerCore
    /// Requests of one connection that wait for loads or acks.
    static let waitingPerPeerMax = 4096

    private struct Load {
        let cache: CacheCore
        var waiter: WaiterID
    }
    /// What waits on behalf of one connection.
    private struct Caller {
        var count = 0
        /// Loads by request and ticket, so that giving up can release them. A batch waits for many; so does an id that is used twice.
        var loads: [UInt64: [UInt64: Load]] = [:]
        var lastTicket: UInt64 = 0
    }
    private let callers = Lock<[ConnectionID: Caller]>([:])

    init(peer: PeerCore) { self.peer = peer }

    // MARK: PeerRequestHandler

    func handle(_ request: WireRequest, on connection: PeerConnection) {
        if case .readClock = request.kind {
            var response = WireResponse(id: request.id, status: .ok)
            response.copiedThrough = peer.safety.copiedThrough
            return connection.respond(response)
        }
        if case .clearCache = request.kind { return clear(request, connection) }
        if request.kind.isAboutSlots { return handleSlots(request, connection) }
        if request.kind == .read || request.kind == .store { return handleVote(request, connection) }
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
        case .removeOlder: removeOlder(cache, request, hash, connection)
        case .readClock, .clearCache, .claim, .pull, .compare, .seal, .read, .store: break
        }
    }

    func cancelled(requestID: UInt64, on connection: PeerConnection) {
        abandon(callers.withLock { $0[connection.id]?.loads.removeValue(forKey: requestID) })
    }

    func invalidated(_ invalidation: WireInvalidation, by other: PeerID) { peer.coherence.received(invalidation, from: other) }

    func closed(_ connection: PeerConnection) {
        let caller = callers.withLock { $0.removeValue(forKey: connection.id) }
        for (_, loads) in caller?.loads.sorted(by: { $0.key < $1.key }) ?? [] { abandon(loads) }
        if !connection.hasEndedInOrder { peer.coherence.closed(to: connection.peer) }
    }

    // MARK: Reads

    private func get(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        if cache.scheme != nil { return getStrictly(cache, request, hash, connection) }
        let isFallback = request.flags.contains(.fallback)
        let routing = peer.table.routing
        var serving = peer.replicator.serving(hash)
        if request.flags.contains(.gathering) { serving = .open }
        // A copy that has missed something is no answer to a reader.
        if isFallback, serving == .doubtful || serving == .kept { return refuse(request, .absent, connection) }
        guard isFallback || (routing.isOwned(hash) && serving != .claiming) else {
            return refuse(request, .notOwner, connection, digest: routing.digest)
        }
        cache.counters.add(.served)
        let keepsNear = !isFallback && mayKeep(request, connection)
        if serving != .doubtful, answerHeld(cache, request, hash, connection, keepsNear: keepsNear, else: isFallback ? .absent : .noLoader)
        {
            return
        }
        if isFallback { return answerAbsent(cache, request, hash, connection) }
        guard cache.mayFind(serving) else { return refuse(request, .noLoader, connection) }
        let id = request.id, key = Array(request.key)
        load(cache, key, hash, connection, id) { outcome in
            let near = keepsNear ? cache.share(outcome, key, hash, with: connection.peer) : 0
            connection.respond(id: id, outcome, near: near)
        }
    }

    private func getHeld(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        if !answerHeld(cache, request, hash, connection) { answerAbsent(cache, request, hash, connection) }
    }

    /// What was dropped or removed, or nothing.
    private func answerAbsent(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        var response = WireResponse(id: request.id, status: .absent)
        response.stamp = peer.store.guardStamp(cache.id(hash), request.key.bytes)
        connection.respond(response)
    }

    /// Answers with what is held. False: nothing is, or `isGood` said no at that moment, and nothing was answered.
    /// - Parameters:
    ///   - keepsNear: the caller keeps a near copy, if it will be told of changes.
    ///   - vanished: the answer when a large value has gone, or is not good any more, before it was copied.
    func answerHeld(
        _ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection, keepsNear: Bool = false,
        else vanished: ResponseStatus = .absent, if isGood: @escaping @Sendable () -> Bool = { true }
    ) -> Bool {
        var isAnswered = false, isLarge = false
        _ = cache.visitHeld(request.key, hash, upTo: WireLimits.chunkBytes) { info, value in
            guard isGood() else { return }
            isAnswered = true
            guard value.byteCount == info.valueBytes else { return isLarge = true }
            var response = WireResponse(id: request.id, status: .ok)
            response.stamp = info.stamp
            response.ttlMilliseconds = peer.millisecondsLeft(info.expiry)
            response.near = keepsNear ? cache.share(hash, info.stamp, with: connection.peer) : 0
            value.withUnsafeBytes { bytes in
                response.value = bytes
                connection.respond(response)
            }
        }
        guard isLarge else { return isAnswered }
        // Megabytes are copied elsewhere: the event loop has other callers, and the user's own requests.
        guard enter(connection) else {
            refuse(request, .overloaded, connection)
            return true
        }
        let key = Array(request.key), id = request.id
        let started = peer.tasks.start {
            defer { self.leave(connection) }
            guard let found = cache.held(key, hash), isGood() else {
                return connection.respond(id: id, vanished, stamp: cache.guardStamp(key, hash))
            }
            let near = keepsNear ? cache.share(key, hash, found.stamp, with: connection.peer) : 0
            connection.respond(id: id, found.bytes, stamp: found.stamp, ttlMilliseconds: found.ttlMilliseconds, near: near)
        }
        if started == nil {
            leave(connection)
            refuse(request, peer.tasks.isStopped ? .shuttingDown : .overloaded, connection)
        }
        return true
    }

    /// A load for a reader that found nothing at the voters. Deferred values of pages are asked for in the same way.
    private func getStrictly(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        guard !request.flags.contains(.fallback) else { return getHeld(cache, request, hash, connection) }
        let routing = peer.table.routing
        guard routing.isOwned(hash) else { return refuse(request, .notOwner, connection, digest: routing.digest) }
        guard cache.loader != nil else { return refuse(request, .noLoader, connection) }
        guard peer.clock.accepts(request.stamp) else { return refuse(request, .clockSkew, connection) }
        cache.counters.add(.served)
        let id = request.id
        load(cache, Array(request.key), hash, guard: request.stamp, connection, id) { outcome in connection.respond(id: id, outcome) }
    }

    /// Joins a load on behalf of a remote caller. On the connection's event loop, so that nobody gives up meanwhile.
    /// - Parameter stamp: the highest stamp that the caller knows of.
    private func load(
        _ cache: CacheCore, _ key: [UInt8], _ hash: UInt64, guard stamp: Stamp = .zero, _ connection: PeerConnection, _ request: UInt64,
        _ answer: @escaping @Sendable (Result<LoadOutcome, any Error>) -> Void
    ) {
        let entered = callers.withLock { callers -> UInt64? in
            guard Self.enter(connection, &callers) else { return nil }
            callers[connection.id]?.lastTicket += 1
            guard let ticket = callers[connection.id]?.lastTicket else { return nil }
            callers[connection.id]?.loads[request, default: [:]][ticket] = Load(cache: cache, waiter: 0)
            return ticket
        }
        guard let ticket = entered else {
            return answer(.failure(PeerCacheError(.overloaded, "too many requests of one peer wait")))
        }
        let waiter = cache.load(key, hash, guard: stamp) { result in
            self.callers.withLock { callers in
                Self.leave(connection, &callers)
                callers[connection.id]?.loads[request]?[ticket] = nil
                if callers[connection.id]?.loads[request]?.isEmpty == true { callers[connection.id]?.loads[request] = nil }
            }
            answer(result)
        }
        // Gone again when the answer has come already.
        callers.withLock { $0[connection.id]?.loads[request]?[ticket]?.waiter = waiter }
    }

    private func abandon(_ loads: [UInt64: Load]?) {
        for (_, load) in loads?.sorted(by: { $0.key < $1.key }) ?? [] { load.cache.abandon(load.waiter) }
    }

    private func getMany(_ cache: CacheCore, _ request: WireRequest, _ connection: PeerConnection) {
        guard request.keys.count <= WireLimits.keysMax else { return refuse(request, .malformed, connection) }
        guard cache.scheme == nil else { return refuse(request, .unsupported, connection) }  // asked for one by one
        let routing = peer.table.routing
        let keepsNear = mayKeep(request, connection)
        cache.counters.add(.served, UInt64(request.keys.count))
        var items = BatchItems(count: request.keys.count)
        var missing: [(index: Int, key: [UInt8], hash: UInt64)] = []
        for (index, key) in request.keys.enumerated() {
            let hash = cache.secret.hash(key)
            let serving = peer.replicator.serving(hash)
            guard routing.isOwned(hash), serving != .claiming else {
                items.append(.notOwner)
                continue
            }
            let isHeld =
                serving != .doubtful
                && cache.visitHeld(key, hash) { info, value in
                    if keepsNear { items.note(near: cache.share(hash, info.stamp, with: connection.peer)) }
                    value.withUnsafeBytes {
                        items.append($0, stamp: info.stamp, ttlMilliseconds: peer.millisecondsLeft(info.expiry))
                    }
                }
            if isHeld { continue }
            items.append(.noLoader)
            if cache.mayFind(serving) { missing.append((index, Array(key), hash)) }
        }
        if missing.isEmpty { return items.send(request.id, connection) }
        let batch = BatchAnswer(id: request.id, items, missing: missing.count, connection)
        for (index, key, hash) in missing {
            load(cache, key, hash, connection, request.id) { outcome in
                let near = keepsNear ? cache.share(outcome, key, hash, with: connection.peer) : nil
                batch.fill(index, outcome, near: near)
            }
        }
    }

    private func inspect(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        var response = WireResponse(id: request.id, status: .absent)
        if let info = peer.store.held(cache.id(hash), request.key.bytes), !peer.isOver(info.expiry) {
            response.stamp = info.stamp
            if !info.isTombstone {
                response.status = .ok
                response.ttlMilliseconds = peer.millisecondsLeft(info.expiry)
            }
        }
        connection.respond(response)
    }

    // MARK: Writes

    private func write(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        guard cache.scheme == nil else { return refuse(request, .incompatible, connection) }
        let routing = peer.table.routing
        guard routing.isOwned(hash), peer.replicator.serving(hash) != .claiming else {
            return refuse(request, .notOwner, connection, digest: routing.digest)
        }
        let key = Array(request.key), id = request.id, keepsNear = mayKeep(request, connection)
        let content = Content(request)
        if cache.options.ackedBy == 1 {
            let side = peer.safety.began()
            guard let written = cache.storeOwned(key, hash, content) else {
                peer.safety.ended(side, hash, sentTo: [])
                return refuse(request, .notOwner, connection)
            }
            guard written.isStored else {
                peer.safety.ended(side, hash, sentTo: [])
                return connection.respond(id: id, .superseded, stamp: written.stamp)
            }
            sendCopies(cache, content, key, hash, written.stamp, side)
            let near = keepsNear ? cache.share(key, hash, written.stamp, with: connection.peer) : 0
            return connection.respond(id: id, .ok, stamp: written.stamp, near: near)
        }
        start(request, connection) {
            do {
                if let written = try await cache.writeOwned(key, hash, content, routing, isLocal: false) {
                    let near = keepsNear && written.isStored ? cache.share(key, hash, written.stamp, with: connection.peer) : 0
                    connection.respond(id: id, written.isStored ? .ok : .superseded, stamp: written.stamp, near: near)
                } else {
                    connection.respond(id: id, .notOwner, stamp: .zero)
                }
            } catch {
                connection.respond(id: id, .timedOut, stamp: .zero)
            }
        }
    }

    /// Sends copies and notes when they have been sent.
    private func sendCopies(_ cache: CacheCore, _ content: Content, _ key: [UInt8], _ hash: UInt64, _ stamp: Stamp, _ side: Int) {
        let holders = cache.otherHolders(hash, peer.table.routing)
        if content.large != nil, !holders.isEmpty {
            // Small messages overtake the chunks of a large value, so its holders must say themselves that they have it.
            let isStarted = peer.tasks.start {
                let patience = self.peer.configuration.requestTimeout
                _ = await cache.confirmed(by: holders.count, of: holders, key, content, stamp, within: patience)
                self.peer.safety.ended(side, hash, sentTo: [])
            }
            if isStarted != nil { return }
        }
        cache.sendCopies(content, key, hash, stamp)
        peer.safety.ended(side, hash, sentTo: holders)
    }

    private func removeOlder(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        guard peer.clock.accepts(request.stamp) else { return refuse(request, .clockSkew, connection) }
        let isDone = cache.removeOlderOwned(Array(request.key), hash, than: request.stamp)
        connection.respond(WireResponse(id: request.id, status: isDone ? .ok : .notOwner))
    }

    private func apply(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        guard peer.clock.accepts(request.stamp) else {
            peer.counters.add(.clockSkew)
            return refuse(request, .clockSkew, connection)
        }
        let id = cache.id(hash), key = request.key.bytes, now = peer.clock.tick()
        let result =
            if request.flags.contains(.tombstone) {
                peer.store.applyTombstone(
                    id, key, version: SourceVersion.read(request.value), stamp: request.stamp, keep: peer.tombstoneExpiry(), now: now)
            } else {
                peer.store.apply(
                    id, key, value: request.value.bytes, stamp: request.stamp,
                    ttl: request.ttlMilliseconds.map(Duration.init(milliseconds:)),
                    kind: request.flags.contains(.fill) ? .fill : .explicit, now: now)
            }
        let outdated = cache.nearLimit(hash, request.stamp)
        cache.dropNear(request.key, hash, below: outdated)
        // An owner may be brought something newer: by a repair, or by a former owner.
        if result == .stored, cache.keepsNear { peer.coherence.changed(hash, outdated) }
        guard request.id != 0 else { return }
        connection.respond(WireResponse(id: request.id, status: ResponseStatus(result)))
    }

    private func clear(_ request: WireRequest, _ connection: PeerConnection) {
        guard peer.clock.accepts(request.stamp) else { return refuse(request, .clockSkew, connection) }
        if let cache = peer.cache(named: request.cache) { cache.clearHere(upTo: request.stamp) }
        connection.respond(WireResponse(id: request.id, status: .ok))
    }

    // MARK: Bounds and refusals

    /// Whether the caller keeps a near copy and can be told of changes: nobody calls observers.
    private func mayKeep(_ request: WireRequest, _ connection: PeerConnection) -> Bool {
        request.flags.contains(.near) && connection.role == .peer
    }

    func refuse(_ request: WireRequest, _ status: ResponseStatus, _ connection: PeerConnection, digest: UInt64 = 0) {
        refuse(request.id, status, connection, digest: digest)
    }

    func refuse(_ id: UInt64, _ status: ResponseStatus, _ connection: PeerConnection, digest: UInt64 = 0) {
        guard id != 0 else { return }
        var response = WireResponse(id: id, status: status)
        response.placement = digest
        connection.respond(response)
    }

    /// Answers a request in a task, as it may wait; refused when too much waits already.
    func start(_ request: WireRequest, _ connection: PeerConnection, _ body: @escaping @Sendable () async -> Void) {
        guard enter(connection) else { return refuse(request, .overloaded, connection) }
        let started = peer.tasks.start {
            await body()
            self.leave(connection)
        }
        if started == nil {
            leave(connection)
            refuse(request, peer.tasks.isStopped ? .shuttingDown : .overloaded, connection)
        }
    }

    private func enter(_ connection: PeerConnection) -> Bool { callers.withLock { Self.enter(connection, &$0) } }

    private func leave(_ connection: PeerConnection) { callers.withLock { Self.leave(connection, &$0) } }

    private static func enter(_ connection: PeerConnection, _ callers: inout [ConnectionID: Caller]) -> Bool {
        guard callers[connection.id, default: Caller()].count < waitingPerPeerMax else { return false }
        callers[connection.id, default: Caller()].count += 1
        return true
    }

    /// Nobody to be found: the connection is closed.
    private static func leave(_ connection: PeerConnection, _ callers: inout [ConnectionID: Caller]) {
        callers[connection.id]?.count -= 1
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

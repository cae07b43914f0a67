internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// What other peers read here.
extension RequestServer {
    func get(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        if cache.scheme != nil { return getStrictly(cache, request, hash, connection) }
        let isFallback = request.flags.contains(.fallback)
        let routing = peer.table.routing
        var serving = peer.replicator.serving(hash)
        if request.flags.contains(.gathering) { serving = .open }
        // A copy that has missed something is no answer to a reader.
        if isFallback, serving == .doubtful || serving == .kept || !mayAnswer(request, routing.owner(hash)) {
            return refuse(request, .absent, connection)
        }
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

    /// A copy says what it holds, unless it cannot know what the owner wrote. Who gathers compares what all have.
    private func mayAnswer(_ request: WireRequest, _ owner: PeerID?) -> Bool {
        guard let owner, owner != peer.me, !request.flags.contains(.gathering) else { return true }
        return peer.isReached(owner)
    }

    private func getHeld(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        if !answerHeld(cache, request, hash, connection) { answerAbsent(cache, request, hash, connection) }
    }

    /// What was dropped or removed, or nothing. Who has let the slot go does not know that.
    private func answerAbsent(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        guard isHeld(Slot(hash: hash), hash, cache) else { return refuse(request, .notHolder, connection) }
        var response = WireResponse(id: request.id, status: .absent)
        response.stamp = peer.store.guardStamp(cache.id(hash), request.key.bytes)
        connection.respond(response)
    }

    /// Whether something is known of the cache's keys in the slot.
    private func isHeld(_ slot: Slot, _ hash: UInt64, _ cache: CacheCore) -> Bool {
        if cache.scheme != nil { return peer.store.isHeld(slot) }
        guard peer.replicator.holdsPart(of: slot) else { return peer.replicator.holds(slot) }
        return peer.table.routing.holders(hash, copies: cache.options.copies).contains(peer.me)
    }

    /// Answers with what is held. False: nothing is, or `isGood` said no at that moment, and nothing was answered.
    /// - Parameters:
    ///   - keepsNear: the caller keeps a near copy, if it will be told of changes.
    ///   - vanished: the answer when a large value has gone, or is not good any more, before it was copied.
    func answerHeld(
        _ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection, keepsNear: Bool = false,
        else vanished: ResponseStatus = .absent, if isGood: @escaping @Sendable () -> Bool = { true }
    ) -> Bool {
        var isAnswered = false, largeBytes = 0
        let reader = keepsNear ? connection.peer : nil
        _ = cache.visitHeld(request.key, hash, upTo: WireLimits.chunkBytes, for: reader, now: peer.clock.tick()) { info, value, near in
            guard isGood() else { return }
            isAnswered = true
            guard value.byteCount == info.valueBytes else { return largeBytes = info.valueBytes }
            var response = WireResponse(id: request.id, status: .ok)
            response.stamp = info.stamp
            response.ttlMilliseconds = peer.millisecondsLeft(info.expiry)
            response.near = near
            value.withUnsafeBytes { bytes in
                response.value = bytes
                connection.respond(response)
            }
        }
        guard largeBytes > 0 else { return isAnswered }
        // Megabytes are copied elsewhere: the event loop has other callers, and the user's own requests.
        let key = Array(request.key), id = request.id, byteCount = largeBytes
        beside(connection) {
            guard let found = cache.heldLarge(key, hash, byteCount), isGood() else {
                return connection.respond(id: id, vanished, stamp: cache.guardStamp(key, hash))
            }
            let near = keepsNear ? cache.share(key, hash, found.stamp, with: connection.peer) : 0
            connection.respond(id: id, found.bytes, stamp: found.stamp, ttlMilliseconds: found.ttlMilliseconds, near: near)
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

    func getMany(_ cache: CacheCore, _ request: WireRequest, _ connection: PeerConnection) {
        guard let keys = WireKeys(request.value) else { return refuse(request, .malformed, connection) }
        guard cache.scheme == nil else { return refuse(request, .unsupported, connection) }  // asked for one by one
        let routing = peer.table.routing, now = peer.clock.tick()
        let keepsNear = mayKeep(request, connection), reader = keepsNear ? connection.peer : nil
        cache.counters.add(.served, UInt64(keys.count))
        var items = BatchItems(count: keys.count)
        var missing: [(index: Int, key: [UInt8], hash: UInt64)] = []
        for (index, key) in keys.enumerated() {
            let hash = cache.secret.hash(key)
            let serving = peer.replicator.serving(hash)
            guard routing.isOwned(hash), serving != .claiming else { continue }
            let isHeld =
                serving != .doubtful
                && cache.visitHeld(key, hash, upTo: BatchItems.bytesMax, for: reader, now: now) { info, value, near in
                    guard value.byteCount == info.valueBytes else { return }
                    if keepsNear { items.note(near: near) }
                    let life =
                        keepsNear ? WireItem.Life(stamp: info.stamp, ttlMilliseconds: peer.millisecondsLeft(info.expiry)) : nil
                    value.withUnsafeBytes { items.append(index, $0, life) }
                }
            if isHeld { continue }
            if cache.mayFind(serving) {
                missing.append((index, Array(key), hash))
            } else if serving == .open {
                items.append(unloaded: index)
            }
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

    func inspect(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
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
}

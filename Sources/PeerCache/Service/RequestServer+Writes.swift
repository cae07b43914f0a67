internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// What other peers write here, as callers to the owner and as owners to a copy.
extension RequestServer {
    func write(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        guard cache.scheme == nil else { return refuse(request, .incompatible, connection) }
        let routing = peer.table.routing
        guard routing.isOwned(hash), peer.replicator.serving(hash) != .claiming else {
            return refuse(request, .notOwner, connection, digest: routing.digest)
        }
        let key = Array(request.key), id = request.id, keepsNear = mayKeep(request, connection)
        let content = Content(request), limit = request.limitMilliseconds
        if cache.options.ackedBy == 1 {
            let side = peer.safety.began()
            guard let written = cache.storeOwned(key, hash, content, until: limit) else {
                peer.safety.ended(side)
                return refuse(request, .notOwner, connection)
            }
            guard written.isStored else {
                peer.safety.ended(side)
                return connection.respond(id: id, written.status, stamp: written.stamp)
            }
            sendCopies(cache, content, key, hash, written.stamp, side)
            let near = keepsNear ? cache.share(key, hash, written.stamp, with: connection.peer) : 0
            return connection.respond(id: id, .ok, stamp: written.stamp, near: near)
        }
        start(request, connection) {
            do {
                if let written = try await cache.writeOwned(key, hash, content, routing, until: limit) {
                    let near = keepsNear && written.isStored ? cache.share(key, hash, written.stamp, with: connection.peer) : 0
                    connection.respond(id: id, written.status, stamp: written.stamp, near: near)
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
                self.peer.safety.ended(side)
            }
            if isStarted != nil { return }
        }
        peer.safety.sends(side, hash, to: holders)
        cache.sendCopies(content, key, hash, stamp)
        peer.safety.ended(side)
    }

    func removeOlder(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
        guard peer.clock.accepts(request.stamp) else { return refuse(request, .clockSkew, connection) }
        let isDone = cache.removeOlderOwned(Array(request.key), hash, than: request.stamp)
        connection.respond(WireResponse(id: request.id, status: isDone ? .ok : .notOwner))
    }

    func apply(_ cache: CacheCore, _ request: WireRequest, _ hash: UInt64, _ connection: PeerConnection) {
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

    func clear(_ request: WireRequest, _ connection: PeerConnection) {
        guard peer.clock.accepts(request.stamp) else { return refuse(request, .clockSkew, connection) }
        if let cache = peer.cache(named: request.cache) { cache.clearHere(upTo: request.stamp) }
        connection.respond(WireResponse(id: request.id, status: .ok))
    }
}

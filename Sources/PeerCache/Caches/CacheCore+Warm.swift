internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// While a slot is being gathered, its former holders answer what is not here yet (`CONTRACT.md` §8).
extension CacheCore {
    /// For what a reader waits for before it loads.
    private static let warmPatience = Patience(.milliseconds(300))

    /// What a former holder has of a key whose slot is not complete here, taken in. Nil: nothing, or the slot is complete.
    func fetch(_ key: [UInt8], _ hash: UInt64) async -> Found? {
        switch peer.replicator.serving(hash) {
        case .warming, .doubtful: break
        case .open, .claiming, .kept: return nil
        }
        // What one holder removed or dropped counts against what another still holds, and so does what is known here.
        var dropped = key.withUnsafeBytes { peer.store.guardStamp(id(hash), $0.bytes) }
        var best: Found?
        for holder in peer.replicator.holders(of: Slot(hash: hash)) {
            switch await fetch(key, hash, from: holder, patience: Self.warmPatience) {
            case .held(let found):
                if best.map({ (version(of: $0), $0.stamp) < (version(of: found), found.stamp) }) ?? true { best = found }
            case .absent(let stamp): dropped = max(dropped, stamp)
            case .unknown: return nil
            }
        }
        guard let best, best.stamp >= dropped else { return nil }
        peer.counters.add(.warmHits)
        // Refused: something newer has been written here meanwhile.
        return takeIn(best, key, hash) ? best : held(key, hash)
    }

    enum Fetched {
        case held(Found)
        /// The highest stamp that it dropped, or removed the key with.
        case absent(Stamp)
        case unknown
    }

    /// Asks one holder for what it holds.
    func fetch(_ key: [UInt8], _ hash: UInt64, from holder: PeerID, patience: Patience) async -> Fetched {
        let answer = await peer.call(holder, patience: patience) { id, milliseconds, frames in
            withRequest(.get, key) { request in
                request.id = id
                request.flags = [.fallback, .gathering]
                request.deadlineMilliseconds = milliseconds
                frames.append(request)
            }
        }
        guard case .success(let response) = answer, peer.clock.accepts(response.stamp) else { return .unknown }
        switch response.status {
        case .ok: return .held(Found(response, source: .peer))
        case .absent: return .absent(response.stamp)
        default: return .unknown
        }
    }

    /// Stores what another holder has, with its stamp. False: something newer is or was here.
    @discardableResult
    func takeIn(_ found: Found, _ key: [UInt8], _ hash: UInt64) -> Bool {
        let now = peer.clock.reading() >> 16
        let age = now > found.stamp.milliseconds ? now - found.stamp.milliseconds : 0
        let ttl = found.ttlMilliseconds.map { Duration(milliseconds: $0.addingReportingOverflow(age).partialValue) }
        return key.withUnsafeBytes { key in
            found.bytes.withUnsafeReadableBytes { value in
                peer.store.apply(
                    id(hash), key.bytes, value: value.bytes, stamp: found.stamp, ttl: ttl, kind: .explicit, now: peer.clock.tick())
            }
        } == .stored
    }

    /// Sends an entry as it is held to another holder. False: its queue is full.
    func ship(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ info: EntryInfo, to connection: PeerConnection) -> Bool {
        let large = value.count > WireLimits.chunkBytes ? ByteBuffer(bytes: value) : nil
        return connection.post(large: large) { id, frames in
            nameBytes.withUnsafeBytes { name in
                var request = WireRequest(kind: .apply, cache: name)
                request.id = id
                request.type = typeFingerprint
                request.key = key
                request.stamp = info.stamp
                request.ttlMilliseconds = info.ttlMilliseconds
                if info.isTombstone { request.flags = .tombstone }
                if large == nil { request.value = value } else { request.chunkedBytes = UInt64(value.count) }
                frames.append(request)
            }
        }
    }
}

extension PeerCore {
    /// Waits until the former owners of a key have answered, at most as long as they may take. False: they have not.
    func settled(_ hash: UInt64) async throws -> Bool {
        let deadline = ClusterClock.monotonicNanoseconds &+ 600_000_000
        while replicator.serving(hash) == .claiming, ClusterClock.monotonicNanoseconds < deadline {
            try await Task.sleep(for: .milliseconds(2))
        }
        return replicator.serving(hash) != .claiming
    }
}

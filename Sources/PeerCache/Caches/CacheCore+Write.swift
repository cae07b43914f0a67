internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// What a write puts in place of what is held.
enum Content: Sendable {
    case value(ByteBuffer, ttl: Duration?, isFill: Bool)
    /// The version of the data source, in caches that have versions; nil: newer than what is held.
    case tombstone(version: UInt64? = nil)

    /// What a request brings.
    init(_ request: WireRequest) {
        if request.flags.contains(.tombstone) || request.kind == .remove {
            self = .tombstone(version: SourceVersion.read(request.value))
        } else {
            self = .value(
                ByteBuffer(bytes: request.value), ttl: request.ttlMilliseconds.map(Duration.init(milliseconds:)),
                isFill: request.flags.contains(.fill))
        }
    }
}

extension PeerCore {
    /// How long a removal is remembered (`CONTRACT.md` §4).
    static let tombstoneFor: UInt64 = 10 * 60 * 1000

    func tombstoneExpiry() -> Tick { Tick(milliseconds: clock.reading() >> 16 + Self.tombstoneFor) }
}

/// The fast protocol of `CONTRACT.md` §5: the owner mints a stamp above the key's guard, applies it, and sends it to the other holders.
extension CacheCore {
    /// Writes a key from this process.
    func write(_ key: [UInt8], _ hash: UInt64, _ content: Content) async throws -> Written {
        if let scheme { return Written(stamp: try await writeByQuorum(scheme, key, hash, content), isCacheable: false) }
        var attempts = 0
        /// An attempt was sent and not answered: whatever comes later, the write may have taken effect.
        var isAmbiguous = false
        var settling = Settling()
        while true {
            attempts += 1
            let routing = peer.table.routing
            guard let owner = routing.owner(hash) else {
                throw PeerCacheError(
                    isAmbiguous ? .indeterminate : .peerUnreachable,
                    peer.isObserver
                        ? Self.observerAlone : "no peer holds slots: all have weight 0 or are leaving, or this one joins again")
            }
            if owner == routing.me {
                guard try await peer.settled(hash) else {
                    throw PeerCacheError(.peerUnreachable, "the owners of the key change too fast, or the former ones do not answer")
                }
                if let written = try await writeOwned(key, hash, content, routing) {
                    return Written(stamp: written.stamp, isCacheable: written.isStored && peer.replicator.serving(hash) == .open)
                }
            } else {
                dropNear(key, hash, below: nil)
                do {
                    switch try await write(key, hash, content, at: owner, routing, isLast: attempts > 1, &isAmbiguous) {
                    case .done(let written): return written
                    case .again: break
                    case .settling: if try await settling.wait() { attempts -= 1 }
                    }
                } catch let error as PeerCacheError where isAmbiguous && error.code != .indeterminate {
                    throw PeerCacheError(.indeterminate, "a first attempt was sent and not answered", underlying: error)
                }
            }
            guard attempts < 3 else {
                throw PeerCacheError(
                    isAmbiguous ? .indeterminate : .peerUnreachable, "the peers do not agree yet on the owner of the key")
            }
        }
    }

    private enum Attempt {
        case done(Written)
        /// It went away.
        case again
        /// It is not the owner yet, or not any more.
        case settling
    }

    /// Asks the owner.
    private func write(
        _ key: [UInt8], _ hash: UInt64, _ content: Content, at owner: PeerID, _ routing: Routing, isLast: Bool,
        _ isAmbiguous: inout Bool
    ) async throws -> Attempt {
        let timeout = peer.configuration.requestTimeout
        let deadline = ClusterClock.monotonicNanoseconds &+ timeout.nanosecondsSaturating
        let kind: RequestKind = if case .tombstone = content { .remove } else { .set }
        // It says when this attempt began: the owner gives no stamp to what nobody waits for any more.
        let begun = Stamp(clock: peer.clock.reading(), origin: 0)
        switch await send(kind, key, content, stamp: begun, to: owner, patience: timeout) {
        case .success(let response):
            switch response.status {
            case .superseded:
                dropNear(key, hash, below: response.stamp)
                return .done(Written(stamp: response.stamp, isCacheable: false))
            case .ok:
                dropNear(key, hash, below: response.stamp)
                // With more acks, or no copies at all, there is nothing older that could come back.
                if options.ackedBy == 1, options.copies > 1 { peer.safety.note(key, self, response.stamp, at: owner) }
                return .done(Written(stamp: response.stamp, isCacheable: keepsNear && peer.coherence.mayKeep(response.near, from: owner)))
            case .notOwner where response.placement == routing.digest: return .settling
            case .notOwner:
                peer.synchronize(with: owner)
                _ = await peer.table.waitForChange(
                    of: routing.digest, deadlineNanoseconds: min(deadline, ClusterClock.monotonicNanoseconds &+ 20_000_000))
                return .settling
            // Its answer has set the clock right, if that was what differed.
            case .tooLate where !isLast: return .again
            case .tooLate:
                throw PeerCacheError(
                    .peerUnreachable,
                    "peer \(owner), the key's owner, reads requests later than requestTimeout (\(timeout)), or its clock is ahead by that")
            case .timedOut: throw PeerCacheError(.indeterminate, "fewer than \(options.ackedBy) holders confirmed the write in time")
            default: throw error(of: response, from: owner)
            }
        case .failure(.cancelled): throw CancellationError()
        case .failure(.overloaded): throw PeerCacheError(.overloaded, "too many calls to peer \(owner) wait for an answer")
        case .failure(.unreachable) where !isLast:
            // Nothing was sent. The owner is about to be connected or to be replaced.
            await peer.waitForPath(to: owner, orChangeOf: routing.digest, within: timeout)
            return .again
        case .failure(let failure):
            if failure != .unreachable { isAmbiguous = true }
            // The owner may have died: its successor takes the write once it is known. If it never does, be honest.
            if !isLast, await peer.table.waitForChange(of: routing.digest, deadlineNanoseconds: deadline) { return .again }
            if failure == .unreachable { throw PeerCacheError(.peerUnreachable, "peer \(owner), the key's owner, cannot be reached") }
            throw PeerCacheError(.indeterminate, "peer \(owner), the key's owner, did not confirm the write", underlying: failure)
        }
    }

    /// What an owner did with a write.
    struct OwnedWrite {
        var stamp: Stamp
        /// `.superseded`: the data source has given what is held a higher version. `.tooLate`: its caller has given it up.
        var status: ResponseStatus
        var isStored: Bool { status == .ok }
    }

    /// Writes a key that this peer owns. Nil: this peer does not hold the slot any more.
    /// - Parameter limit: as ``storeOwned(_:_:_:until:)``; nil: the caller is of this process.
    func writeOwned(
        _ key: [UInt8], _ hash: UInt64, _ content: Content, _ routing: Routing, until limit: UInt64? = nil
    ) async throws -> OwnedWrite? {
        guard let written = storeOwned(key, hash, content, until: limit) else { return nil }
        guard written.isStored else { return written }
        let stamp = written.stamp
        let others = otherHolders(hash, routing)
        let acks = min(options.ackedBy - 1, others.count)
        if acks > 0 {
            guard await confirmed(by: acks, of: others, key, content, stamp, within: peer.configuration.requestTimeout) else {
                throw PeerCacheError(.indeterminate, "fewer than \(options.ackedBy) holders confirmed the write in time")
            }
        } else if limit == nil, !others.isEmpty {
            // The caller lives in the owner's process: one crash must not take both the write and its writer (`CONTRACT.md` §5.1).
            _ = await confirmed(by: 1, of: others, key, content, stamp, within: .milliseconds(250))
        } else {
            sendCopies(content, key, hash, stamp)
        }
        return written
    }

    /// Applies an owner's write to the own store. Nil: the slot is not held here.
    /// - Parameter limit: milliseconds since 1970: until then its caller waits. A stamp of later would stand above what others have written
    ///   since: a peer that stood still finds such writes in its sockets when it goes on, and its successor has
    ///   confirmed newer ones. What stands still with its stamp has one of before.
    func storeOwned(_ key: [UInt8], _ hash: UInt64, _ content: Content, until limit: UInt64? = nil) -> OwnedWrite? {
        let (result, stamp) = key.withUnsafeBytes { key in
            switch content {
            case .value(let value, let ttl, _):
                value.withUnsafeReadableBytes { value in
                    peer.store.set(
                        id(hash), key.bytes, value: value.bytes, ttl: ttl, now: peer.clock.tick(),
                        mint: { peer.mint(above: $0, until: limit) })
                }
            case .tombstone(let version):
                peer.store.remove(
                    id(hash), key.bytes, version: version, keep: peer.tombstoneExpiry(), now: peer.clock.tick(),
                    mint: { peer.mint(above: $0, until: limit) })
            }
        }
        if result == .refused { return OwnedWrite(stamp: stamp, status: .tooLate) }
        // Whoever takes over asks this peer once it knows: what was stored here since is not with the new owner.
        guard result != .notHolder, peer.table.routing.isOwned(hash) else { return nil }
        // The stamp is above all others: only the version can be older.
        if result == .superseded { return OwnedWrite(stamp: stamp, status: .superseded) }
        dropNear(key, hash, below: stamp)
        if keepsNear { peer.coherence.changed(hash, stamp) }
        return OwnedWrite(stamp: stamp, status: .ok)
    }

    func otherHolders(_ hash: UInt64, _ routing: Routing) -> [PeerID] {
        options.copies == 1 ? [] : routing.holders(hash, copies: options.copies).filter { $0 != routing.me }
    }

    /// Sends a write to the other holders without waiting.
    func sendCopies(_ content: Content, _ key: [UInt8], _ hash: UInt64, _ stamp: Stamp) {
        for holder in otherHolders(hash, peer.table.routing) {
            let isSent = peer.directory.connection(to: holder)?.post(large: content.large) { id, frames in
                encode(.apply, key, content, id: id, stamp: stamp) { frames.append($0) }
            }
            peer.counters.add(isSent == true ? .copiesSent : .copiesDropped)
            if isSent != true { peer.replicator.missed(hash, by: holder) }
        }
    }

    /// Sends a write to all other holders and waits until `count` of them have it, or something newer.
    func confirmed(
        by count: Int, of holders: [PeerID], _ key: [UInt8], _ content: Content, _ stamp: Stamp, within patience: Duration
    ) async -> Bool {
        peer.counters.add(.copiesSent, UInt64(holders.count))
        if holders.count == 1 { return await confirms(holders[0], key, content, stamp, patience) }
        return await withTaskGroup(of: Bool.self) { group in
            for holder in holders { group.addTask { await self.confirms(holder, key, content, stamp, patience) } }
            var confirmed = 0
            for await isConfirmed in group {
                if isConfirmed { confirmed += 1 }
                if confirmed >= count { break }
            }
            // The copies are on their way: only the waiting is cancelled.
            group.cancelAll()
            return confirmed >= count
        }
    }

    private func confirms(_ holder: PeerID, _ key: [UInt8], _ content: Content, _ stamp: Stamp, _ patience: Duration) async -> Bool {
        switch await send(.apply, key, content, stamp: stamp, to: holder, patience: patience) {
        case .success(let response):
            if response.status == .ok || response.status == .superseded { return true }
            // With these it holds nothing that the write would replace. An unknown cache is one that a deploy adds.
            if response.status != .forgotten, response.status != .noLoader { peer.replicator.missed(hash(key), by: holder) }
        case .failure(.cancelled), .failure(.timedOut):
            // It was sent, and small messages keep their order; chunks do not.
            if content.large == nil { peer.safety.sent(hash(key), to: holder) } else { peer.replicator.missed(hash(key), by: holder) }
        case .failure: peer.replicator.missed(hash(key), by: holder)
        }
        return false
    }

    private func send(
        _ kind: RequestKind, _ key: [UInt8], _ content: Content, stamp: Stamp, to other: PeerID, patience: Duration
    ) async -> Result<PeerResponse, PeerCallError> {
        await peer.call(other, patience: Patience(patience), large: content.large, mustSend: kind == .apply) { id, milliseconds, frames in
            encode(kind, key, content, id: id, stamp: stamp, milliseconds: milliseconds) { frames.append($0) }
        }
    }

    func encode(
        _ kind: RequestKind, _ key: [UInt8], _ content: Content, id: UInt64, stamp: Stamp, milliseconds: UInt32 = 0,
        _ body: (WireRequest) -> Void
    ) {
        withRequest(kind, key) { request in
            request.id = id
            request.deadlineMilliseconds = milliseconds
            request.stamp = stamp
            if kind == .set, keepsNear { request.flags = .near }
            switch content {
            case .tombstone(let version):
                request.flags = .tombstone
                guard let version else { return body(request) }
                withUnsafeBytes(of: version.bigEndian) { bytes in
                    request.value = bytes
                    body(request)
                }
            case .value(let value, let ttl, let isFill):
                if isFill { request.flags = .fill }
                request.ttlMilliseconds = ttl.map { UInt64($0.millisecondsRoundedUp) }
                if content.large != nil {
                    request.chunkedBytes = UInt64(value.readableBytes)
                    body(request)
                } else {
                    value.withUnsafeReadableBytes { bytes in
                        request.value = bytes
                        body(request)
                    }
                }
            }
        }
    }

    // MARK: Near copies

    /// Of the near store, to be taken before a search or a write; nil: no near copies are kept.
    func nearToken(_ hash: UInt64) -> NearStore.Token? { keepsNear ? peer.near.token(hash: hash) : nil }

    /// Drops the near copy of a key that is older than the stamp, and refuses older ones from now on; nil: drops it whatever its stamp.
    func dropNear(_ key: [UInt8], _ hash: UInt64, below stamp: Stamp?) {
        key.withUnsafeBytes { dropNear($0, hash, below: stamp ?? peer.mint(above: .zero)) }
    }

    func dropNear(_ key: UnsafeRawBufferPointer, _ hash: UInt64, below stamp: Stamp) {
        guard keepsNear else { return }
        _ = peer.near.invalidate(hash: hash, cache: index.value, key: key, upTo: stamp)
    }

    /// Near copies below this stamp are outdated by a write. A higher version may have replaced a higher stamp: then the floor is above it.
    func nearLimit(_ hash: UInt64, _ stamp: Stamp) -> Stamp {
        types.isVersioned ? max(stamp, peer.store.floor(of: BucketIndex(hash: hash))) : stamp
    }

    /// Notes that another peer is answered with a key's content as of `stamp`, which it may keep.
    /// - Returns: for the answer; 0: it may not.
    private func share(_ hash: UInt64, _ stamp: Stamp, with other: PeerID) -> UInt64 {
        guard keepsNear, peer.replicator.serving(hash) == .open else { return 0 }
        return peer.coherence.share(hash, stamp, with: other, nearFor: options.nearLife)
    }

    /// As ``visitHeld(_:_:upTo:_:)``, for an answer to a peer. `body` also gets what the answer says of near copies; 0: none may be kept.
    /// - Parameter reader: keeps a near copy if it may.
    func visitHeld(
        _ key: UnsafeRawBufferPointer, _ hash: UInt64, upTo limit: Int, for reader: PeerID?, now: Tick,
        _ body: (EntryInfo, RawSpan, UInt64) -> Void
    ) -> Bool {
        var noted: (stamp: Stamp, near: UInt64)?
        // Before the content is read, which happens without the store's lock: who replaces it after that finds the note and tells the
        // reader. What was replaced between the two is seen by its stamp.
        if let reader, let info = peer.store.held(id(hash), key.bytes), !info.isTombstone, info.valueBytes <= limit {
            noted = (info.stamp, share(hash, info.stamp, with: reader))
        }
        return peer.store.visit(id(hash), key.bytes, now: now, upTo: limit) { info, value in
            body(info, value, noted?.stamp == info.stamp ? noted?.near ?? 0 : 0)
        }
    }

    /// As ``share(_:_:with:)`` after the content was read without the store's lock: it may have been replaced meanwhile.
    func share(_ key: [UInt8], _ hash: UInt64, _ stamp: Stamp, with other: PeerID) -> UInt64 {
        let number = share(hash, stamp, with: other)
        return guardStamp(key, hash) == stamp ? number : 0
    }

    /// The same for what a load brought.
    func share(_ outcome: Result<LoadOutcome, any Error>, _ key: [UInt8], _ hash: UInt64, with other: PeerID) -> UInt64 {
        guard case .success(.value(let loaded)) = outcome, loaded.isStored else { return 0 }
        return share(key, hash, loaded.stamp, with: other)
    }
}

/// A write that is done.
struct Written: Sendable {
    var stamp: Stamp
    /// A near copy of what was written may be made.
    var isCacheable: Bool
}

extension Content {
    /// The value, when it has to travel in chunks.
    var large: ByteBuffer? {
        if case .value(let value, _, _) = self, value.readableBytes > WireLimits.chunkBytes { value } else { nil }
    }
}

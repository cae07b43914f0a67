internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// Strict caches (`CONTRACT.md` §6, §7): every peer reads and writes with the voters; only loads go to the owner.
extension CacheCore {
    // MARK: This peer as a voter

    /// What the own store knows of a key.
    func known(_ key: UnsafeRawBufferPointer, _ hash: UInt64) -> QuorumRead.Answer {
        let id = id(hash)
        guard let info = peer.store.heldWithVersion(id, key.bytes) else {
            return .init(guardStamp: peer.store.guardStamp(id, key.bytes), isHeld: false)
        }
        return .init(
            guardStamp: info.stamp, isHeld: true, isTombstone: info.isTombstone || peer.isOver(info.expiry), version: info.sourceVersion)
    }

    /// As another peer's `read`. Nil: this peer does not vote.
    func vote(_ key: [UInt8], _ hash: UInt64, placement: UInt64, withValue: Bool) -> Known? {
        let slot = Slot(hash: hash)
        guard let votes, votes.contains(slot, placement: placement) else { return nil }
        var known: Known
        if withValue, let found = held(key, hash) {
            known = Known(.init(guardStamp: found.stamp, isHeld: true, hasValue: true, version: version(of: found)), found: found)
        } else {
            known = Known(key.withUnsafeBytes { self.known($0, hash) }, found: nil)
        }
        return votes.contains(slot, placement: placement) ? known : nil
    }

    /// As another peer's `store`. Nil: it does not count.
    func vote(_ content: Content, _ key: [UInt8], _ hash: UInt64, _ stamp: Stamp, placement: UInt64) -> ResponseStatus? {
        let slot = Slot(hash: hash), tookPart = votes?.contains(slot, placement: placement) == true
        let result = key.withUnsafeBytes { store(content, $0, hash, stamp) }
        return tookPart && votes?.contains(slot, placement: placement) == true ? ResponseStatus(result) : nil
    }

    /// Takes in a write with its stamp.
    func store(_ content: Content, _ key: UnsafeRawBufferPointer, _ hash: UInt64, _ stamp: Stamp) -> WriteResult {
        defer { dropNear(key, hash, below: nearLimit(hash, stamp)) }
        return switch content {
        case .value(let value, let ttl, let isFill):
            value.withUnsafeReadableBytes { value in
                peer.store.apply(
                    id(hash), key.bytes, value: value.bytes, stamp: stamp, ttl: ttl, kind: isFill ? .fill : .explicit,
                    now: peer.clock.tick())
            }
        case .tombstone(let version):
            peer.store.applyTombstone(
                id(hash), key.bytes, version: version, stamp: stamp, keep: peer.tombstoneExpiry(), now: peer.clock.tick())
        }
    }

    /// Of the data source; 0 in caches without versions.
    func version(of found: Found) -> UInt64 {
        types.isVersioned ? found.bytes.withUnsafeReadableBytes { SourceVersion.read($0) } ?? 0 : 0
    }

    /// Time to live from the stamp on.
    func ttl(of found: Found) -> Duration? {
        let now = peer.clock.reading() >> 16
        let age = now > found.stamp.milliseconds ? now - found.stamp.milliseconds : 0
        return found.ttlMilliseconds.map { Duration(milliseconds: $0.addingReportingOverflow(age).partialValue) }
    }

    // MARK: Attempts

    private static let pauseMin = Duration.milliseconds(5), pauseMax = Duration.milliseconds(100)

    private func voters(_ hash: UInt64, _ routing: Routing) -> [PeerID] {
        let holders = routing.holders(hash, copies: options.copies)
        return holders.contains(peer.me) ? [peer.me] + holders.filter { $0 != peer.me } : holders
    }

    /// Tries with the voters of now, until there is a result or the time is over: then nil.
    private func untilAgreed<R>(
        _ scheme: QuorumScheme, _ hash: UInt64, deadline: Int64, _ attempt: (Routing, [PeerID]) async throws -> R?
    ) async throws -> R? {
        var pause = Self.pauseMin
        while true {
            let routing = peer.table.routing, voters = voters(hash, routing)
            if peer.isObserver { await peer.reach(voters) }
            if voters.count >= scheme.votersMin, let result = try await attempt(routing, voters) { return result }
            guard ClusterClock.monotonicNanoseconds < deadline else { return nil }
            // The peers do not agree on the voters yet.
            try await Task.sleep(for: pause)
            pause = min(pause * 2, Self.pauseMax)
        }
    }

    /// Reads until a quorum has answered.
    /// - Parameter answersMin: voters that must have answered before the key counts as missed.
    /// - Returns: nil when there was no quorum in time.
    private func readByQuorum(
        _ scheme: QuorumScheme, _ key: [UInt8], _ hash: UInt64, answersMin: Int, deadline: Int64
    ) async throws -> (outcome: QuorumCall.Outcome, placement: UInt64)? {
        try await untilAgreed(scheme, hash, deadline: deadline) { routing, voters in
            let read = QuorumRead(scheme, voters: voters.count, answersMin: answersMin)
            let outcome = await QuorumCall(
                self, key, hash, .read(read), placement: routing.digest, voters: voters, deadline: deadline
            ).run()
            return switch outcome {
            case .hit, .miss: (outcome, routing.digest)
            case .cancelled: throw CancellationError()
            case .noQuorum, .stored, .forgotten: nil
            }
        }
    }

    private var quorumDeadline: Int64 { ClusterClock.monotonicNanoseconds &+ peer.requestPatience.nanoseconds }

    // MARK: Reads

    /// As ``find(_:_:)``.
    func findByQuorum(_ scheme: QuorumScheme, _ key: [UInt8], _ hash: UInt64) async throws -> Found? {
        guard let (outcome, _) = try await readByQuorum(scheme, key, hash, answersMin: scheme.readFrom, deadline: quorumDeadline) else {
            if loader != nil { return try await loadHere(key, hash) }
            throw noQuorum("read")
        }
        guard case .miss(let known) = outcome else {
            if case .hit(let found) = outcome { return found }
            return nil
        }
        guard loader != nil else { return nil }
        let routing = peer.table.routing
        guard let owner = routing.owner(hash) else { return try await loadHere(key, hash) }
        if owner == peer.me { return found(try await load(key, hash, guard: known)) }
        let answer = await peer.call(owner, patience: loadPatience) { id, milliseconds, frames in
            withRequest(.get, key) { request in
                request.id = id
                request.deadlineMilliseconds = milliseconds
                request.stamp = known
                frames.append(request)
            }
        }
        switch answer {
        case .success(let response):
            switch response.status {
            case .ok: return Found(response, source: .peer)
            case .absent: return nil
            case .notOwner, .noLoader, .valueTooLarge, .shuttingDown: return try await loadHere(key, hash)
            default: throw error(of: response, from: owner)
            }
        case .failure(.cancelled): throw CancellationError()
        case .failure(.overloaded): throw PeerCacheError(.overloaded, "too many calls to peer \(owner) wait for an answer")
        case .failure: return try await loadHere(key, hash)
        }
    }

    /// The load of a key that this peer owns. The lease is told to so many voters that each later write mints above it; what is loaded is
    /// stored only under the placement of the lease.
    func runStrictLoader(_ key: [UInt8], _ hash: UInt64, lease: Stamp, placement: UInt64) async -> Result<LoadOutcome, any Error> {
        guard let scheme else { return .success(.absent) }
        var lease = lease
        do {
            for _ in 0..<5 {
                // Every frame carries this peer's clock, which is at or above the lease.
                guard
                    let (outcome, under) = try await readByQuorum(
                        scheme, key, hash, answersMin: scheme.leaseQuorum, deadline: quorumDeadline)
                else { return await callLoader(key, lease: lease) { _ in false } }
                guard case .miss(let highest) = outcome else {
                    if case .hit(let found) = outcome { return .success(.value(LoadedValue(found))) }
                    break
                }
                if highest >= lease {
                    lease = peer.mint(above: highest)
                    continue
                }
                return await callLoader(key, lease: lease) { await self.fill(scheme, key, hash, $0, placement: under) }
            }
            // The key is written all the time: what is loaded would be outdated at once.
            return await callLoader(key, lease: lease) { _ in false }
        } catch { return .failure(error) }
    }

    private func fill(_ scheme: QuorumScheme, _ key: [UInt8], _ hash: UInt64, _ loaded: LoadedValue, placement: UInt64) async -> Bool {
        let routing = peer.table.routing, voters = voters(hash, routing)
        guard loaded.bytes.readableBytes <= peer.valueBytesMax, routing.digest == placement else { return false }
        let write = QuorumWrite(scheme, voters: voters.count, stamp: loaded.stamp)
        let content = Content.value(loaded.bytes, ttl: options.ttl, isFill: true)
        let outcome = await QuorumCall(
            self, key, hash, .write(write, content), placement: placement, voters: voters, deadline: quorumDeadline
        ).run()
        if case .stored = outcome { return true }
        counters.add(.fillsForgotten)
        return false
    }

    // MARK: Writes

    /// As ``write(_:_:_:)``. One stamp for the whole write, whatever changes meanwhile.
    func writeByQuorum(_ scheme: QuorumScheme, _ key: [UInt8], _ hash: UInt64, _ content: Content) async throws -> Stamp {
        let deadline = quorumDeadline
        var minted: Stamp?
        let stored = try await untilAgreed(scheme, hash, deadline: deadline) { routing, voters -> Stamp? in
            let write = QuorumWrite(scheme, voters: voters.count, stamp: minted)
            let outcome = await QuorumCall(
                self, key, hash, .write(write, content), placement: routing.digest, voters: voters, deadline: deadline
            ).run()
            switch outcome {
            case .stored(let stamp): return stamp
            case .forgotten:
                throw PeerCacheError(
                    .indeterminate,
                    "cache \"\(name)\": fewer than \(scheme.ackedBy) of the key's voters kept the value (no room, its time is over, or the cache is "
                        + "not registered there); the value, what was before, or none may be read")
            case .noQuorum(let stamp): minted = stamp ?? minted
            case .cancelled: throw CancellationError()
            case .hit, .miss: break
            }
            return nil
        }
        if let stored {
            dropNear(key, hash, below: stored)
            return stored
        }
        if minted == nil { throw noQuorum("write") }
        throw PeerCacheError(
            .indeterminate,
            "fewer than \(scheme.ackedBy) voters confirmed the write in time; it may take effect now, later or never")
    }

    private func noQuorum(_ what: String) -> PeerCacheError {
        PeerCacheError(
            .quorumUnavailable,
            "cache \"\(name)\": too few of the key's \(options.copies) voters can be reached to \(what); nothing happened")
    }
}

internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// What this peer answers as a voter of a strict cache (`CONTRACT.md` §6).
extension RequestServer {
    func handleVote(_ request: WireRequest, _ connection: PeerConnection) {
        guard let scheme = QuorumScheme(code: request.scheme) else { return refuse(request, .malformed, connection) }
        let cache = peer.cache(named: request.cache)
        guard cache.map({ request.type == 0 || request.type == $0.typeFingerprint }) ?? true, cache.map({ $0.scheme == scheme }) ?? true
        else {
            return refuse(request, .incompatible, connection)
        }
        guard let votes = cache?.votes ?? peer.replicator.knownVotes(of: scheme) else { return abstain(request, connection) }
        let hash = cache?.secret.hash(request.key) ?? peer.hash(request.key, cache: request.cache)
        let voter = Voter(votes: votes, slot: Slot(hash: hash), placement: request.placement)
        cache?.counters.add(.served)
        switch request.kind {
        case .read: read(cache, request, hash, voter, connection)
        default: store(cache, request, hash, voter, connection)
        }
    }

    private struct Voter: Sendable {
        let votes: Votes
        let slot: Slot
        let placement: UInt64

        var takesPart: Bool { votes.contains(slot, placement: placement) }
    }

    /// Not a voter under the caller's placement: it has another one, or this peer is not ready.
    private func abstain(_ request: WireRequest, _ connection: PeerConnection) {
        let digest = peer.table.routing.digest
        refuse(request, digest == request.placement ? .abstained : .notOwner, connection, digest: digest)
    }

    private func read(_ cache: CacheCore?, _ request: WireRequest, _ hash: UInt64, _ voter: Voter, _ connection: PeerConnection) {
        guard voter.takesPart else { return abstain(request, connection) }
        guard let cache else {
            // Not registered here: as if all had been dropped.
            let floor = peer.store.floor(of: BucketIndex(hash: hash))
            return respond(request, .absent, floor, voter, connection)
        }
        if request.flags.contains(.value), answerHeld(cache, request, hash, connection, else: .abstained, if: { voter.takesPart }) {
            return
        }
        let known = cache.known(request.key, hash)
        let status: ResponseStatus = known.isHeld ? (known.isTombstone ? .removed : .held) : .absent
        respond(request, status, known.guardStamp, version: known.version, voter, connection)
    }

    private func store(_ cache: CacheCore?, _ request: WireRequest, _ hash: UInt64, _ voter: Voter, _ connection: PeerConnection) {
        guard peer.clock.accepts(request.stamp) else {
            peer.counters.add(.clockSkew)
            return refuse(request, .clockSkew, connection)
        }
        let tookPart = voter.takesPart
        var result = WriteResult.forgotten
        if let cache {
            result = cache.store(Content(request), request.key, hash, request.stamp)
        } else {
            peer.store.raiseFloor(of: BucketIndex(hash: hash), to: request.stamp) { _ in .zero }
        }
        // What is newer is taken in anyway.
        guard tookPart else { return abstain(request, connection) }
        respond(request, ResponseStatus(result), request.stamp, voter, connection)
    }

    /// Answers, if what was done counts as a vote.
    private func respond(
        _ request: WireRequest, _ status: ResponseStatus, _ stamp: Stamp, version: UInt64 = 0, _ voter: Voter, _ connection: PeerConnection
    ) {
        guard voter.takesPart else { return abstain(request, connection) }
        var response = WireResponse(id: request.id, status: status)
        response.stamp = stamp
        response.sourceVersion = version
        connection.respond(response)
    }
}

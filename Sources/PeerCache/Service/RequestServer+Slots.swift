internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

extension RequestKind {
    /// About slots and not about one cache.
    var isAboutSlots: Bool {
        switch self {
        case .claim, .pull, .compare, .seal: true
        case .get, .getMany, .set, .remove, .apply, .readClock, .clearCache, .inspect, .read, .store, .removeOlder: false
        }
    }
}

/// Claims, pages and digests for other peers.
extension RequestServer {
    func handleSlots(_ request: WireRequest, _ connection: PeerConnection) {
        do throws(WireError) {
            switch request.kind {
            case .claim: try claim(request, connection)
            case .pull: try pull(request, connection)
            case .compare: try compare(request, connection)
            case .seal: try seal(request, connection)
            default: break
            }
        } catch { refuse(request, .malformed, connection) }
    }

    /// Answered only under the same placement: from then on this peer takes nothing more as owner of slots that it lost.
    private func claim(_ request: WireRequest, _ connection: PeerConnection) throws(WireError) {
        let slots = try PageReader.claim(request.value)
        let digest = peer.table.routing.digest
        guard digest == request.placement else { return refuse(request, .notOwner, connection, digest: digest) }
        respond(request, PageWriter.claimAnswer(peer.replicator.answer(to: slots), floors: cacheFloors), connection)
    }

    private var cacheFloors: [(cache: [UInt8], floor: Stamp)] {
        peer.caches.map { (cache: $0.nameBytes, floor: peer.store.cacheFloor($0.index)) }.filter { $0.floor > .zero }
    }

    private func seal(_ request: WireRequest, _ connection: PeerConnection) throws(WireError) {
        let (seal, scheme) = try PageReader.seal(request.value, placement: request.placement)
        guard let answer = peer.replicator.answer(seal, scheme, peer) else {
            return refuse(request, .notOwner, connection, digest: peer.table.routing.digest)
        }
        respond(request, PageWriter.sealAnswer(answer, floors: cacheFloors), connection)
    }

    private func pull(_ request: WireRequest, _ connection: PeerConnection) throws(WireError) {
        let pull = try PageReader.pull(request.value)
        let names = Dictionary(peer.caches.map { ($0.index, $0.nameBytes) }, uniquingKeysWith: { first, _ in first })
        guard let page = peer.store.page(pull, now: peer.clock.tick(), name: { names[$0] ?? [] }) else {
            return refuse(request, .notHolder, connection)
        }
        respond(request, page, connection)
    }

    private func compare(_ request: WireRequest, _ connection: PeerConnection) throws(WireError) {
        let others = try PageReader.compare(request.value)
        let buckets = peer.store.differences(
            from: others, now: peer.clock.tick(), isComplete: peer.isComparable, isCompared: peer.isCompared(with: connection.peer))
        respond(request, PageWriter.differences(buckets), connection)
    }

    private func respond(_ request: WireRequest, _ value: [UInt8], _ connection: PeerConnection) {
        connection.respond(id: request.id, ByteBuffer(bytes: value), stamp: .zero, ttlMilliseconds: nil)
    }
}

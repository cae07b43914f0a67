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

extension PeerCore {
    /// Whether the asker, earlier in the slot's list, needs more caches than this peer has kept, and another one has them.
    fileprivate func hasLetGoOfPart(of slot: Slot, neededBy asker: PeerID, _ routing: Routing) -> Bool {
        guard replicator.holdsPart(of: slot) else { return false }
        let list = routing.placement.peers(of: slot, copies: Placement.ranksMax)
        guard let mine = list.firstIndex(of: me), let theirs = list.firstIndex(of: asker), theirs < mine else { return false }
        let fewest = caches.filter { $0.scheme == nil }.map(\.options.copies).min() ?? 0
        return list.prefix(fewest).contains { $0 != asker && directory.connection(to: $0) != nil }
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
        let (slots, isMissed) = try PageReader.claim(request.value)
        let placement = request.placement, asker = connection.peer
        answerLater(request, connection) {
            guard self.peer.table.routing.digest == placement else { return nil }
            if isMissed { self.peer.replicator.handle(.missed(slots), self.peer) }
            return PageWriter.claimAnswer(self.peer.replicator.answer(to: slots, of: asker, self.peer), floors: self.cacheFloors)
        }
    }

    private var cacheFloors: [(cache: [UInt8], floor: Stamp)] {
        peer.caches.map { (cache: $0.nameBytes, floor: peer.store.cacheFloor($0.index)) }.filter { $0.floor > .zero }
    }

    private func seal(_ request: WireRequest, _ connection: PeerConnection) throws(WireError) {
        let (seal, scheme) = try PageReader.seal(request.value, placement: request.placement)
        answerLater(request, connection) {
            guard let answer = self.peer.replicator.answer(seal, scheme, self.peer) else { return nil }
            return PageWriter.sealAnswer(answer, floors: self.cacheFloors)
        }
    }

    private func pull(_ request: WireRequest, _ connection: PeerConnection) throws(WireError) {
        let pull = try PageReader.pull(request.value)
        guard request.flags.contains(.gathering) else { return send(pull, request.id, connection) }
        // For fast caches. The store may hold a slot for strict ones alone: a page of it would look as if there were nothing.
        let (id, asker) = (request.id, connection.peer)
        beside(connection) { [peer] in
            let routing = peer.table.routing, offered = peer.replicator.offered(to: asker)
            let held = pull.slots.prefix { offered.contains($0) && !peer.hasLetGoOfPart(of: $0, neededBy: asker, routing) }
            if held.isEmpty { return self.refuse(id, .notHolder, connection) }
            let page = PullRequest(slots: Array(held), bucket: pull.bucket, isBucketOnly: pull.isBucketOnly)
            self.send(page, id, connection) {
                let offered = peer.replicator.offered(to: asker)
                return held.allSatisfy { offered.contains($0) }
            }
        }
    }

    /// - Parameter isGood: asked when the page has been read; no: it is to be asked for again.
    private func send(_ pull: PullRequest, _ id: UInt64, _ connection: PeerConnection, if isGood: () -> Bool = { true }) {
        let caches = peer.cachesByIndex
        guard let page = peer.store.page(pull, now: peer.clock.tick(), name: { caches[$0]?.nameBytes ?? [] }) else {
            return refuse(id, .notHolder, connection)
        }
        if isGood() { respond(id, page, connection) } else { refuse(id, .overloaded, connection) }
    }

    private func compare(_ request: WireRequest, _ connection: PeerConnection) throws(WireError) {
        let others = try PageReader.compare(request.value)
        answerLater(request, connection) { [peer] in
            let buckets = peer.store.differences(
                from: others, now: peer.clock.tick(), isComplete: peer.isComparable, isCompared: peer.isCompared(with: connection.peer))
            return PageWriter.differences(buckets)
        }
    }

    /// Answers in a task: the replicator's lock may be held for long, and the event loop has pings to answer. Nil: under another placement.
    private func answerLater(_ request: WireRequest, _ connection: PeerConnection, _ answer: @escaping @Sendable () -> [UInt8]?) {
        let id = request.id
        beside(connection) {
            if let value = answer() { return self.respond(id, value, connection) }
            self.refuse(id, .notOwner, connection, digest: self.peer.table.routing.digest)
        }
    }

    private func respond(_ id: UInt64, _ value: [UInt8], _ connection: PeerConnection) {
        connection.respond(id: id, ByteBuffer(bytes: value), stamp: .zero, ttlMilliseconds: nil)
    }
}

extension GossipMachine {
    /// Wait before we re-dial a peer that closed on purpose: the connection it prefers is on its way, or it will not have us.
    private static let pauseAfterGoodbye = Duration.seconds(1)

    /// A handshake finished, ours or one that the shell accepted.
    mutating func established(_ id: ConnectionID, _ record: MemberRecord) {
        let dial = dials[id]
        dials[id] = nil
        let peer = record.id
        guard connections[id] == nil else { return }
        if let dial { settleDial(dial, answeredBy: peer) }
        if peer == me.id { return meetMyself(at: dial?.address, record, on: id) }
        if let dial { replaceOthers(at: dial.address, by: peer) }
        merge(Member(record, status: .alive), from: nil)
        guard let member = members[peer] else {
            // Its record was refused, and the trace says why.
            postpone(dial, atLeast: Self.pauseAfterGoodbye)
            return effects.append(.close(id, .protocolError))
        }
        if member.status == .left {
            // Ids do not come back: it learns that, and draws another.
            postpone(dial, atLeast: Self.pauseAfterGoodbye)
            effects.append(.send(.sync(members: [member], wantsReply: false), to: peer, on: id))
            return effects.append(.close(id, .replaced))
        }
        hadContact = true
        judgements[peer] = nil
        var link = links[peer] ?? newLink()
        let isFirst = link.open.isEmpty
        link.open.append(Link.Open(id: id, heardAt: now))
        link.heardAt = now
        link.isDoubted = false
        link.hasFailed = false
        link.refusals = 0
        link.firstRefusal = nil
        link.dialAt = nil
        links[peer] = link
        connections[id] = peer
        if isFirst, !Self.isInbound(id) { sendTable(to: peer, on: id) }
        closeSurplus(of: peer)
        if dial == nil { doubtOthers(at: record.address, claimedBy: peer) }
    }

    /// An open connection ended.
    mutating func ended(_ id: ConnectionID, _ evidence: Evidence) {
        guard let peer = connections[id], var link = links[peer] else { return }  // we closed it ourselves
        connections[id] = nil
        link.open.removeAll { $0.id == id }
        links[peer] = link
        guard let member = members[peer], member.status.isPresent else {
            if link.open.isEmpty { links[peer] = nil }
            return
        }
        if case .closedByPeer(.leaving) = evidence {
            // Its own word on its own connection; the announcement of `left` may have been lost.
            return declareLeft(member)
        }
        guard link.open.isEmpty else { return }
        switch evidence {
        case .closedByPeer(.duplicate), .closedByPeer(.replaced): link.dialAt = now + Self.pauseAfterGoodbye
        case .closedByPeer(.protocolError):
            link.backoff = min(configuration.backoffMax, max(link.backoff * 2, Self.pauseAfterGoodbye))
            link.dialAt = now + link.backoff
        case .timedOut: link.dialAt = now + link.backoff
        default: link.dialAt = now + random.duration(upTo: configuration.redialJitter)
        }
        links[peer] = link
    }

    /// Keeps one connection per pair. Both ends decide alike: of connections that both dialled, those of the lower id survive; of several by
    /// one side, that side keeps its oldest. One that brings nothing gives way to one that does.
    mutating func closeSurplus(of peer: PeerID) {
        guard let open = links[peer]?.open, open.count > 1 else { return }
        let lively = open.filter { now - $0.heardAt < configuration.quietAfter }
        var kept = lively.isEmpty ? open : lively
        for connection in open where !kept.contains(where: { $0.id == connection.id }) { close(connection.id, of: peer, .replaced) }
        let ofLower = kept.filter { isDialledByLower($0.id, peer) }
        if !ofLower.isEmpty {
            for connection in kept where !isDialledByLower(connection.id, peer) { close(connection.id, of: peer, .duplicate) }
            kept = ofLower
        }
        if let first = kept.first, !Self.isInbound(first.id) {
            for connection in kept.dropFirst() { close(connection.id, of: peer, .duplicate) }
        } else {
            // The other side closes its own; should it not, the bound does.
            for connection in kept.dropLast(Link.openMax) { close(connection.id, of: peer, .replaced) }
        }
    }

    mutating func close(_ id: ConnectionID, of peer: PeerID, _ goodbye: Goodbye) {
        links[peer]?.open.removeAll { $0.id == id }
        connections[id] = nil
        effects.append(.close(id, goodbye))
    }

    /// The connection that will survive, as far as we can tell: among those that bring frames the lower id's; of several, our oldest or their
    /// newest (the older one may be a half that the other end has lost).
    func preferred(_ link: Link, _ peer: PeerID) -> ConnectionID? {
        if link.open.count <= 1 { return link.open.first?.id }
        let lively = link.open.filter { now - $0.heardAt < configuration.quietAfter }
        let choice = lively.isEmpty ? link.open : lively
        let ofLower = choice.filter { isDialledByLower($0.id, peer) }
        let group = ofLower.isEmpty ? choice : ofLower
        return group.first.flatMap { Self.isInbound($0.id) ? group.last?.id : $0.id }
    }

    private func isDialledByLower(_ id: ConnectionID, _ peer: PeerID) -> Bool { Self.isInbound(id) == (peer < me.id) }

    /// Whether a connection to the member brought a frame just now: then the verdict of others is wrong, or will soon be evident here too.
    func isFresh(_ peer: PeerID) -> Bool { links[peer]?.isHeard(within: configuration.freshFor, of: now) ?? false }

    func newLink() -> Link { Link(heardAt: now, backoff: configuration.backoffMin) }

    /// A member became present: the lower id dials at once, the higher one lets it go first, as its connection would be closed as surplus.
    mutating func startLink(to peer: PeerID) {
        var link = links[peer] ?? newLink()
        link.heardAt = now
        link.hasFailed = false
        link.refusals = 0
        link.firstRefusal = nil
        link.backoff = configuration.backoffMin
        link.dialAt = now + random.duration(upTo: configuration.redialJitter) + (me.id < peer ? .zero : configuration.redialEvery)
        links[peer] = link
    }

    /// We stood still: what was not heard meanwhile proves nothing, and refusals before it do not count with those after it.
    mutating func extendWaits(by lateness: Duration) {
        links.updateAll { _, link in
            link.heardAt = min(now, link.heardAt + lateness)
            for index in link.open.indices { link.open[index].heardAt = min(now, link.open[index].heardAt + lateness) }
            link.refusals = 0
            link.firstRefusal = nil
        }
        effects.append(.trace(.stoodStill(lateness)))
    }
}

extension GossipMachine {
    /// Wait before we re-dial a peer that closed on purpose: the connection it prefers is on its way, or it will not have us.
    private static let pauseAfterGoodbye = Duration.seconds(1)
    /// A connection that did not answer a question for so long is stuck.
    private static let stuckAfter = Duration.milliseconds(300)

    /// A handshake finished, ours or one that the shell accepted.
    mutating func established(_ id: ConnectionID, _ record: MemberRecord) {
        let dial = dials[id], peer = record.id
        if let dial {
            endDial(id, dial)
            if peer != me.id { settlePlace(dial, answeredBy: peer) }
        }
        guard connections[id] == nil else { return }
        if peer.originTag == me.id.originTag {
            postpone(dial, atLeast: Self.pauseAfterGoodbye)
            return meetTwin(record, on: id)
        }
        if let dial { meet(peer, at: dial.address) }
        let isNewcomer = members[peer] == nil
        merge(Member(record, status: .alive), .firstHand)
        guard let member = members[peer] else {
            // Its record was refused, and the trace says why. Who has its origin tag tells it to draw another id.
            postpone(dial, atLeast: Self.pauseAfterGoodbye)
            if let holder = originTags[peer.originTag].flatMap({ members[$0] }), record.problem == nil {
                send(.claims(placement: digest, [MemberClaim(holder, withRecord: true)]), to: peer, on: id)
            }
            return effects.append(.close(id, .protocolError))
        }
        if member.status == .left {
            // Ids do not come back: it learns that, and draws another.
            postpone(dial, atLeast: Self.pauseAfterGoodbye)
            send(.claims(placement: digest, [MemberClaim(member, withRecord: true)]), to: peer, on: id)
            return effects.append(.close(id, .replaced))
        }
        let isFirst = add(id, of: peer)
        if !hadContact {
            hadContact = true
            contactAt = now
        }
        greet(member, on: id, isFirst: isFirst, dialledAt: dial?.startedAt)
        // Somebody else uses this id, or did: each of them shall see the other's record.
        if member.record.incarnation == record.incarnation, !member.record.saysTheSame(as: record) || member.record.hlc != record.hlc {
            send(.claims(placement: digest, [MemberClaim(member, withRecord: true)]), to: peer, on: id)
        }
        closeSurplus(of: peer, newest: id, replacesStuck: dial.map { if case .fresh = $0.target { true } else { false } } ?? false)
        if dial == nil {
            claimAddress(record.address, peer)
            if isFirst, isNewcomer { dialBack(record) }
        }
    }

    /// True: it is the only one.
    private mutating func add(_ id: ConnectionID, of peer: PeerID) -> Bool {
        var link = links[peer] ?? newLink()
        let isFirst = link.open.isEmpty
        link.open.append(Link.Open(id: id, heardAt: now))
        link.heardAt = now
        link.backoff = configuration.backoffMin
        link.dialAt = nil
        links[peer] = link
        connections[id] = peer
        return isFirst
    }

    /// A handshake is the first occasion to say what waits. It is proof of life as of the time when we dialled: of one that the other side
    /// began we cannot tell, as the kernel finishes handshakes of the dead from what they sent before.
    private mutating func greet(_ member: Member, on id: ConnectionID, isFirst: Bool, dialledAt: Instant?) {
        let peer = member.record.id
        noteContact(with: peer)
        if member.status == .dead {
            // It learns of the verdict, and refutes.
            send(.claims(placement: digest, [MemberClaim(member, withRecord: false)]), to: peer, on: id)
        } else if let suspicion = links[peer]?.suspicion {
            accuseFreshly(peer, on: id)
            if let dialledAt, dialledAt >= suspicion.startedAt { lift(peer) }
        } else if member.status == .suspect {
            send(.claims(placement: digest, [MemberClaim(member, withRecord: false)]), to: peer, on: id)
        }
        if let current = probe, current.target == peer, let dialledAt, dialledAt >= current.startedAt { probeSucceeded(measured: false) }
        connectedInCase(peer, on: id, dialledAt: dialledAt)
        let waiting = links.change(peer) { link in
            let waiting = link.waiting
            link.waiting = []
            return waiting
        }
        for message in waiting ?? [] { send(message, to: peer, on: id) }
        if isFirst, !Self.isInbound(id) { sendDigest(to: peer) }
    }

    /// An open connection ended.
    mutating func ended(_ id: ConnectionID, _ evidence: Evidence) {
        guard let peer = connections[id], var link = links[peer] else { return }  // we closed it ourselves
        connections[id] = nil
        link.open.removeAll { $0.id == id }
        links[peer] = link
        if case .closedByPeer(.clockSkew) = evidence, let member = members[peer] { refusedForClock(by: member) }
        guard let member = members[peer], member.status.isPresent else {
            if link.open.isEmpty { links[peer] = nil }
            return
        }
        // Its own word on its own connection; the announcement of `left` may have been lost.
        if case .closedByPeer(.leaving) = evidence { return declareLeft(member) }
        var wait = random.duration(upTo: configuration.redialJitter)
        switch evidence {
        case .resetByPeer, .closedByPeer(nil): broke(member)
        case .timedOut:
            probeOutOfTurn(peer)
            wait += link.backoff
        case .closedByPeer(.protocolError): wait += pauseAfterFault(of: peer)
        case .closedByPeer: wait = Self.pauseAfterGoodbye
        default: break
        }
        if link.open.isEmpty, cases[peer] == nil, keepsConnection(to: peer) { dial(peer, in: wait) }
    }

    /// One of the two breaks the protocol, and probably will again: twice as long each time, until there was none for a while.
    private mutating func pauseAfterFault(of peer: PeerID) -> Duration {
        let now = now, longest = configuration.foreignRest
        return links.change(peer) { link in
            let isRepeated = link.faultAt.map { now - $0 < longest * 2 } ?? false
            link.faultPause = isRepeated ? min(longest, link.faultPause * 2) : Self.pauseAfterGoodbye
            link.faultAt = now
            return link.faultPause
        } ?? Self.pauseAfterGoodbye
    }

    /// Makes it the next of the lap. Whoever had its turn gets few more in the same lap: connections that end again and again must neither
    /// let the lap grow nor keep others from their turn. O(members).
    private mutating func probeOutOfTurn(_ peer: PeerID) {
        if probe?.target == peer || configuration.isObserver { return }
        if let index = lap[lapPosition...].firstIndex(of: peer) {
            lap.remove(at: index)
        } else if lap.count >= 2 * min(members.count, configuration.fullMeshMax) {
            return
        }
        lap.insert(peer, at: lapPosition)
    }

    /// Keeps one connection per pair. Whoever dialled one closes it, so that both ends agree: a fresh one takes over from what is stuck; of
    /// those that both dialled the lower id's survive, of several by one side its oldest.
    private mutating func closeSurplus(of peer: PeerID, newest: ConnectionID, replacesStuck: Bool) {
        guard let open = links[peer]?.open, open.count > 1 else { return }
        var kept: [Link.Open] = []
        for connection in open {
            if replacesStuck, connection.id != newest, isStuck(connection) {
                close(connection.id, of: peer, .replaced)
            } else {
                kept.append(connection)
            }
        }
        let lively = kept.filter { !isStuck($0) }
        if lively.count > 1 {
            let isLower = me.id < peer
            let survivor = lively.first { Self.isInbound($0.id) != isLower } ?? lively[0]
            for connection in lively where connection.id != survivor.id && !Self.isInbound(connection.id) {
                close(connection.id, of: peer, .duplicate)
            }
        }
        // The other side closes its own; should it not, the bound does.
        let left = links[peer]?.open ?? []
        for connection in left.dropLast(Link.openMax) { close(connection.id, of: peer, .replaced) }
    }

    private func isStuck(_ connection: Link.Open) -> Bool { connection.askedAt.map { now - $0 >= Self.stuckAfter } ?? false }

    mutating func close(_ id: ConnectionID, of peer: PeerID, _ goodbye: Goodbye) {
        links.change(peer) { $0.open.removeAll { $0.id == id } }
        connections[id] = nil
        effects.append(.close(id, goodbye))
    }

    /// The connection to send on: one that is not stuck; of these the one that will survive, as far as we can tell; else the last that
    /// brought something.
    func preferred(_ link: Link) -> ConnectionID? {
        if link.open.count <= 1 { return link.open.first?.id }
        var best: Link.Open?
        for connection in link.open {
            guard let current = best else {
                best = connection
                continue
            }
            let (one, other) = (isStuck(current), isStuck(connection))
            if one != other ? one : connection.heardAt > current.heardAt { best = connection }
        }
        return best?.id
    }

    /// Whether a connection to the member brought a frame just now: then the verdict of others is wrong, or will soon be evident here too.
    func isFresh(_ peer: PeerID) -> Bool { links[peer]?.isHeard(within: configuration.freshFor, of: now) ?? false }

    func newLink() -> Link { Link(heardAt: now, backoff: configuration.backoffMin) }

    /// A member became present: the lower id dials at once, the higher one lets it go first, as its connection would be closed as surplus.
    mutating func startLink(to peer: PeerID) {
        if links[peer] == nil { links[peer] = newLink() }
        guard links[peer]?.open.isEmpty == true, keepsConnection(to: peer) else { return }
        links.change(peer) { ($0.backoff, $0.dialAt) = (configuration.backoffMin, nil) }
        dial(peer, in: random.duration(upTo: configuration.redialJitter) + (me.id < peer ? .zero : configuration.caseDialEvery))
    }

    /// It departed. What is open stays so: it may refute there.
    mutating func dropLink(to peer: PeerID) {
        links.change(peer) { link in
            link.dialAt = nil
            link.suspicion = nil
            link.waiting = []
        }
        if links[peer]?.open.isEmpty == true { links[peer] = nil }
    }

    /// Once per period: connections that nobody needs. O(members).
    mutating func closeIdle() {
        for (peer, link) in zip(links.keys, links.values) where !link.open.isEmpty {
            let isPresent = members[peer]?.status.isPresent == true
            let limit = isPresent ? configuration.idleAfter : Duration.seconds(10)
            guard !isPresent || !keepsConnection(to: peer), now - link.heardAt > limit else { continue }
            for connection in link.open { close(connection.id, of: peer, .idle) }
            if !isPresent { links[peer] = nil }
        }
    }
}

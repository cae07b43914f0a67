extension GossipMachine {
    /// Least time between two comparisons of tables that a difference starts with one member.
    private static let compareEvery = Duration.seconds(1)
    /// Least time in which one departed member is told of its verdict again.
    private static let tellEvery = Duration.milliseconds(400)

    mutating func receive(_ message: GossipMessage, from peer: PeerID, on connection: ConnectionID) {
        guard note(peer, heardOn: connection) else { return }
        switch message {
        case .ping(let sequence, let placement, let claims):
            let isAccused = take(claims, from: peer, on: connection)
            var told = takeClaims()
            if isAccused { tellOfMyself(&told) }
            send(.ack(sequence: sequence, placement: digest, claims: told), to: peer, on: connection)
            comparePlacement(placement, with: peer)
        case .ack(let sequence, let placement, let claims):
            if take(claims, from: peer, on: connection) { answerAccuser(peer, on: connection) }
            answered(sequence, by: peer)
            comparePlacement(placement, with: peer)
        case .nack(let sequence, let claims):
            if take(claims, from: peer, on: connection) { answerAccuser(peer, on: connection) }
            nacked(sequence)
        case .relay(let sequence, let target, let claims):
            if take(claims, from: peer, on: connection) { answerAccuser(peer, on: connection) }
            relay(sequence, to: target, for: peer)
        case .claims(let placement, let claims):
            if take(claims, from: peer, on: connection) { answerAccuser(peer, on: connection) }
            comparePlacement(placement, with: peer)
        case .accusation(let accusation): heard(accusation, from: peer)
        case .digest(let digest):
            if configuration.isObserver { takeCutoff(digest, of: peer) } else { compare(digest, with: peer, on: connection) }
        case .ranges(let cutoff, let sums): compare(sums, cutoff, with: peer, on: connection)
        case .summary(let summary): compare(summary, with: peer, on: connection)
        case .fetch(let ids): answerFetch(of: ids, from: peer, on: connection)
        case .sync(let theirs, let wantsReply): takeTable(theirs, from: peer, on: connection, wantsReply: wantsReply)
        case .unreachable(let address): heardUnreachable(address)
        }
    }

    /// Notes a frame. False, and the frame is to be dropped, when the connection is not open or belongs to somebody else.
    private mutating func note(_ peer: PeerID, heardOn connection: ConnectionID) -> Bool {
        guard connections[connection] == peer else { return false }
        let now = now, backoff = configuration.backoffMin
        let isKnown: Void? = links.change(peer) { link in
            for index in link.open.indices where link.open[index].id == connection {
                link.open[index].heardAt = now
                link.open[index].askedAt = nil
            }
            link.heardAt = now
            link.backoff = backoff
        }
        if isKnown == nil { return false }
        noteContact(with: peer)
        if !cases.isEmpty { heardInCases(peer) }
        if members[peer]?.status == .dead { remind(peer, on: connection) }
        return true
    }

    /// After a while in which nobody spoke to us: what did we miss?
    mutating func noteContact(with peer: PeerID) {
        if let last = heardAnybodyAt, now - last >= configuration.contactGap { sendDigest(to: peer) }
        heardAnybodyAt = now
    }

    /// It talks to us and we hold it for dead: it shall know.
    private mutating func remind(_ peer: PeerID, on connection: ConnectionID) {
        guard let member = members[peer], let link = links[peer] else { return }
        if let last = link.toldAt, now - last < Self.tellEvery { return }
        let now = now
        links.change(peer) { $0.toldAt = now }
        send(.claims(placement: digest, [MemberClaim(member, withRecord: false)]), to: peer, on: connection)
    }

    /// Whoever differs from all others in contacts a second apart does not do so because of news on its way.
    private mutating func comparePlacement(_ theirs: UInt64, with peer: PeerID) {
        if configuration.syncsWhole { return }
        if theirs == digest {
            differsSince = nil
        } else if let since = differsSince {
            if now - since < Self.compareEvery { return }
            differsSince = now
            sendDigest(to: peer)
        } else {
            differsSince = now
        }
    }

    // MARK: About this peer

    private mutating func tellOfMyself(_ claims: inout [MemberClaim]) {
        claims.removeAll { $0.id == me.id }
        guard let member = members[me.id] else { return }
        claims.insert(MemberClaim(member, withRecord: false), at: 0)
    }

    private mutating func answerAccuser(_ peer: PeerID, on connection: ConnectionID) {
        var claims: [MemberClaim] = []
        tellOfMyself(&claims)
        send(.claims(placement: digest, claims), to: peer, on: connection)
    }

    /// What others hold about us. True: it accuses us, and whoever says so should hear our answer.
    @discardableResult mutating func hearOfMyself(_ heard: MemberClaim) -> Bool {
        let incarnation = heard.incarnation
        // Nobody can take back `left`, whatever we announce: only a new id helps.
        if heard.status == .left {
            suspectTwin()
            return false
        }
        if isOfTwin(heard) {
            seekTwin(heard.record)
            // Of two records of one incarnation the first stays: the process that keeps the id makes its own known.
            if heard.content > me.hlc { raiseIncarnation(above: incarnation, withRecord: true) }
        }
        guard heard.status == .dead || heard.status == .suspect else { return false }
        if incarnation >= me.incarnation {
            raiseIncarnation(above: incarnation)
            changeHealth(by: 1)
        }
        // A suspect keeps its slots; the dead lost them, even if we refuted a suspicion before we heard of the verdict.
        if heard.status == .dead, incarnation > deadIncarnation {
            deadIncarnation = incarnation
            emit(.selfRefuted)
        }
        return true
    }

    /// Announces our record above an incarnation that somebody holds against us.
    mutating func raiseIncarnation(above heard: UInt32, withRecord: Bool = false) {
        let (next, overflow) = max(heard, me.incarnation).addingReportingOverflow(1)
        // Nobody can outbid the last incarnation: only a new id helps.
        if overflow { suspectTwin() }
        me.incarnation = overflow ? .max : next
        setOwnStatus(stage == .leaving ? .leaving : .alive, withRecord: withRecord)
    }

    /// Only we issue our incarnations and say what they say: whoever knows another one met another process with our id.
    func isOfTwin(_ heard: MemberClaim) -> Bool {
        if heard.incarnation != me.incarnation { return heard.incarnation > me.incarnation }
        return heard.content != me.hlc || (heard.status == .leaving && stage != .leaving)
    }
}

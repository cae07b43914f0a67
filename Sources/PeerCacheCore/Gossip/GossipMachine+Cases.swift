/// Crash evidence (`GOSSIP.md` §7): what the kernel says of a killed process, believed only when a majority of its watchers see the same
/// and nobody heard from it.
extension GossipMachine {
    /// One member that may have crashed.
    struct Case: Sendable {
        var incarnation: UInt32
        var openedAt: Instant
        var generation: UInt64
        /// Of the pings on connections that are still open, and of those to the three that we check ourselves with.
        var sequence: UInt64
        /// Whether we are obliged to dial it, and may vote.
        var isWatched: Bool
        var firstRejection: Instant?
        var rejections = 0
        /// Somebody may have a case because of us, or we because of somebody.
        var isPublic = false
        /// Other members that brought a frame since it was opened, in order; no more than are needed.
        var heard: [PeerID] = []
        /// By voter, with the time.
        var votes = SortedMap<PeerID, Instant>()
    }

    private static let selfCheckMembers = 3
    /// A case that led to nothing: §6 has taken over.
    private static let caseLimit = Duration.seconds(5)
    private static let voteAgainAfter = Duration.milliseconds(500)

    // MARK: Opening

    /// A connection broke without a goodbye: opens a case, is no vote.
    mutating func broke(_ member: Member) {
        if cases[member.record.id] == nil { openCase(about: member) }
    }

    /// False: there are no rules about it now.
    @discardableResult private mutating func openCase(about member: Member) -> Bool {
        let peer = member.record.id
        guard configuration.usesCrashEvidence, member.status.isPlaced, rests[peer] == nil else { return false }
        guard cases.count < configuration.casesMax else {
            trace(.casesFull(peer))
            return false
        }
        sequence &+= 1
        let isWatched = watchers(of: peer).contains(me.id)
        let new = Case(
            incarnation: member.record.incarnation, openedAt: now, generation: nextGeneration(), sequence: sequence, isWatched: isWatched)
        cases[peer] = new
        trace(.caseOpened(peer))
        let question = GossipMessage.ping(sequence: new.sequence, placement: digest, claims: [])
        for open in links[peer]?.open ?? [] { send(question, to: peer, on: open.id) }
        after(Self.caseLimit, .caseReview(peer, generation: new.generation))
        guard isWatched else { return true }
        let accused = cases.keys
        for other in randomMembers(Self.selfCheckMembers, except: accused) { post(question, to: other) }
        after(random.duration(upTo: configuration.redialJitter), .caseDial(peer, generation: new.generation))
        return true
    }

    mutating func dialForCase(_ peer: PeerID, _ generation: UInt64) {
        guard let current = cases[peer], current.generation == generation, let member = members[peer], canDial(member.record.address) else {
            return
        }
        after(configuration.caseDialEvery, .caseDial(peer, generation: generation))
        guard dials.count < configuration.dialsMax else { return }
        startDial(to: member.record.address, .evidence(peer), expecting: peer, limit: configuration.caseDialLimit)
    }

    // MARK: Evidence

    /// A dial to the member was refused, or another cluster answered there.
    mutating func rejected(_ peer: PeerID) {
        guard let member = members[peer], member.status.isPlaced else { return }
        if cases[peer] == nil, !openCase(about: member) { return }
        let now = now
        let isFirst = cases.change(peer) { current in
            current.rejections += 1
            if current.firstRejection == nil { current.firstRejection = now }
            return current.isWatched && current.rejections == 1
        }
        if isFirst == true {
            cases.change(peer) { $0.isPublic = true }
            tell(.accuse, about: peer, member.record.incarnation)
            if member.status == .alive { suspect(member) }
        }
        vote(about: peer)
    }

    mutating func heardInCases(_ peer: PeerID) {
        for subject in cases.keys where subject != peer {
            let counts = cases.change(subject) { current in
                guard current.heard.count < 2, !current.heard.contains(peer) else { return false }
                current.heard.append(peer)
                return true
            }
            if counts == true { vote(about: subject) }
        }
    }

    /// The answer to a challenge of a case, in time for its vote.
    mutating func answerOfCase(_ peer: PeerID, _ sequence: UInt64) {
        if let current = cases[peer], current.sequence == sequence { answeredInCase(peer) }
    }

    /// A handshake that began before the case is asked once more.
    mutating func connectedInCase(_ peer: PeerID, on connection: ConnectionID, dialledAt: Instant?) {
        guard let current = cases[peer] else { return }
        if let dialledAt, dialledAt >= current.openedAt { return answeredInCase(peer) }
        send(.ping(sequence: current.sequence, placement: digest, claims: []), to: peer, on: connection)
    }

    /// It lives. Whoever may think otherwise is told.
    private mutating func answeredInCase(_ peer: PeerID) {
        guard let current = cases[peer] else { return }
        closeCase(peer)
        guard current.isPublic else { return }
        rests[peer] = now + configuration.objectionRest
        tell(.objection, about: peer, current.incarnation)
    }

    private mutating func closeCase(_ peer: PeerID) {
        cases[peer] = nil
        trace(.caseClosed(peer))
        if links[peer]?.open.isEmpty == true, keepsConnection(to: peer) { dialSoon(peer) }
    }

    /// A higher incarnation voids the case; the dead and those who leave have none.
    mutating func settleCase(of member: Member) {
        guard let current = cases[member.record.id] else { return }
        if !member.status.isPlaced {
            cases[member.record.id] = nil
        } else if member.record.incarnation > current.incarnation {
            closeCase(member.record.id)
        }
    }

    // MARK: Votes

    private mutating func tell(_ step: Accusation.Step, about peer: PeerID, _ incarnation: UInt32) {
        let message = GossipMessage.accusation(Accusation(step, peer, incarnation: incarnation))
        for watcher in watchers(of: peer) where watcher != me.id { post(message, to: watcher) }
    }

    /// Votes when our own evidence suffices, and counts.
    private mutating func vote(about peer: PeerID) {
        guard let current = cases[peer], current.isWatched, let first = current.firstRejection else { return }
        let span = memberCount <= 2 ? configuration.rejectionSpanOfTwo : configuration.rejectionSpan
        let others = max(0, min(2, memberCount - 2))
        guard current.rejections >= configuration.rejectionsMin, now - first >= span, current.heard.count >= others, healthScore <= 1,
            now >= votesAt
        else { return }
        if let last = current.votes[me.id], now - last < Self.voteAgainAfter { return }
        let now = now
        cases.change(peer) { $0.votes[me.id] = now }
        trace(.voted(peer))
        tell(.vote, about: peer, current.incarnation)
        count(votesAbout: peer)
    }

    /// A majority of the watchers that are not accused themselves, and two at least while more than two members are known.
    private mutating func count(votesAbout peer: PeerID) {
        guard let current = cases[peer], let member = members[peer] else { return }
        let able = watchers(of: peer).filter { id in id == me.id || members[id]?.status == .alive && cases[id] == nil }
        let votes = able.filter { id in current.votes[id].map { now - $0 <= configuration.voteValidFor } ?? false }
        guard votes.count >= max(able.count / 2 + 1, memberCount > 2 ? 2 : 1) else { return }
        trace(.crashProven(peer, by: votes.map(\.originTag)))
        cases[peer] = nil
        declareDead(member, .crashed)
    }

    /// A step that somebody else took.
    mutating func heard(_ accusation: Accusation, from peer: PeerID) {
        let subject = accusation.subject
        guard subject != me.id else {
            // We live, and say so: the accuser takes it for an answer.
            if accusation.step != .objection, accusation.incarnation >= me.incarnation { raiseIncarnation(above: accusation.incarnation) }
            return
        }
        guard let member = members[subject], member.status.isPlaced, member.record.incarnation <= accusation.incarnation else { return }
        switch accusation.step {
        case .objection:
            guard cases[subject] != nil || rests[subject] == nil, configuration.usesCrashEvidence else { return }
            rests[subject] = now + configuration.objectionRest
            if cases[subject] != nil { closeCase(subject) }
        case .accuse, .vote:
            if cases[subject] == nil, !openCase(about: member) { return }
            let now = now, isVote = accusation.step == .vote
            cases.change(subject) { current in
                current.isPublic = true
                if isVote { current.votes[peer] = now }
            }
            if isVote { count(votesAbout: subject) }
        }
    }

    /// The time of the case is over.
    mutating func reviewCase(_ peer: PeerID, _ generation: UInt64) {
        if let current = cases[peer], current.generation == generation { closeCase(peer) }
    }

    /// We stood still: rejections before it do not count with those after it.
    mutating func delayCases(by lateness: Duration) {
        cases.updateAll { _, current in
            current.rejections = min(current.rejections, 1)
            current.firstRejection = current.firstRejection.map { $0 + lateness }
        }
    }
}

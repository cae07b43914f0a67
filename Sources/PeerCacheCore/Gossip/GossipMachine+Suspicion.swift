/// From doubt to verdict (`GOSSIP.md` §6.2–6.4): a suspicion gets shorter with each confirmation, its subject may refute all the time and
/// is challenged before the end.
extension GossipMachine {
    /// Our own probe failed, or an old verdict makes us doubt.
    mutating func suspect(_ member: Member, verdict: Member? = nil) {
        let peer = member.record.id
        switch member.status {
        case .alive:
            put(Member(member.record, status: .suspect), over: member)
            startSuspicion(of: peer, incarnation: member.record.incarnation, accuser: me.id.originTag)
            spread(peer, withRecord: false, accuser: me.id.originTag, urgently: true)
        case .suspect:
            if links.change(peer, { $0.suspicion == nil }) == true {
                startSuspicion(of: peer, incarnation: member.record.incarnation, accuser: me.id.originTag)
            } else {
                confirm(peer, by: me.id.originTag)
            }
        case .leaving:
            // It is out of the placement and nobody needs to know; but it must not be leaving for ever.
            if links.change(peer, { $0.suspicion == nil }) == true {
                startSuspicion(of: peer, incarnation: member.record.incarnation, accuser: me.id.originTag)
            }
        case .left, .dead: return
        }
        if let verdict { links.change(peer) { $0.suspicion?.verdict = verdict } }
        startPushing(peer)
    }

    mutating func startSuspicion(of peer: PeerID, incarnation: UInt32, accuser: UInt32) {
        let count = memberCount
        let logarithm = max(1 << 16, IntegerLogarithm.base10(count))
        let shortest = scaled(configuration.period * configuration.suspicionFactor) * logarithm / (1 << 16)
        // Too few are there to confirm it: it starts at its minimum.
        let longest = count - 2 < configuration.confirmations ? shortest : shortest * configuration.suspicionMaxFactor
        let suspicion = Suspicion(
            incarnation: incarnation, startedAt: now, accusers: accuser == 0 ? [] : [accuser], shortest: shortest, longest: longest,
            generation: nextGeneration())
        guard links.change(peer, { $0.suspicion = suspicion }) != nil else { return }
        scheduleEnd(of: suspicion, about: peer)
    }

    /// Somebody else found it silent too.
    mutating func confirm(_ peer: PeerID, by accuser: UInt32) {
        guard var suspicion = links[peer]?.suspicion, case .running = suspicion.phase, accuser != 0,
            suspicion.accusers.count <= configuration.confirmations, !suspicion.accusers.contains(accuser)
        else { return }
        suspicion.accusers.append(accuser)
        links.change(peer) { $0.suspicion = suspicion }
        scheduleEnd(of: suspicion, about: peer)
        if members[peer]?.status == .suspect { spread(peer, withRecord: false, accuser: accuser, urgently: false) }
    }

    private mutating func scheduleEnd(of suspicion: Suspicion, about peer: PeerID) {
        let at = max(end(of: suspicion), now)
        timers.add(.suspicion(peer, generation: suspicion.generation), at: at.nanoseconds)
    }

    private func end(of suspicion: Suspicion) -> Instant {
        let confirmed = max(0, suspicion.accusers.count - 1)
        var wait = suspicion.longest
        if confirmed > 0, configuration.confirmations > 0 {
            let shorter = suspicion.longest - suspicion.shortest
            wait -= shorter * IntegerLogarithm.base2(confirmed + 1) / max(1, IntegerLogarithm.base2(configuration.confirmations + 1))
        }
        return suspicion.startedAt + max(wait, suspicion.shortest)
    }

    mutating func suspicionRanOut(_ peer: PeerID, _ generation: UInt64) {
        guard let member = members[peer], member.status.isPresent, var suspicion = links[peer]?.suspicion,
            suspicion.generation == generation, case .running = suspicion.phase, end(of: suspicion) <= now
        else { return }
        if now < judgesAt { return timers.add(.suspicion(peer, generation: generation), at: judgesAt.nanoseconds) }
        if configuration.verifyChallenges == 0 { return declareDead(member, .silent) }
        suspicion.phase = .verifying(verdict: nil)
        startVerifying(peer, suspicion)
    }

    // MARK: Challenges

    private mutating func startPushing(_ peer: PeerID) {
        guard configuration.pushesMax > 0, let suspicion = links[peer]?.suspicion, suspicion.pushes == 0 else { return }
        push(peer, suspicion.generation)
    }

    mutating func push(_ peer: PeerID, _ generation: UInt64) {
        guard let suspicion = links[peer]?.suspicion, suspicion.generation == generation, case .running = suspicion.phase,
            suspicion.pushes < configuration.pushesMax
        else { return }
        links.change(peer) { $0.suspicion?.pushes += 1 }
        challenge(peer)
        after(configuration.pushEvery, .push(peer, generation: generation))
    }

    private mutating func startVerifying(_ peer: PeerID, _ suspicion: Suspicion) {
        var verifying = suspicion
        verifying.generation = nextGeneration()
        verifying.challenges = 0
        links.change(peer) { $0.suspicion = verifying }
        verify(peer, verifying.generation)
    }

    /// The next challenge, and at the end the verdict.
    mutating func verify(_ peer: PeerID, _ generation: UInt64) {
        guard let member = members[peer], member.status.isPresent, let suspicion = links[peer]?.suspicion,
            suspicion.generation == generation, case .verifying(let verdict) = suspicion.phase
        else { return }
        let done = suspicion.challenges
        if done >= configuration.verifyChallenges {
            if now < judgesAt { return timers.add(.challenge(peer, generation: generation), at: judgesAt.nanoseconds) }
            links.change(peer) { $0.suspicion = nil }
            guard let verdict else { return declareDead(member, suspicion.successor == nil ? .silent : .replaced) }
            return apply(verdict, accuser: 0)
        }
        links.change(peer) { $0.suspicion?.challenges += 1 }
        challenge(peer)
        let last = configuration.verifyEvery * max(0, configuration.verifyChallenges - 1)
        let wait = done + 1 < configuration.verifyChallenges ? configuration.verifyEvery : configuration.verifyWait - last
        after(scaled(wait), .challenge(peer, generation: generation))
    }

    /// On every open connection, and on a fresh one.
    private mutating func challenge(_ peer: PeerID) {
        guard let member = members[peer], let link = links[peer], let suspicion = numbered(peer) else { return }
        let ping = GossipMessage.ping(sequence: suspicion.sequence, placement: digest, claims: [accusation(of: member, suspicion)])
        for open in link.open { send(ping, to: peer, on: open.id) }
        dialFresh(peer)
    }

    /// The suspicion, with a sequence for its challenges.
    private mutating func numbered(_ peer: PeerID) -> Suspicion? {
        guard var suspicion = links[peer]?.suspicion else { return nil }
        if suspicion.sequence == 0 {
            sequence &+= 1
            suspicion.sequence = sequence
            links.change(peer) { $0.suspicion = suspicion }
        }
        return suspicion
    }

    private func accusation(of member: Member, _ suspicion: Suspicion) -> MemberClaim {
        var accused = member
        accused.status = .suspect
        if let verdict = suspicion.verdict { accused = verdict }
        if case .verifying(let verdict?) = suspicion.phase { accused = verdict }
        return MemberClaim(accused, accuser: me.id.originTag, withRecord: false)
    }

    /// A fresh connection to a suspect: the first thing it carries is the accusation.
    mutating func accuseFreshly(_ peer: PeerID, on connection: ConnectionID) {
        guard let member = members[peer], let suspicion = numbered(peer) else { return }
        let claims = [accusation(of: member, suspicion)]
        send(.ping(sequence: suspicion.sequence, placement: digest, claims: claims), to: peer, on: connection)
    }

    /// Others hold it for dead, but it talks to us: it is challenged first.
    mutating func doubt(_ verdict: Member, from teller: PeerID) {
        let peer = verdict.record.id
        guard let link = links[peer] else { return }
        if case .verifying(_?)? = link.suspicion?.phase { return }
        trace(.verdictChallenged(peer, by: teller))
        var suspicion = link.suspicion ?? newDoubt(of: verdict)
        suspicion.phase = .verifying(verdict: verdict)
        startVerifying(peer, suspicion)
    }

    /// Another peer answered at its address. It hears that it is suspect, not that it is dead: so far nobody has given a verdict, and
    /// whoever hears of one gives up what it stores.
    mutating func doubt(_ member: Member, replacedBy successor: PeerID) {
        let peer = member.record.id
        guard let link = links[peer], link.suspicion?.successor == nil else { return }
        var suspicion = link.suspicion ?? newDoubt(of: member)
        suspicion.successor = successor
        if case .running = suspicion.phase { suspicion.phase = .verifying(verdict: nil) }
        startVerifying(peer, suspicion)
    }

    /// A suspicion that goes on to the challenges at once.
    private func newDoubt(of member: Member) -> Suspicion {
        Suspicion(incarnation: member.record.incarnation, startedAt: now, accusers: [], shortest: .zero, longest: .zero, generation: 0)
    }

    /// It answered us. Its refutation is on the way to everybody; until that comes the table keeps the status.
    mutating func lift(_ peer: PeerID) {
        if let suspicion = links[peer]?.suspicion, suspicion.isOfReplacement, let member = members[peer] {
            noteConflict(of: member.record, with: suspicion.successor)
        }
        links.change(peer) { $0.suspicion = nil }
        trace(.suspicionLifted(peer))
    }

    // MARK: Verdicts

    mutating func declareDead(_ member: Member, _ cause: DeathCause) {
        put(Member(member.record, status: .dead, cause: cause, since: now.hlc), over: member)
        spread(member.record.id, withRecord: false, urgently: true)
    }

    /// The member said goodbye for good.
    mutating func declareLeft(_ member: Member) {
        put(Member(member.record, status: .left, since: now.hlc), over: member)
        spread(member.record.id, withRecord: false, urgently: true)
    }
}

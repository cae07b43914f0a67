internal import PeerCacheCore

/// What must never happen (`GOSSIP.md` §1), looked at after every input.
extension SimulatedCluster {
    // MARK: Events

    func note(_ event: MembershipEvent, by peer: SimulatedPeer) {
        switch event {
        case .joined(let record):
            counts.joined += 1
            if let subject = numbers[record.id], peers[subject].isStranger != peer.isStranger {
                violate("peer \(peer.number) took a peer of another cluster, \(subject), for a member")
            }
        case .suspected: counts.suspected += 1
        case .refuted: counts.refuted += 1
        case .returned: counts.returned += 1
        case .left: counts.left += 1
        case .duplicateIdentity: redraw(peer)
        case .addressUnreachable: counts.unreachable += 1
        case .dead(let id, let cause):
            counts.dead += 1
            noteVerdict(id, cause, by: peer)
        default: break
        }
        onEvent?(peer.number, event)
    }

    /// The owner's duty: a new identity, a new machine, another join.
    private func redraw(_ peer: SimulatedPeer) {
        if !cloned.contains(peer.id) { violate("peer \(peer.number) saw a duplicate of itself where there is none") }
        after(1_000_000) { cluster in
            guard peer.isUp else { return }
            cluster.counts.redrawn += 1
            cluster.end(peer, isSilent: false)
            cluster.start(seat: peer.seat)
        }
    }

    private func noteVerdict(_ id: PeerID, _ cause: DeathCause, by peer: SimulatedPeer) {
        guard let subject = numbers[id], !cloned.contains(id), peers[subject].isUp, !peers[subject].hasLeft else { return }
        let incarnation = peer.machine.snapshot().member(id)?.record.incarnation ?? 0
        if let last = judged[id], last >= incarnation { return }
        judged[id] = incarnation
        let isExcused = disturbedUntil[peers[subject].seat] > time
        wrongVerdicts.append(
            WrongVerdict(
                at: time, observer: peer.number, subject: subject, cause: cause, incarnation: incarnation, isExcused: isExcused))
    }

    // MARK: Tables

    func checkTable(of peer: SimulatedPeer) {
        let view = peer.machine.snapshot()
        guard view.version != peer.version else { return }
        peer.version = view.version
        mix(.table, view.digest, view.version, peer)
        if checksEveryChange { compare(view, at: peer) }
    }

    /// Looks at every table now, also where changes are not looked at one by one.
    package func checkTables() {
        for peer in peers where peer.isUp { compare(peer.machine.snapshot(), at: peer) }
    }

    /// Both lists are in id order.
    private func compare(_ view: MembershipView, at peer: SimulatedPeer) {
        var known: [KnownMember] = []
        known.reserveCapacity(view.members.count)
        var position = 0, present = 0
        for member in view.members {
            let now = KnownMember(id: member.record.id, incarnation: member.record.incarnation, status: member.status)
            if let last = known.last, last.id >= now.id { violate("peer \(peer.number) has a table out of order") }
            known.append(now)
            if member.status.isPresent { present += 1 }
            while position < peer.known.count, peer.known[position].id < now.id { position += 1 }
            if position < peer.known.count, peer.known[position].id == now.id {
                checkStep(from: peer.known[position], to: now, at: peer)
            }
            checkBelief(member, at: peer)
        }
        if let mine = view.member(peer.id) {
            if mine.status == .dead || mine.status == .suspect { violate("peer \(peer.number) holds itself for \(mine.status)") }
        } else {
            violate("peer \(peer.number) is not in its own table")
        }
        let departed = view.members.count - present
        if departed > max(scenario.configuration.departedMax, 4 * max(1, present)) {
            violate("peer \(peer.number) keeps \(departed) departed members beside \(present)")
        }
        peer.known = known
    }

    /// Old news must not undo a verdict, and incarnations only rise.
    private func checkStep(from old: KnownMember, to new: KnownMember, at peer: SimulatedPeer) {
        let subject = { "of \(self.numbers[new.id].map(String.init) ?? new.id.description) at peer \(peer.number)" }
        if new.incarnation < old.incarnation { violate("incarnation \(subject()) fell from \(old.incarnation) to \(new.incarnation)") }
        if old.status == .left, new.status != .left { violate("a left member came back as \(new.status), \(subject())") }
        if old.status == .dead, new.status != .dead, new.status != .left, new.incarnation <= old.incarnation {
            violate("dead became \(new.status) at incarnation \(new.incarnation), \(subject())")
        }
        if old.status == .leaving, new.status == .suspect || new.status == .alive, new.incarnation <= old.incarnation {
            violate("leaving became \(new.status) at incarnation \(new.incarnation), \(subject())")
        }
    }

    /// Only the owner issues incarnations, `leaving` and `left`.
    private func checkBelief(_ member: Member, at peer: SimulatedPeer) {
        guard let number = numbers[member.record.id] else { return violate("peer \(peer.number) knows a member that never started") }
        let subject = peers[number]
        if !cloned.contains(member.record.id), member.record.incarnation > subject.machine.me.incarnation {
            violate("peer \(peer.number) holds \(number) at incarnation \(member.record.incarnation), which it never issued")
        }
        if member.status == .leaving || member.status == .left, !subject.hasLeft {
            violate("peer \(peer.number) holds \(number) for \(member.status), which it never said")
        }
    }

    // MARK: The end of a run

    /// Runs the scenario to its end and through the heal phase. Returns what was wrong, first things first; empty: nothing.
    package func run() -> [String] {
        start()
        advance(to: scenario.length)
        heal()
        let healed = advance(upTo: scenario.healLimit, step: 250_000_000) { $0.agrees }
        if healed == nil { violate("views differ \(scenario.healLimit / 1_000_000_000) s after the network was whole") }
        // Still so when all timers of the last faults have run, and nobody was judged meanwhile.
        advance(by: 20_000_000_000)
        if healed != nil, !agrees { violate("views that were equal came to differ") }
        // What somebody said of a member who never heard it runs out by itself: at most 18 s, times 8 in a peer that was in trouble.
        if present.contains(where: { !peers[$0].machine.isCalm }) {
            _ = advance(upTo: 150_000_000_000, step: 250_000_000) { cluster in
                cluster.present.allSatisfy { cluster.peers[$0].machine.isCalm }
            }
        }
        for number in present where !peers[number].machine.isCalm { violate("peer \(number) is not calm long after the last fault") }
        checkTables()
        for verdict in wrongVerdicts where !verdict.isExcused {
            violate("peer \(verdict.observer) declared \(verdict.subject) dead (\(verdict.cause)), which ran undisturbed")
        }
        if counts.messages == 0 || present.count > 1 && counts.joined == 0 { violate("the run exercised nothing") }
        if !scenario.faults.isEmpty, counts.faultsDone == 0 { violate("no fault found anybody") }
        return violations
    }
}

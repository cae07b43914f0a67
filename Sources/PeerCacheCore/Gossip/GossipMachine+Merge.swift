extension Member {
    /// Which of two statuses at one incarnation holds. `leaving` outranks `suspect`, unlike `GOSSIP.md` §3 has it: a suspicion must not put
    /// a leaving peer back into the placement.
    private var rank: Int {
        switch status {
        case .alive: 0
        case .suspect: 1
        case .leaving: 2
        case .dead: 3
        case .left: 4
        }
    }

    /// What both entries together say: the same in either order and when repeated, so tables agree however the news travelled.
    /// `left` is final; else the higher incarnation holds; at equal incarnation the higher rank.
    func joined(with other: Member) -> Member {
        let newer = other.record.incarnation > record.incarnation ? other : self
        if status == .left || other.status == .left {
            let since = max(status == .left ? since : 0, other.status == .left ? other.since : 0)
            return Member(newer.record, status: .left, since: since)
        }
        if record.incarnation != other.record.incarnation { return newer }
        // The same verdict by two observers: the later one, so that all forget it at the same hour.
        let mine = (rank, since, cause?.rawValue ?? 0), theirs = (other.rank, other.since, other.cause?.rawValue ?? 0)
        let stronger = theirs > mine ? other : self
        return Member(record, status: stronger.status, cause: stronger.cause, since: stronger.since)
    }
}

extension MemberRecord {
    /// Whether only the incarnation differs: a refutation is no update.
    fileprivate func saysTheSame(as other: MemberRecord) -> Bool {
        var same = other
        same.incarnation = incarnation
        same.hlc = hlc
        return self == same
    }
}

extension GossipMachine {
    /// Takes in what `teller` says about a member; nil: we saw it ourselves, which is announced.
    mutating func merge(_ heard: Member, from teller: PeerID?) {
        let id = heard.record.id
        if let problem = heard.record.problem { return effects.append(.trace(.recordRefused(id, problem))) }
        if id == me.id { return hearOfMyself(heard) }
        let theirs = normalized(heard)
        // Whoever forgot a verdict at the full hour must not learn it again from one whose clock is behind.
        if !theirs.status.isPresent, theirs.since < departedCutoff { return }
        let mine = members[id]
        let result = mine?.joined(with: theirs) ?? theirs
        guard result != mine else { return }
        if let teller, let mine, mine.status.isPresent, theirs.status == .dead || theirs.status == .suspect, isFresh(id) {
            return challenge(id, with: theirs, from: teller)
        }
        if result.status.isPresent, mine?.status.isPresent != true, let holder = presentHolder(ofTagOf: id) {
            return effects.append(.trace(.originTagTaken(id: id, holder: holder)))
        }
        guard mine != nil || makeRoom(for: theirs) else { return }
        put(result, over: mine)
        if teller == nil { news.append(id) }
    }

    /// An entry as we would have made it: whatever a message says, a cause belongs to `dead` and a verdict does not lie in the future.
    private func normalized(_ heard: Member) -> Member {
        var member = heard
        if heard.status != .dead { member.cause = nil } else if heard.cause == nil { member.cause = .silent }
        member.since = heard.status.isPresent ? 0 : min(heard.since, now.hlc)
        return member
    }

    /// Stamps carry origin tags: two living peers with one tag would mint equal stamps (`CONTRACT.md` A5). O(members), for newcomers only.
    private func presentHolder(ofTagOf id: PeerID) -> PeerID? {
        if id.originTag == me.id.originTag { return me.id }
        for member in members.values where member.record.id.originTag == id.originTag && member.record.id != id && member.status.isPresent {
            return member.record.id
        }
        return nil
    }

    private mutating func makeRoom(for newcomer: Member) -> Bool {
        if members.count < configuration.membersMax { return true }
        if newcomer.status.isPresent, let oldest = departed().first {
            forget(oldest)
            return true
        }
        effects.append(.trace(.tableFull(newcomer.record.id)))
        return false
    }

    /// The only place that changes another member's entry.
    mutating func put(_ member: Member, over old: Member?) {
        let id = member.record.id
        members[id] = member
        tableChanged = true
        if let old, old.status.isPresent == member.status.isPresent {
            if old.record.address != member.record.address { links[id]?.dialAt = now }
        } else if member.status.isPresent {
            startLink(to: id)
            if var judgement = judgements[id] {
                // It lives although we could not reach it: our path is broken, not the member.
                judgement.restUntil = now + configuration.verdictRest * min(20, 1 << max(0, min(5, judgement.verdicts - 1)))
                judgements[id] = judgement
            }
        } else if links[id]?.open.isEmpty == true {
            links[id] = nil
        } else {
            links[id]?.dialAt = nil
        }
        announce(member, over: old)
    }

    private mutating func announce(_ member: Member, over old: Member?) {
        guard member.status.isPresent || old?.status.isPresent == true else { return }  // news about the departed
        let id = member.record.id
        switch old?.status {
        case nil: emit(.joined(member.record))
        case .dead: emit(.returned(member.record))
        default: if let old, member.status.isPresent, !old.record.saysTheSame(as: member.record) { emit(.updated(member.record)) }
        }
        guard old?.status != member.status else { return }
        switch member.status {
        case .alive: if old?.status == .suspect { emit(.refuted(id)) }
        case .suspect: emit(.suspected(id))
        case .leaving: emit(.leaving(id))
        case .left: emit(.left(id))
        case .dead: emit(.dead(id, cause: member.cause ?? .silent))
        }
    }

    /// After every change: drops what is over the limits and tells whoever builds the placement.
    mutating func settleTable() {
        guard tableChanged else { return }
        placesChanged = true
        version += 1
        let departed = departed()
        let limit = max(configuration.departedMax, 4 * (members.count - departed.count))
        for member in departed.prefix(max(0, departed.count - limit)) { forget(member) }
        tableChanged = false
        let before = digest
        digest = MembershipView.digest(of: members.values)
        if digest != before { emit(.placementChanged(digest: digest)) }
    }

    /// `dead` and `left` members, the oldest verdict first.
    func departed() -> [Member] {
        members.values.filter { !$0.status.isPresent && $0.record.id != me.id }
            .sorted { ($0.since, $0.record.id) < ($1.since, $1.record.id) }
    }

    /// Drops a departed member for want of room; the cut-off moves along so that others do not teach it to us again.
    private mutating func forget(_ member: Member) {
        let id = member.record.id
        departedCutoff = max(departedCutoff, member.since == .max ? .max : member.since + 1)
        members[id] = nil
        judgements[id] = nil
        tableChanged = true
    }

    /// The departed are kept for whole hours of HLC time, so that peers whose clocks differ a little forget the same ones.
    mutating func moveCutoff() {
        let hours = (now.hlc >> 16) / 3_600_000
        let cutoff = hours > configuration.departedHours ? ((hours - configuration.departedHours) * 3_600_000) << 16 : 0
        guard cutoff > departedCutoff else { return }
        departedCutoff = cutoff
        for member in departed() where member.since < cutoff { forget(member) }
    }
}

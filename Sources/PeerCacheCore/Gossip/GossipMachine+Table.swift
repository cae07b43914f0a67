/// The table itself: every change of an entry, what follows from it, and its bounds.
extension GossipMachine {
    /// The only place that changes another member's entry.
    mutating func put(_ member: Member, over old: Member?) {
        let id = member.record.id
        members[id] = member
        account(old, -1)
        account(member, 1)
        tableChanged = true
        if old?.status.isPlaced == true, member.status == .dead { lostCount += 1 }
        if old?.status == .dead, member.status.isPlaced { lostCount -= 1 }
        if old?.status.isPlaced == true, member.status == .leaving || member.status == .left { leftCount += 1 }
        settleSuspicion(of: member)
        if member.status.isPresent, old?.cause == .replaced { noteConflict(of: member.record, with: nil) }
        if let old, old.status.isPresent == member.status.isPresent {
            if old.record.address != member.record.address {
                placesChanged = true
                dialSoon(id)
            }
        } else if member.status.isPresent {
            placesChanged = true
            originTags[id.originTag] = id
            addToLap(id)
            startLink(to: id)
        } else {
            placesChanged = true
            if originTags[id.originTag] == id { originTags[id.originTag] = nil }
            dropLink(to: id)
            if member.status == .dead { retrySoon() }
        }
        settleCase(of: member)
        announce(member, over: old)
    }

    /// A suspicion ends with a higher incarnation, or when its subject is gone.
    private mutating func settleSuspicion(of member: Member) {
        let id = member.record.id
        guard let suspicion = links[id]?.suspicion, !member.status.isPresent || member.record.incarnation > suspicion.incarnation else {
            return
        }
        links.change(id) { $0.suspicion = nil }
        if member.status.isPresent, suspicion.isOfReplacement { noteConflict(of: member.record, with: suspicion.successor) }
    }

    /// Keeps the counts and the sums. `change` is 1 or -1.
    private mutating func account(_ member: Member?, _ change: Int) {
        guard let member else { return }
        if member.status.isPlaced { placedCount += change }
        if member.status == .suspect { suspectCount += change }
        if !member.status.isPresent { departedCount += change }
        digest = change > 0 ? digest &+ member.digestPart : digest &- member.digestPart
        secondSum = change > 0 ? secondSum &+ member.secondDigestPart : secondSum &- member.secondDigestPart
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

    /// Our own entry.
    mutating func setOwnStatus(_ status: MemberStatus, withRecord: Bool) {
        if configuration.isObserver { return }
        let old = members[me.id]
        let member = Member(me, status: status, since: status == .left ? now.hlc : 0)
        members[me.id] = member
        account(old, -1)
        account(member, 1)
        tableChanged = true
        spread(me.id, withRecord: withRecord, urgently: true)
    }

    /// After every change: drops what is over the limits and tells whoever builds the placement.
    mutating func settleTable() {
        if placesChanged, placesAt == nil, stage == .joined, !places.isEmpty {
            placesAt = now + (places.count <= 64 ? Duration.milliseconds(50) : .milliseconds(500))
        }
        placesChanged = false
        guard tableChanged else { return }
        tableChanged = false
        version += 1
        let limit = max(configuration.departedMax, 4 * (members.count - departedCount))
        if departedCount > limit { for member in departed().prefix(departedCount - limit) { forget(member) } }
        tableChanged = false
        if digest != announcedDigest {
            announcedDigest = digest
            emit(.placementChanged(digest: digest))
        }
    }

    /// `dead` and `left` members, the oldest verdict first.
    func departed() -> [Member] {
        members.values.filter { !$0.status.isPresent && $0.record.id != me.id }
            .sorted { ($0.since, $0.record.id) < ($1.since, $1.record.id) }
    }

    /// The first of ``departed()``. In one pass without a copy, as each newcomer to a full table asks.
    func oldestDeparted() -> Member? {
        if departedCount == 0 { return nil }
        var oldest: (since: UInt64, index: Int)?
        for index in members.keys.indices where !members.values[index].status.isPresent && members.keys[index] != me.id {
            let since = members.values[index].since
            if oldest.map({ since < $0.since }) ?? true { oldest = (since, index) }
        }
        return oldest.map { members.values[$0.index] }
    }

    /// Drops a departed member for want of room or for its age. The cut-off moves along so that others do not teach it to us again.
    mutating func forget(_ member: Member) {
        departedCutoff = max(departedCutoff, member.since == .max ? .max : member.since + 1)
        drop(member)
    }

    mutating func drop(_ member: Member) {
        let id = member.record.id
        account(members[id], -1)
        members[id] = nil
        rests[id] = nil
        queue.remove(id)
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

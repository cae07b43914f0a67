/// What addresses tell: who took over from whom, whether ours can be dialled, and who of the dead is back (`GOSSIP.md` §10).
extension GossipMachine {
    /// Something that is not said again for a while.
    enum Warning: Comparable, Sendable {
        case duplicate, unreachable
        case conflict(PeerID)
    }

    private static let warningsMax = 1_024
    /// Above this age of a verdict only addresses that discovery still lists are tried.
    private static let unlistedRetryFor = Duration.seconds(3_600)
    private static let dialBacks = 2

    private func hasWarned(_ warning: Warning) -> Bool { warnings[warning].map { now - $0 < configuration.warningEvery } ?? false }

    mutating func mayWarn(_ warning: Warning) -> Bool {
        if hasWarned(warning) { return false }
        if warnings.count >= Self.warningsMax {
            let now = now, every = configuration.warningEvery
            warnings.removeAll { _, at in now - at >= every }
            if warnings.count >= Self.warningsMax { return false }
        }
        warnings[warning] = now
        return true
    }

    // MARK: Address re-use

    /// An address answered as `peer`: other members that were there are gone, unless they answer a challenge.
    mutating func meet(_ peer: PeerID, at address: PeerAddress) {
        for member in members.values where member.record.address == address && member.status.isPresent {
            let id = member.record.id
            if id == peer || id == me.id || hasWarned(.conflict(id)) { continue }
            if configuration.verifyChallenges == 0 { declareDead(member, .replaced) } else { doubt(member, replacedBy: peer) }
        }
    }

    /// A record with a known address proves nothing; a dial to that address will.
    mutating func claimAddress(_ address: PeerAddress, _ peer: PeerID) {
        for member in members.values where member.record.address == address && member.status.isPresent {
            if member.record.id != peer, member.record.id != me.id { dialFresh(member.record.id) }
        }
    }

    /// The old member at an address lives as well. It is not doubted again while the warning rests.
    mutating func noteConflict(of old: MemberRecord, with successor: PeerID?) {
        let other =
            successor
            ?? members.values.first { $0.status.isPresent && $0.record.id != old.id && $0.record.address == old.address }?.record.id
        if let other, mayWarn(.conflict(old.id)) { emit(.addressConflict(old.id, other)) }
    }

    // MARK: Our own address

    /// The first contact of a newcomer sees whether others will reach it.
    mutating func dialBack(_ record: MemberRecord) {
        guard dials.count < configuration.dialsMax, canDial(record.address) else { return }
        links.change(record.id) { $0.dialBacks += 1 }
        startDial(to: record.address, .dialBack(record.id), expecting: record.id, limit: configuration.dialLimit)
    }

    mutating func dialBackFailed(_ peer: PeerID, _ address: PeerAddress) {
        guard let member = members[peer], member.status.isPresent, member.record.address == address, let link = links[peer],
            !link.open.isEmpty
        else { return }
        if link.dialBacks < Self.dialBacks { return dialBack(member.record) }
        post(.unreachable(address), to: peer)
    }

    mutating func heardUnreachable(_ address: PeerAddress) {
        if address == me.address, mayWarn(.unreachable) { emit(.addressUnreachable(address)) }
    }

    // MARK: The dead

    /// Dials one dead member at random: nobody else heals a partition that outlived the verdicts. Those of the last 10 minutes every time,
    /// older ones every `retryEverySlow`.
    mutating func retryDeadMember() {
        retryAt = now + random.around(configuration.retryEvery)
        retries += 1
        let ratio = max(1, configuration.retryEverySlow.nanosecondsSaturating / max(1, configuration.retryEvery.nanosecondsSaturating))
        let withOld = Int64(retries) % ratio == 0
        var taken: Set<PeerAddress> = []  // asked for membership, never iterated
        for member in members.values where member.status.isPresent { taken.insert(member.record.address) }
        let dead = members.values.filter { member in
            guard member.status == .dead, links[member.record.id] == nil, canDial(member.record.address) else { return false }
            let age = Duration.milliseconds(Int64(clamping: (now.hlc >> 16) - min(now.hlc, member.since) >> 16))
            if age >= configuration.retryFastFor, !withOld { return false }
            if age >= Self.unlistedRetryFor, !places.isEmpty, places[member.record.address] == nil { return false }
            return !taken.contains(member.record.address)
        }
        guard dials.count < configuration.dialsMax, let member = dead.randomElement(using: &random) else { return }
        startDial(to: member.record.address, .deadMember, expecting: member.record.id, limit: configuration.dialLimit)
    }
}

/// What addresses tell: who took over from whom, whether ours can be dialled, and who of the dead is back (`GOSSIP.md` §10).
extension GossipMachine {
    /// Something that is not said again for a while.
    enum Warning: Comparable, Sendable {
        case duplicate, duplicateSuspected, unreachable
        case conflict(PeerID)
    }

    private static let warningsMax = 1_024
    /// Above this age of a verdict only addresses that discovery still lists are tried.
    private static let unlistedRetryFor = Duration.seconds(3_600)
    /// Up to this age of a verdict its subject is tried every second.
    private static let youngFor = Duration.seconds(10)
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
        if configuration.isObserver { return }
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

    /// Dials one dead member at random: nobody else heals a partition that outlived the verdicts. While a verdict is young every second, as
    /// most cuts are short; then every `retryEvery`; those of more than 10 minutes ago every `retryEverySlow`. O(members).
    mutating func retryDeadMember() {
        let withOld = slowRetryAt <= now
        if withOld { slowRetryAt = now + (configuration.retryEverySlow - configuration.retryEvery / 2) }
        var taken: Set<PeerAddress> = []  // asked for membership, never iterated
        for member in members.values where member.status.isPresent { taken.insert(member.record.address) }
        var dead: [Member] = [], young: [Member] = []
        for member in members.values where member.status == .dead && !taken.contains(member.record.address) {
            let age = Duration.milliseconds(Int64(clamping: (now.hlc >> 16) - min(now.hlc, member.since) >> 16))
            if age >= configuration.retryFastFor, !withOld { continue }
            if age >= Self.unlistedRetryFor, !places.isEmpty, places[member.record.address] == nil { continue }
            guard links[member.record.id] == nil, canDial(member.record.address) else { continue }
            dead.append(member)
            if age < Self.youngFor { young.append(member) }
        }
        retryAt = now + random.around(young.isEmpty ? configuration.retryEvery : retryEveryYoung)
        // Verdicts that never cease must not keep older ones from their turn.
        retries &+= 1
        if young.isEmpty || retries.isMultiple(of: 2) { young = dead }
        guard dials.count < configuration.dialsMax, let member = young.randomElement(using: &random) else { return }
        startDial(to: member.record.address, .deadMember, expecting: member.record.id, limit: configuration.dialLimit)
    }

    /// A verdict was given.
    mutating func retrySoon() {
        let soon = now + random.around(retryEveryYoung)
        retryAt = retryAt.map { min($0, soon) }
    }

    private var retryEveryYoung: Duration { min(.seconds(1), configuration.retryEvery) }
}

extension GossipMachine {
    private static let challengeEvery = Duration.milliseconds(400)
    /// Above this age of a verdict only addresses that discovery still lists are tried.
    private static let unlistedRetryFor = Duration.seconds(3_600)

    /// The port of a member refused, or another cluster answers there. In a row and some time apart, that proves a crash: the kernel of a
    /// killed process refuses, and a process that restarts there has another id.
    mutating func rejected(_ peer: PeerID) {
        guard var link = links[peer], let member = members[peer], member.status.isPresent else { return }
        if link.isHeard(within: configuration.quietAfter, of: now) { return }
        link.refusals += 1
        link.firstRefusal = link.firstRefusal ?? now
        // A leaving peer is out of the placement already, and its port refuses when it is done: its `left` is on the way.
        if member.status != .leaving, !isResting(peer) {
            if link.refusals >= configuration.crashRefusals, let first = link.firstRefusal, now - first >= configuration.crashSpan {
                return declareDead(member, .crashed)
            }
            link.dialAt = now + configuration.redialEvery
        }
        links[peer] = link
    }

    private func isResting(_ peer: PeerID) -> Bool { judgements[peer].map { now < $0.restUntil } ?? false }

    /// Once per heartbeat: doubts connections that bring nothing, and gives up members that cannot be reached either.
    mutating func judgeTheSilent() {
        // By value: verdicts change the links.
        for peer in links.keys {
            closeSurplus(of: peer)
            guard var link = links[peer], let member = members[peer] else { continue }
            let isQuiet = !link.isHeard(within: configuration.quietAfter, of: now)
            if !member.status.isPresent {
                guard isQuiet else { continue }
                for connection in link.open { close(connection.id, of: peer, .idle) }
                links[peer] = nil
            } else if link.open.isEmpty, ownAddresses.contains(member.record.address) {
                declareDead(member, .replaced)  // by us
            } else if now - link.heardAt >= configuration.silentAfter, link.hasFailed, !isResting(peer) {
                declareDead(member, .silent)
            } else if isQuiet, !link.open.isEmpty, !link.isDoubted {
                link.isDoubted = true
                link.dialAt = now
                links[peer] = link
            }
        }
    }

    mutating func declareDead(_ member: Member, _ cause: DeathCause) {
        let peer = member.record.id
        if cause != .replaced {
            var judgement = judgements[peer] ?? Judgement()
            judgement.verdicts += 1
            judgements[peer] = judgement
        }
        for connection in links[peer]?.open ?? [] { close(connection.id, of: peer, .idle) }
        put(Member(member.record, status: .dead, cause: cause, since: now.hlc), over: member)
        news.append(peer)
    }

    /// The member said goodbye for good.
    mutating func declareLeft(_ member: Member) {
        put(Member(member.record, status: .left, since: now.hlc), over: member)
        news.append(member.record.id)
    }

    /// An address answered as `peer`: other members that were there are gone, unless they still talk to us.
    mutating func replaceOthers(at address: PeerAddress, by peer: PeerID) {
        for member in members.values where member.record.address == address && member.status.isPresent {
            if member.record.id == peer || member.record.id == me.id || isFresh(member.record.id) { continue }
            declareDead(member, .replaced)
        }
    }

    /// A record with a known address proves nothing; a dial to that address will.
    mutating func doubtOthers(at address: PeerAddress, claimedBy peer: PeerID) {
        for member in members.values where member.record.address == address && member.status.isPresent {
            guard member.record.id != peer, var link = links[member.record.id] else { continue }
            link.isDoubted = true
            link.dialAt = now
            links[member.record.id] = link
        }
    }

    /// Somebody accuses a member that talks to us: the verdict waits for the accused, who gets to hear it and can refute. If the accusation is
    /// true, our own connection ends soon, and the accuser repeats it when our digests are compared again.
    mutating func challenge(_ peer: PeerID, with verdict: Member, from accuser: PeerID) {
        effects.append(.trace(.verdictChallenged(peer, by: accuser)))
        guard var link = links[peer], let connection = preferred(link, peer) else { return }
        if let last = link.challengedAt, now - last < Self.challengeEvery { return }
        link.challengedAt = now
        links[peer] = link
        effects.append(.send(.sync(members: [verdict], wantsReply: false), to: peer, on: connection))
    }

    /// What others hold about us. Only we issue our incarnations, so whoever knows a higher one met another process with our id.
    mutating func hearOfMyself(_ heard: Member) {
        let incarnation = heard.record.incarnation
        if incarnation > me.incarnation || heard.status == .left { warnOfDuplicate() }
        // Nobody can take back `left`, whatever we announce: only a new id helps.
        if heard.status == .left { return }
        if heard.status == .dead || heard.status == .suspect, incarnation >= me.incarnation {
            raiseIncarnation(above: incarnation)
            // A suspect keeps its slots; only the dead lost them.
            if heard.status == .dead { emit(.selfRefuted) }
        } else if incarnation == me.incarnation, heard.record != me || heard.status == .leaving && stage != .leaving {
            warnOfDuplicate()
        }
    }

    mutating func warnOfDuplicate() {
        if let last = duplicateWarnedAt, now - last < configuration.warningEvery { return }
        duplicateWarnedAt = now
        emit(.duplicateIdentity)
    }

    /// Dials one dead member at random: nobody else heals a partition that outlived the verdicts. All of the last 10 minutes' dead every time,
    /// older ones every `retryEverySlow`.
    mutating func retryDeadMember() {
        retryAt = now + random.around(configuration.retryEvery)
        retries += 1
        let ratio = max(1, configuration.retryEverySlow.nanosecondsSaturating / configuration.retryEvery.nanosecondsSaturating)
        let withOld = Int64(retries) % ratio == 0
        let dead = members.values.filter { member in
            guard member.status == .dead, links[member.record.id] == nil, canDial(member.record.address) else { return false }
            let age = Duration.milliseconds(Int64(clamping: (now.hlc >> 16) - min(now.hlc, member.since) >> 16))
            if age >= configuration.retryFastFor, !withOld { return false }
            if age >= Self.unlistedRetryFor, !places.isEmpty, places[member.record.address] == nil { return false }
            return !members.values.contains { $0.status.isPresent && $0.record.address == member.record.address }
        }
        guard dials.count < configuration.dialsMax, let member = dead.randomElement(using: &random) else { return }
        dial(member.record.address, .deadMember, expecting: member.record.id)
    }
}

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

    /// What both entries together say: of what one owner issued the same in either order and when repeated, so tables agree however the
    /// news travelled. Two records of one incarnation are the work of two processes (``GossipMachine/hearOfMyself(_:)``): the first stays.
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
    func saysTheSame(as other: MemberRecord) -> Bool {
        var same = other
        same.incarnation = incarnation
        same.hlc = hlc
        return self == same
    }
}

extension GossipMachine {
    private static let fetchesPerMessage = 64

    /// How an entry came to us: what is spread further, and what is doubted first.
    enum Source {
        /// We saw it ourselves.
        case firstHand
        /// As news, with the origin tag of who suspects.
        case news(PeerID, accuser: UInt32)
        /// From a peer's table.
        case table(PeerID)
    }

    /// Takes in news. What cannot be understood without a record that we lack is asked for. True: we are accused.
    mutating func take(_ claims: [MemberClaim], from teller: PeerID, on connection: ConnectionID) -> Bool {
        guard claims.count <= configuration.membersMax else {
            trace(.messageTooLarge(from: teller, members: claims.count))
            return false
        }
        var lacking: [PeerID] = [], isAccused = false
        for claim in claims {
            if claim.id == me.id {
                // Where that other process is, its record says.
                if claim.record == nil, claim.status != .left, isOfTwin(claim), maySeekTwin { lacking.append(me.id) }
                if hearOfMyself(claim) { isAccused = true }
            } else if let record = claim.record {
                merge(Member(record, status: claim.status, cause: claim.cause, since: claim.since), .news(teller, accuser: claim.accuser))
            } else if let known = members[claim.id], known.record.hlc == claim.content {
                var record = known.record
                record.incarnation = claim.incarnation
                merge(Member(record, status: claim.status, cause: claim.cause, since: claim.since), .news(teller, accuser: claim.accuser))
            } else if isNews(claim), lacking.count < Self.fetchesPerMessage {
                lacking.append(claim.id)
            }
        }
        if !lacking.isEmpty { send(.fetch(lacking), to: teller, on: connection) }
        return isAccused
    }

    private func isNews(_ claim: MemberClaim) -> Bool {
        if !claim.status.isPresent, claim.since < departedCutoff { return false }
        guard let known = members[claim.id] else { return true }
        return known.status != .left && claim.incarnation > known.record.incarnation
    }

    /// Takes in an entry, if it says more than ours.
    mutating func merge(_ heard: Member, _ source: Source) {
        let id = heard.record.id
        if let problem = heard.record.problem { return trace(.recordRefused(id, problem)) }
        if id == me.id {
            hearOfMyself(MemberClaim(heard, withRecord: true))
            return
        }
        let theirs = normalized(heard)
        // Whoever forgot a verdict at the full hour must not learn it again from one whose clock is behind.
        if !theirs.status.isPresent, theirs.since < departedCutoff { return }
        let mine = members[id]
        let result = mine?.joined(with: theirs) ?? theirs
        guard result != mine else {
            if case .news(_, let accuser) = source, let mine, theirs.status == .suspect, mine.status == .suspect,
                mine.record.incarnation == theirs.record.incarnation
            {
                heardSuspicion(of: id, mine.record.incarnation, by: accuser)
            }
            return
        }
        if let mine, mine.status.isPresent, result.status == .dead, !configuration.isObserver {
            switch source {
            case .news(let teller, _): if isFresh(id) { return doubt(theirs, from: teller) }
            case .table(let teller): if mine.status == .alive || isFresh(id) { return distrust(theirs, mine, from: teller) }
            case .firstHand: break
            }
        }
        if result.status.isPresent, mine?.status.isPresent != true, let holder = originTags[id.originTag], holder != id {
            // Whoever came later draws another id.
            if holder == me.id { seekTwin(result.record) }
            return trace(.originTagTaken(id: id, holder: holder))
        }
        guard mine != nil || makeRoom(for: theirs) else { return }
        adopt(result, over: mine, source)
    }

    /// A verdict in a table is about something we did not hear of at the time: healing must not kill, so it becomes a suspicion, and the
    /// member is challenged.
    private mutating func distrust(_ verdict: Member, _ mine: Member, from teller: PeerID) {
        if isFresh(verdict.record.id) { doubt(verdict, from: teller) } else { suspect(mine, verdict: verdict) }
    }

    /// A verdict that was verified.
    mutating func apply(_ verdict: Member, accuser: UInt32) {
        guard let mine = members[verdict.record.id] else { return }
        let result = mine.joined(with: verdict)
        if result != mine { adopt(result, over: mine, .news(me.id, accuser: accuser)) }
    }

    private mutating func adopt(_ result: Member, over mine: Member?, _ source: Source) {
        let id = result.record.id
        put(result, over: mine)
        var accuser: UInt32 = 0
        if case .news(_, let other) = source { accuser = other }
        if result.status == .suspect, !configuration.isObserver { heardSuspicion(of: id, result.record.incarnation, by: accuser) }
        if case .table = source, !spreadsTables { return }
        let isNew = mine?.record.hlc != result.record.hlc
        var isFirstHand = false
        if case .firstHand = source { isFirstHand = true }
        let isUrgent = mine.map { $0.status != result.status } ?? isFirstHand
        spread(id, withRecord: isNew || mine?.status.isPresent != true && result.status.isPresent, accuser: accuser, urgently: isUrgent)
    }

    /// What a joiner learns from the tables of others is no news to them.
    private var spreadsTables: Bool { contactAt.map { now - $0 > configuration.contactGap } ?? false }

    private mutating func heardSuspicion(of id: PeerID, _ incarnation: UInt32, by accuser: UInt32) {
        switch links.change(id, { $0.suspicion == nil }) {
        case true?: startSuspicion(of: id, incarnation: incarnation, accuser: accuser)
        case false?: confirm(id, by: accuser)
        case nil: break
        }
    }

    /// An entry as we would have made it: whatever a message says, a cause belongs to `dead` and a verdict does not lie in the future.
    private func normalized(_ heard: Member) -> Member {
        var member = heard
        if heard.status != .dead { member.cause = nil } else if heard.cause == nil { member.cause = .silent }
        // Of a suspicion that is lifted nobody tells an observer.
        if configuration.isObserver, heard.status == .suspect { member.status = .alive }
        member.since = heard.status.isPresent ? 0 : min(heard.since, now.hlc)
        return member
    }

    private mutating func makeRoom(for newcomer: Member) -> Bool {
        if members.count < configuration.membersMax { return true }
        if newcomer.status.isPresent, let oldest = oldestDeparted() {
            forget(oldest)
            return true
        }
        effects.append(.trace(.tableFull(newcomer.record.id)))
        return false
    }
}

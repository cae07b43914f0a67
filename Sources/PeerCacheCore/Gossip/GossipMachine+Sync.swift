/// Anti-entropy (`GOSSIP.md` §9): digests are compared, then what differs is listed, then the records that a side lacks are fetched in
/// pages.
extension GossipMachine {
    /// A table that we complete from a peer's. One page is in flight.
    struct SyncSession: Sendable {
        var peer: PeerID
        /// Asked for, then still to be asked for.
        var asked: [PeerID] = []
        var remaining: [PeerID]
        var movedAt: Instant
    }

    private static let sessionsMax = 2
    private static let sessionLimit = Duration.seconds(5)
    private static let pageMembers = 256
    private static let pageBytes = 32_768
    private static let summaryEntriesMax = 1_024
    private static let ranges = 64
    private static let commandEvery = Duration.milliseconds(200)

    // MARK: Starting

    mutating func syncWithSomebody() {
        var wait = configuration.syncEvery
        if configuration.syncsWhole, memberCount > 32 { wait = wait * max(1, IntegerLogarithm.base2RoundedUp(memberCount) - 4) }
        syncAt = now + random.around(wait)
        if let peer = randomMembers(1, except: []).first { sendDigest(to: peer) }
    }

    /// On request of the owner (`notOwner`).
    mutating func exchange(with peer: PeerID) {
        guard let link = links[peer] else { return }
        if let last = link.syncedAt, now - last < Self.commandEvery { return }
        sendDigest(to: peer)
    }

    mutating func sendDigest(to peer: PeerID) {
        let now = now
        guard links.change(peer, { $0.syncedAt = now }) != nil else { return }
        if configuration.syncsWhole { return post(.sync(members: members.values, wantsReply: true), to: peer) }
        post(.digest(TableDigest(low: digest, high: secondSum, cutoff: departedCutoff)), to: peer)
    }

    // MARK: Comparing

    private func isListed(_ member: Member, _ cutoff: UInt64) -> Bool { member.status.isPresent || member.since >= cutoff }

    mutating func compare(_ theirs: TableDigest, with peer: PeerID, on connection: ConnectionID) {
        if theirs.cutoff < departedCutoff {
            // They remember verdicts that we forgot: compared from our cut-off on, which is the higher one, so this ends.
            if theirs.low == digest, theirs.high == secondSum { return }
            return send(.digest(TableDigest(low: digest, high: secondSum, cutoff: departedCutoff)), to: peer, on: connection)
        }
        var (low, high) = (digest, secondSum)
        if theirs.cutoff > departedCutoff {
            for member in members.values where !isListed(member, theirs.cutoff) {
                low = low &- member.digestPart
                high = high &- member.secondDigestPart
            }
        }
        guard low != theirs.low || high != theirs.high else { return }
        if members.count <= Self.pageMembers { return sendSummaries(nil, theirs.cutoff, to: peer, on: connection) }
        send(.ranges(cutoff: theirs.cutoff, sums: rangeSums(theirs.cutoff)), to: peer, on: connection)
    }

    /// By the highest bits of the ids, which are random. O(members).
    private func rangeSums(_ cutoff: UInt64) -> [UInt64] {
        var sums = [UInt64](repeating: 0, count: Self.ranges)
        for member in members.values where isListed(member, cutoff) { sums[range(of: member.record.id)] &+= member.digestPart }
        return sums
    }

    private func range(of id: PeerID) -> Int { Int(truncatingIfNeeded: id.high >> 58) }

    mutating func compare(_ theirs: [UInt64], _ cutoff: UInt64, with peer: PeerID, on connection: ConnectionID) {
        guard theirs.count == Self.ranges else { return }
        let mine = rangeSums(max(cutoff, departedCutoff))
        let differing = mine.indices.map { mine[$0] != theirs[$0] }
        if differing.contains(true) { sendSummaries(differing, max(cutoff, departedCutoff), to: peer, on: connection) }
    }

    /// Lists what we know in the ranges that differ (nil: all), neighbours together, at most `summaryEntriesMax` in a message.
    mutating func sendSummaries(_ differing: [Bool]?, _ cutoff: UInt64, to peer: PeerID, on connection: ConnectionID) {
        var from: PeerID?, entries: [TableSummary.Entry] = []
        let first = PeerID(high: 0, low: 0), last = PeerID(high: .max, low: .max)
        var messages: [TableSummary] = []
        func finish(through: PeerID) {
            if let start = from {
                messages.append(TableSummary(from: start, through: through, entries: entries, isComplete: true, cutoff: cutoff))
            }
            (from, entries) = (nil, [])
        }
        guard let differing else {
            from = first
            entries = members.values.filter { isListed($0, cutoff) }.map(Self.entry)
            finish(through: last)
            for message in messages { send(.summary(message), to: peer, on: connection) }
            return
        }
        var position = 0
        for range in 0..<Self.ranges {
            let start = PeerID(high: UInt64(range) << 58, low: 0)
            let end = PeerID(high: UInt64(range) << 58 | (1 << 58 - 1), low: .max)
            var here: [TableSummary.Entry] = []
            while position < members.count, members.keys[position] <= end {
                if isListed(members.values[position], cutoff) { here.append(Self.entry(members.values[position])) }
                position += 1
            }
            guard differing[range] else {
                finish(through: PeerID(high: start.high &- 1, low: .max))
                continue
            }
            let isFull = from != nil && entries.count + here.count > Self.summaryEntriesMax
            if isFull { finish(through: PeerID(high: start.high &- 1, low: .max)) }
            if from == nil { from = start }
            entries += here
        }
        finish(through: last)
        for message in messages { send(.summary(message), to: peer, on: connection) }
    }

    private static func entry(_ member: Member) -> TableSummary.Entry {
        TableSummary.Entry(id: member.record.id, incarnation: member.record.incarnation, status: member.status)
    }

    /// Whether one state of a member says more than another.
    private static func isNewer(_ one: TableSummary.Entry, than other: TableSummary.Entry) -> Bool {
        if one.status == .left || other.status == .left { return one.status == .left && other.status != .left }
        if one.incarnation != other.incarnation { return one.incarnation > other.incarnation }
        // `suspect` counts as `alive`: it travels as news, and would make tables differ all the time.
        let rank = { (status: MemberStatus) in status.isPlaced ? 0 : status == .leaving ? 1 : 2 }
        return rank(one.status) > rank(other.status)
    }

    mutating func compare(_ theirs: TableSummary, with peer: PeerID, on connection: ConnectionID) {
        guard theirs.entries.count <= configuration.membersMax, theirs.from <= theirs.through else {
            return trace(.messageTooLarge(from: peer, members: theirs.entries.count))
        }
        let cutoff = max(theirs.cutoff, departedCutoff)
        var wanted: [PeerID] = []
        for entry in theirs.entries {
            if entry.id == me.id {
                // Of ourselves only what we have to refute matters.
                if entry.status == .dead || entry.incarnation > me.incarnation { wanted.append(me.id) }
            } else if members[entry.id].map({ Self.isNewer(entry, than: Self.entry($0)) }) ?? true {
                wanted.append(entry.id)
            }
        }
        fetch(wanted, from: peer, on: connection)
        guard theirs.isComplete else { return }
        // Both lists are in id order: one pass.
        var index = members.position(of: theirs.from), next = 0, offered: [TableSummary.Entry] = []
        while index < members.count, members.keys[index] <= theirs.through, offered.count < Self.summaryEntriesMax {
            let member = members.values[index], mine = Self.entry(member)
            index += 1
            while next < theirs.entries.count, theirs.entries[next].id < mine.id { next += 1 }
            let named = next < theirs.entries.count && theirs.entries[next].id == mine.id ? theirs.entries[next] : nil
            if isListed(member, cutoff), named.map({ Self.isNewer(mine, than: $0) }) ?? true { offered.append(mine) }
        }
        if offered.isEmpty { return }
        let offer = TableSummary(from: theirs.from, through: theirs.through, entries: offered, isComplete: false, cutoff: cutoff)
        send(.summary(offer), to: peer, on: connection)
    }

    // MARK: Pages

    private mutating func fetch(_ ids: [PeerID], from peer: PeerID, on connection: ConnectionID) {
        guard !ids.isEmpty else { return }
        dropOldSyncs()
        if let index = syncs.firstIndex(where: { $0.peer == peer }) {
            let known = syncs[index].remaining.count + syncs[index].asked.count
            syncs[index].remaining += ids.prefix(max(0, configuration.membersMax - known))
            if syncs[index].asked.isEmpty { nextPage(index, on: connection) }
        } else if syncs.count < Self.sessionsMax {
            syncs.append(SyncSession(peer: peer, remaining: ids, movedAt: now))
            nextPage(syncs.count - 1, on: connection)
        }
    }

    private mutating func nextPage(_ index: Int, on connection: ConnectionID) {
        let page = Array(syncs[index].remaining.prefix(Self.pageMembers))
        guard !page.isEmpty else {
            syncs.remove(at: index)
            return
        }
        syncs[index].remaining.removeFirst(page.count)
        syncs[index].asked = page
        syncs[index].movedAt = now
        send(.fetch(page), to: syncs[index].peer, on: connection)
    }

    /// As many as fit into a page, at least one.
    mutating func answerFetch(of ids: [PeerID], from peer: PeerID, on connection: ConnectionID) {
        var page: [Member] = [], bytes = 0
        for id in ids.prefix(Self.pageMembers) {
            guard let member = members[id] else { continue }
            bytes += member.record.encodedBytesBound + 32
            if bytes > Self.pageBytes, !page.isEmpty { break }
            page.append(member)
        }
        send(.sync(members: page, wantsReply: false), to: peer, on: connection)
    }

    mutating func takeTable(_ theirs: [Member], from peer: PeerID, on connection: ConnectionID, wantsReply: Bool) {
        guard theirs.count <= configuration.membersMax else {
            return trace(.messageTooLarge(from: peer, members: theirs.count))
        }
        for member in theirs { merge(member, .table(peer)) }
        if wantsReply, configuration.syncsWhole { send(.sync(members: members.values, wantsReply: false), to: peer, on: connection) }
        guard let index = syncs.firstIndex(where: { $0.peer == peer }) else { return }
        let got = Set(theirs.map(\.record.id))  // asked for membership, never iterated
        let missing = syncs[index].asked.filter { !got.contains($0) }
        // What the page had no room for is asked for again; of an answer with nothing that was asked for, nothing.
        if missing.count < syncs[index].asked.count { syncs[index].remaining.insert(contentsOf: missing, at: 0) }
        syncs[index].asked = []
        nextPage(index, on: connection)
    }

    mutating func dropOldSyncs() {
        let now = now
        syncs.removeAll { now - $0.movedAt > Self.sessionLimit }
    }
}

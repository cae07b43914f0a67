extension GossipMachine {
    /// Least time between two full exchanges that we start with one member.
    private static let syncEvery = Duration.milliseconds(200)

    /// Notes a frame. False, and the frame is to be dropped, when the connection is not open or belongs to somebody else.
    mutating func note(_ peer: PeerID, heardOn connection: ConnectionID) -> Bool {
        guard connections[connection] == peer, var link = links[peer] else { return false }
        for index in link.open.indices where link.open[index].id == connection { link.open[index].heardAt = now }
        link.heardAt = now
        link.backoff = configuration.backoffMin
        link.hasFailed = false
        link.isDoubted = false
        links[peer] = link
        return true
    }

    /// Unequal tables: sends ours and asks for theirs. The budget per heartbeat keeps a mass start from exchanging N² tables; whoever is left
    /// out agrees through others or in the next period.
    mutating func compare(_ theirs: UInt64, with peer: PeerID, on connection: ConnectionID) {
        guard theirs != digest, syncsLeft > 0, mayExchange(with: peer) else { return }
        syncsLeft -= 1
        sendTable(to: peer, on: connection)
    }

    /// On request of the owner (`notOwner`), beyond the budget.
    mutating func exchange(with peer: PeerID) {
        guard let link = links[peer] else { return }
        if let connection = preferred(link, peer) {
            if mayExchange(with: peer) { sendTable(to: peer, on: connection) }
        } else if !link.isDialling {
            links[peer]?.dialAt = now  // whoever dials sends its table
        }
    }

    private func mayExchange(with peer: PeerID) -> Bool { links[peer]?.syncedAt.map { now - $0 >= Self.syncEvery } ?? true }

    mutating func sendTable(to peer: PeerID, on connection: ConnectionID) {
        links[peer]?.syncedAt = now
        effects.append(.send(.sync(members: members.values, wantsReply: true), to: peer, on: connection))
    }

    mutating func take(_ theirs: [Member], from peer: PeerID, on connection: ConnectionID, wantsReply: Bool) {
        guard theirs.count <= configuration.membersMax else {
            return effects.append(.trace(.messageTooLarge(from: peer, members: theirs.count)))
        }
        for member in theirs { merge(member, from: peer) }
        guard wantsReply else { return }
        var named: [PeerID: Member] = [:]  // looked up, never iterated
        for member in theirs { named[member.record.id] = member }
        let lacking = members.values.filter { mine in
            guard let other = named[mine.record.id] else { return true }
            return other.status != mine.status || other.record != mine.record
        }
        if !lacking.isEmpty { effects.append(.send(.sync(members: lacking, wantsReply: false), to: peer, on: connection)) }
    }

    /// First-hand news of this input, to everybody who is connected.
    mutating func announceNews() {
        guard !news.isEmpty else { return }
        var entries = SortedMap<PeerID, Member>()
        for id in news { entries[id] = members[id] }
        news.removeAll(keepingCapacity: true)
        for (peer, link) in zip(links.keys, links.values) {
            guard let connection = preferred(link, peer) else { continue }
            // Nobody needs to be told that he is alive.
            let told = entries.values.filter { $0.record.id != peer || $0.status != .alive }
            if !told.isEmpty { effects.append(.send(.sync(members: told, wantsReply: false), to: peer, on: connection)) }
        }
    }

    mutating func sendHeartbeats() {
        for (peer, link) in zip(links.keys, links.values) {
            guard let connection = preferred(link, peer) else { continue }
            effects.append(.send(.heartbeat(digest: digest), to: peer, on: connection))
        }
    }
}

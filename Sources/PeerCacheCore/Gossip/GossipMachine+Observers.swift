/// Observers (`GOSSIP.md` §10): they ask for what changed in the table, and peers answer from what they have. Nobody remembers anything about
/// an observer, and nothing that it says is believed.
extension GossipMachine {
    private static let rangeCount = 64

    // MARK: What a peer does

    /// Whether an observer may say this: it compares tables and fetches records.
    package static func isObserversQuestion(_ message: GossipMessage) -> Bool {
        switch message {
        case .digest, .fetch: true
        default: false
        }
    }

    mutating func answer(_ message: GossipMessage, of observer: PeerID, on connection: ConnectionID) {
        switch message {
        case .digest(let theirs): compare(theirs, withObserver: observer, on: connection)
        case .fetch(let ids): answerFetch(of: ids, from: observer, on: connection)
        default: break
        }
    }

    /// Unequal: everything is listed, as an observer has nothing to tell and asks for what it lacks.
    private mutating func compare(_ theirs: TableDigest, withObserver observer: PeerID, on connection: ConnectionID) {
        if theirs.cutoff != departedCutoff {
            return send(.digest(TableDigest(low: digest, high: secondSum, cutoff: departedCutoff)), to: observer, on: connection)
        }
        if theirs.low == digest, theirs.high == secondSum { return }
        let all: [Bool]? = members.count <= 256 ? nil : [Bool](repeating: true, count: Self.rangeCount)
        sendSummaries(all, departedCutoff, to: observer, on: connection)
    }

    // MARK: What an observer does

    /// Once per period: sees that it is connected, and asks one of those whom it is connected to.
    mutating func observe() {
        let open = links.keys.filter { links[$0]?.open.isEmpty == false && members[$0]?.status.isPresent == true }
        if open.count < configuration.observedPeers {
            for peer in randomMembers(configuration.observedPeers - open.count, except: open) { dialSoon(peer) }
        }
        if !open.isEmpty { sendDigest(to: open[random.below(open.count)]) }
    }

    /// The peer forgets the departed at another time: its cut-off becomes ours, forwards or back, and we ask again.
    mutating func takeCutoff(_ theirs: TableDigest, of peer: PeerID) {
        guard theirs.cutoff != departedCutoff else { return }
        departedCutoff = theirs.cutoff
        for member in departed() where member.since < theirs.cutoff { drop(member) }
        links.change(peer) { $0.syncedAt = nil }
        sendDigest(to: peer)
    }
}

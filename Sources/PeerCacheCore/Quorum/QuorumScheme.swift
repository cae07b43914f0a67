/// How many holders a strict cache has and asks (`CONTRACT.md` §2): N, R and W with R + W > N, so that every read meets every completed write.
/// After Gifford, "Weighted Voting for Replicated Data", 1979.
package struct QuorumScheme: Hashable, Comparable, Sendable {
    package var copies: Int
    package var readFrom: Int
    package var ackedBy: Int

    /// Nil unless 1 ≤ R, W ≤ N ≤ 7 and R + W > N.
    package init?(copies: Int, readFrom: Int, ackedBy: Int) {
        guard (1...Placement.ranksMax).contains(copies), (1...copies).contains(readFrom), (1...copies).contains(ackedBy),
            readFrom + ackedBy > copies
        else { return nil }
        (self.copies, self.readFrom, self.ackedBy) = (copies, readFrom, ackedBy)
    }

    /// Voters that a cluster must have for an operation, and that a read asks first.
    package var votersMin: Int { max(readFrom, ackedBy) }

    /// Of a list of `count` voters, how many must have left it before others may vote: those that stay are too few to read or to write, and
    /// two such sets meet.
    package func sealQuorum(of count: Int) -> Int { max(count - min(readFrom, ackedBy) + 1, count / 2 + 1) }

    /// Voters that must know the lease of a load before the loader starts, so that each later write mints above it.
    package var leaseQuorum: Int { max(readFrom, copies - readFrom + 1) }

    /// On the wire.
    package var code: UInt32 { UInt32(copies | readFrom << 4 | ackedBy << 8) }

    /// Nil unless the numbers are those of a scheme.
    package init?(code: UInt32) {
        guard code < 4_096 else { return nil }
        self.init(copies: Int(code & 15), readFrom: Int(code >> 4 & 15), ackedBy: Int(code >> 8))
    }

    package static func < (left: QuorumScheme, right: QuorumScheme) -> Bool {
        (left.copies, left.readFrom, left.ackedBy) < (right.copies, right.readFrom, right.ackedBy)
    }
}

/// Peers that may still vote together on a slot, under a placement of the past.
package struct VoterList: Hashable, Sendable {
    /// Placements that are remembered of one list.
    package static let placementsMax = 4

    /// Ascending.
    package let voters: [PeerID]
    /// Clock at which a peer that tells of it took the placement; 0: it never did. Whoever has forgotten the slot since has no say.
    package var entered: UInt64
    /// Placements with these voters under which the peer that tells of it voted, the latest last.
    package var voted: [UInt64]
    /// Clocks at which it last voted under these, on whichever slot, in the same order; 0: unknown.
    package var votedAt: [UInt64]
    /// The latest clock of any peer that told of the list: when it took a placement with these voters, when it last voted there, or that of a
    /// former vote of which it heard from whoever might vote there; 0: somebody did not say. Who voted later than that came after this list.
    package var since: UInt64
    /// Placements under which somebody voted who had heard from enough of these voters: once enough vote there, this list matters no more.
    package var closers: [UInt64]

    package init(
        voters: [PeerID], since: UInt64 = 0, entered: UInt64 = 0, voted: [UInt64] = [], votedAt: [UInt64] = [], closers: [UInt64] = []
    ) {
        self.voters = voters.sorted()
        (self.since, self.entered, self.voted, self.votedAt, self.closers) = (since, entered, voted, votedAt, closers)
    }

    mutating func hear(since other: UInt64) { since = since == 0 || other == 0 ? 0 : max(since, other) }
}

/// The lists of one slot. Two of the same voters are one: what closes it is the same.
package struct OpenLists: Hashable, Sendable {
    package private(set) var lists: [VoterList] = []

    package init(_ lists: [VoterList] = []) { self.lists = lists }

    package var isEmpty: Bool { lists.isEmpty }

    package subscript(voters: [PeerID]) -> VoterList? { lists.first { $0.voters == voters } }

    /// Takes over what another peer tells. A list is closed only if all say so.
    /// - Returns: whether that changes what is open.
    @discardableResult package mutating func hear(_ list: VoterList) -> Bool {
        guard let position = lists.firstIndex(where: { $0.voters == list.voters }) else {
            lists.append(VoterList(voters: list.voters, since: list.since, closers: list.closers))
            return true
        }
        lists[position].hear(since: list.since)
        let known = lists[position].closers
        var closers: [UInt64] = []
        if !known.isEmpty, !list.closers.isEmpty {
            closers = known + list.closers.filter { !known.contains($0) }
            if closers.count > VoterList.placementsMax { closers = [] }
        }
        lists[position].closers = closers
        return closers != known
    }

    /// This peer leaves a placement.
    /// - Parameter votedAt: clock of its last vote there; nil: it has not voted.
    mutating func leave(_ voters: [PeerID], entered: UInt64, since: UInt64, _ placement: UInt64, votedAt: UInt64?) {
        let since = max(since, votedAt ?? 0)
        var list = self[voters.sorted()] ?? VoterList(voters: voters, since: since)
        list.hear(since: since)
        list.entered = entered
        list.closers = []
        if let votedAt {
            // A digest comes back when all that came and went since is forgotten. Named twice, it would count as the votes of two.
            if let position = list.voted.firstIndex(of: placement) {
                list.voted.remove(at: position)
                list.votedAt.remove(at: position)
            }
            list.voted = (list.voted + [placement]).suffix(VoterList.placementsMax)
            list.votedAt = (list.votedAt + [votedAt]).suffix(VoterList.placementsMax)
        }
        lists.removeAll { $0.voters == list.voters }
        lists.append(list)
    }

    /// Leaves those in which this peer voted.
    mutating func dropUnvoted() { lists.removeAll { $0.voted.isEmpty } }

    /// This peer voted under a placement, after enough of these lists had been left.
    mutating func close(by placement: UInt64) {
        for position in lists.indices { lists[position].closers = [placement] }
    }
}

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
    /// Ascending.
    package let voters: [PeerID]
    /// Clock at which a peer that tells of it took the placement: whoever has forgotten the slot since cannot speak for the list.
    package var entered: UInt64
    /// Whether the peer that tells of it voted there.
    package var hasVoted: Bool

    /// Nobody voted before them, as far as the peer knows: so there is nothing older that a member could have missed.
    package var isFirst: Bool

    package init(voters: [PeerID], entered: UInt64, hasVoted: Bool, isFirst: Bool) {
        self.voters = voters.sorted()
        self.entered = entered
        self.hasVoted = hasVoted
        self.isFirst = isFirst
    }
}

/// The lists of one slot. Two of the same voters are one: what closes it is the same.
package struct OpenLists: Hashable, Sendable {
    package private(set) var lists: [VoterList] = []

    package init() {}

    package var isEmpty: Bool { lists.isEmpty }

    package subscript(voters: [PeerID]) -> VoterList? { lists.first { $0.voters == voters } }

    /// - Returns: whether the voters were not known.
    @discardableResult package mutating func insert(_ list: VoterList) -> Bool {
        if note(list) { return false }
        lists.append(list)
        return true
    }

    /// Takes over what is told of a list that is known. False: it is not.
    @discardableResult package mutating func note(_ list: VoterList) -> Bool {
        guard let position = lists.firstIndex(where: { $0.voters == list.voters }) else { return false }
        lists[position].entered = max(lists[position].entered, list.entered)
        lists[position].hasVoted = lists[position].hasVoted || list.hasVoted
        lists[position].isFirst = lists[position].isFirst && list.isFirst
        return true
    }
}

/// What the placement needs to know of a member (`GOSSIP.md` §3).
package struct PlacementMember: Hashable, Sendable {
    package var id: PeerID
    /// 0...1,000, values outside are clamped; a member of weight 0 holds nothing.
    package var weight: Int
    /// Failure domain. Members with equal strings, the empty one included, share a domain.
    package var zone: String
    /// HLC reading at which it started; 0: unknown. It does not matter for what it holds, only for who asks whom when members meet.
    package var started: UInt64

    package init(id: PeerID, weight: Int = 1, zone: String = "", started: UInt64 = 0) {
        self.id = id
        self.weight = weight
        self.zone = zone
        self.started = started
    }
}

/// Why no placement can be built; says which bound was broken.
package enum PlacementError: Error, Hashable, Sendable {
    /// `ranks` must lie in 1...7.
    case ranks(Int)
    /// At most 65,535 members fit the 16-bit table.
    case members(Int)
}

/// Who holds what: for every slot the ordered list of its peers, owner first. Immutable, and a pure function of the member set.
///
/// The rules are in `PlacementBuilder`. The first r ranks do not depend on how many more are kept, so peers that keep more copies
/// agree with those that keep fewer.
package struct Placement: Sendable {
    /// Names the member table that this was built from (`CONTRACT.md` §1); given by the caller and kept as it is.
    package let digest: UInt64
    /// All members, sorted by id, weight 0 included. The indices of this type are positions in this array.
    package let members: [PlacementMember]
    /// Peers kept for every slot: the ranks asked for, or fewer when fewer members have weight. 0...7.
    package let ranks: Int
    /// Member index at slot × `ranks` + rank. Every seat is taken.
    private let table: ContiguousArray<UInt16>

    /// Most ranks that can be kept.
    package static let ranksMax = 7

    /// A placement without peers.
    package static let empty = Placement(digest: 0, members: [], ranks: 0, table: [])

    /// Builds the placement of a member set. The order of `members` does not matter; of entries with one id only one is used.
    /// - Parameters:
    ///   - digest: kept, not looked at.
    ///   - ranks: copies to keep per slot, the owner's included, 1...7.
    /// - Throws: ``PlacementError`` when `ranks` or the number of members is out of bounds.
    /// - Complexity: O(slots × min(members, 16)) in time and memory, whatever the weights; allocates.
    package static func build(members: [PlacementMember], digest: UInt64, ranks: Int) throws(PlacementError) -> Placement {
        guard (1...ranksMax).contains(ranks) else { throw .ranks(ranks) }
        guard members.count <= Int(UInt16.max) else { throw .members(members.count) }
        var sorted: [PlacementMember] = []
        for member in members.sorted(by: precedes) where sorted.last?.id != member.id { sorted.append(member) }
        var builder = PlacementBuilder(members: sorted, ranks: ranks)
        builder.run()
        return Placement(digest: digest, members: sorted, ranks: builder.ranks, table: builder.table)
    }

    private init(digest: UInt64, members: [PlacementMember], ranks: Int, table: ContiguousArray<UInt16>) {
        self.digest = digest
        self.members = members
        self.ranks = ranks
        self.table = table
    }

    /// The same placement of another member table.
    package func named(_ digest: UInt64) -> Placement { Placement(digest: digest, members: members, ranks: ranks, table: table) }

    /// By id; a duplicated id by the rest, so that arrival order decides nothing.
    private static func precedes(_ left: PlacementMember, _ right: PlacementMember) -> Bool {
        if left.id != right.id { return left.id < right.id }
        return left.weight != right.weight ? left.weight < right.weight : left.zone < right.zone
    }
}

// MARK: Lookups

extension Placement {
    /// True when no member has weight: nobody owns anything.
    package var isEmpty: Bool { ranks == 0 }

    /// Index of the peer that answers for a key, or nil when the placement is empty.
    /// - Parameter hash: 64-bit key hash; its top 14 bits are the slot.
    /// - Complexity: O(1), one shift and one load; no lock, no allocation.
    package func ownerIndex(hash: UInt64) -> Int? { isEmpty ? nil : Int(table[Slot(hash: hash).index * ranks]) }

    /// The first peer of the slot's list, or nil when the placement is empty. O(1).
    package func owner(of slot: Slot) -> PeerID? { isEmpty ? nil : members[Int(table[slot.index * ranks])].id }

    /// The first `copies` peers of the slot's list, owner first, distinct; fewer when fewer are kept. Allocates.
    package func peers(of slot: Slot, copies: Int) -> [PeerID] { peerIndices(of: slot, copies: copies).map { members[Int($0)].id } }

    /// As ``peers(of:copies:)``, as indices into ``members``. O(1), no allocation.
    package func peerIndices(of slot: Slot, copies: Int) -> ArraySlice<UInt16> {
        let start = slot.index * ranks
        return table[start..<start + min(max(copies, 0), ranks)]
    }

    /// Whether the member at `index` is among the first `copies` peers of the slot. O(copies), no allocation.
    package func isHolder(_ index: Int, of slot: Slot, copies: Int) -> Bool {
        let start = slot.index * ranks
        for seat in start..<start + min(max(copies, 0), ranks) where Int(table[seat]) == index { return true }
        return false
    }

    /// Position of a peer in ``members``, or nil when it is not among them. O(log members).
    package func index(of id: PeerID) -> Int? {
        var low = 0
        var high = members.count
        while low < high {
            let middle = (low + high) / 2
            if members[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < members.count && members[low].id == id ? low : nil
    }

    /// Slots per member at one rank (0: owned), in the order of ``members``; all zero for a rank that is not kept. O(slots), allocates.
    package func slotCounts(rank: Int) -> [Int] {
        var counts = [Int](repeating: 0, count: members.count)
        guard rank >= 0, rank < ranks else { return counts }
        for seat in stride(from: rank, to: table.count, by: ranks) { counts[Int(table[seat])] += 1 }
        return counts
    }

    /// Slots per member among the first `copies` peers, in the order of ``members``. O(slots × copies), allocates.
    package func slotsHeld(copies: Int) -> [Int] {
        var held = [Int](repeating: 0, count: members.count)
        for rank in 0..<min(max(copies, 0), ranks) {
            for (index, count) in slotCounts(rank: rank).enumerated() { held[index] += count }
        }
        return held
    }
}

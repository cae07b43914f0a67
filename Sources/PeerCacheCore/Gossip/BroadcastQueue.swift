/// News on its way out: one claim per member, the newest. Fewest sends first, then the gravest.
struct BroadcastQueue: Sendable {
    struct Item: Sendable {
        var claim: MemberClaim
        var sends = 0
    }
    /// The order in which items go.
    private struct Rank: Comparable, Sendable {
        var sends: Int
        var gravity: Int
        var id: PeerID

        static func < (left: Rank, right: Rank) -> Bool {
            if left.sends != right.sends { return left.sends < right.sends }
            return left.gravity != right.gravity ? left.gravity < right.gravity : left.id < right.id
        }
    }
    private var items = SortedMap<PeerID, Item>()
    private var order = SortedMap<Rank, Bool>()

    var isEmpty: Bool { items.isEmpty }
    var count: Int { items.count }

    /// Replaces what was queued about the member. A record that has not gone out as often as it should stays with it.
    mutating func add(_ claim: MemberClaim, record: MemberRecord) {
        var item = Item(claim: claim)
        if let old = items[claim.id] {
            order[Self.rank(old)] = nil
            if old.claim.record != nil, item.claim.record == nil { item.claim.record = record }
        }
        items[claim.id] = item
        order[Self.rank(item)] = true
    }

    mutating func remove(_ id: PeerID) {
        guard let item = items[id] else { return }
        order[Self.rank(item)] = nil
        items[id] = nil
    }

    /// Takes the next claims that fit into `bytes` and counts them as sent to `receivers`; whoever was sent `sendsMax` times goes.
    /// What does not fit is skipped, not dropped, and the first always fits. At most `countMax`. O(claims · count).
    mutating func next(bytes: Int, countMax: Int, receivers: Int, sendsMax: Int) -> [MemberClaim] {
        guard !items.isEmpty else { return [] }
        var chosen: [Rank] = [], claims: [MemberClaim] = [], left = bytes, skipped = 0
        for rank in order.keys {
            guard let claim = items[rank.id]?.claim else { continue }
            let size = claim.encodedBytesBound
            if size > left, !claims.isEmpty {
                skipped += 1
                if skipped > 8 { break }
                continue
            }
            left -= size
            chosen.append(rank)
            claims.append(claim)
            if left <= 0 || claims.count >= countMax { break }
        }
        for rank in chosen { count(rank, receivers, sendsMax) }
        return claims
    }

    private mutating func count(_ rank: Rank, _ receivers: Int, _ sendsMax: Int) {
        order[rank] = nil
        guard var item = items[rank.id] else { return }
        item.sends += receivers
        if item.sends >= sendsMax {
            items[rank.id] = nil
        } else {
            items[rank.id] = item
            order[Self.rank(item)] = true
        }
    }

    private static func rank(_ item: Item) -> Rank {
        let gravity =
            switch item.claim.status {
            case .dead: 0
            case .suspect: 1
            case .leaving, .left: 2
            case .alive: 3
            }
        return Rank(sends: item.sends, gravity: gravity, id: item.claim.id)
    }
}

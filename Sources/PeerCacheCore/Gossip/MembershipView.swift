/// The member table at one moment: an immutable value, cheap to copy.
package struct MembershipView: Hashable, Sendable {
    /// The peer whose view this is.
    package let me: PeerID
    /// Every member of the table, this peer and the departed of the last 24 h included, in id order.
    package let members: [Member]
    /// Rises with each change of the table, of this peer's view alone: not comparable between peers.
    package let version: UInt64
    /// 64 bits over (id, incarnation, status class) of every member (`CONTRACT.md` §1, placement id): equal on peers with equal tables,
    /// whatever the order in which they learned.
    package let digest: UInt64

    package init(me: PeerID, members: [Member], version: UInt64, digest: UInt64) {
        self.me = me
        self.members = members
        self.version = version
        self.digest = digest
    }

    /// The records the placement is built from, in id order: `alive` and `suspect` members of weight above 0. O(members).
    package var placed: [MemberRecord] {
        members.compactMap { $0.status.isPlaced && $0.record.weight > 0 ? $0.record : nil }
    }

    /// O(log members).
    package func member(_ id: PeerID) -> Member? {
        var low = 0, high = members.count
        while low < high {
            let middle = low + (high - low) / 2
            if members[middle].record.id < id { low = middle + 1 } else { high = middle }
        }
        return low < members.count && members[low].record.id == id ? members[low] : nil
    }

    /// The sum of each member's part, so that a change of one member costs the same in any table.
    package static func digest(of members: [Member]) -> UInt64 { members.reduce(0) { $0 &+ $1.digestPart } }
}

extension Member {
    /// What the member adds to ``MembershipView/digest``: XXH3-64 over id (high, low), incarnation, class (0 placed, 1 leaving, 2 gone).
    package var digestPart: UInt64 { hash(seed: 0) }

    /// For a second sum, so that tables are compared by 128 bits.
    package var secondDigestPart: UInt64 { hash(seed: 0x9E37_79B9_7F4A_7C15) }

    private func hash(seed: UInt64) -> UInt64 {
        let tail = UInt64(record.incarnation) << 8 | (status.isPlaced ? 0 : status == .leaving ? 1 : 2)
        let words = (record.id.high.littleEndian, record.id.low.littleEndian, tail.littleEndian)
        return withUnsafeBytes(of: words) { publicHash($0, seed: seed) }
    }
}

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

    /// XXH3-64 over a canonical encoding, in id order: id (high, low), incarnation, class (0 placed, 1 leaving, 2 gone), big-endian.
    /// - Parameter members: in id order.
    package static func digest(of members: [Member]) -> UInt64 {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(members.count * 21)
        for member in members {
            append(member.record.id.high, to: &bytes)
            append(member.record.id.low, to: &bytes)
            append(member.record.incarnation, to: &bytes)
            bytes.append(member.status.isPlaced ? 0 : member.status == .leaving ? 1 : 2)
        }
        return bytes.withUnsafeBytes { publicHash($0) }
    }

    private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        for shift in stride(from: value.bitWidth - 8, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}

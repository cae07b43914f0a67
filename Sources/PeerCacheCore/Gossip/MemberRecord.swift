/// What a peer tells about itself. Only the owner issues a new incarnation of its record (`GOSSIP.md` §3).
package struct MemberRecord: Hashable, Sendable {
    package var id: PeerID
    /// Counter that only the owner raises: to refute a verdict or to change its record. Starts at 1.
    package var incarnation: UInt32 = 1
    /// As others dial it.
    package var address: PeerAddress
    /// Pod or host name for people; never identifies. At most 64 bytes.
    package var name = ""
    /// Failure domain: copies go to distinct zones first. At most 64 bytes.
    package var zone = ""
    /// At most 64 bytes.
    package var region = ""
    /// 0...1,000; a peer of weight 0 holds no slots.
    package var weight: UInt16 = 1
    /// For the application, at most 512 bytes.
    package var metadata: [UInt8] = []
    /// Lowest and highest wire version spoken.
    package var versionLow: UInt16 = 1
    package var versionHigh: UInt16 = 1
    /// HLC reading at which the owner last changed what the record says. A refutation keeps it: whoever holds a record of the same reading
    /// knows all but the incarnation.
    package var hlc: UInt64 = 0
    /// HLC reading at which the peer started under this id; 0: unknown.
    package var started: UInt64 = 0

    package init(id: PeerID, address: PeerAddress) {
        self.id = id
        self.address = address
    }
}

/// Status of a member in the table.
package enum MemberStatus: UInt8, Sendable, Hashable {
    case alive, suspect, leaving, left, dead

    /// Whether the member holds slots: `alive` and `suspect` do.
    package var isPlaced: Bool { self == .alive || self == .suspect }

    /// Whether a process is believed to be there: `alive`, `suspect` and `leaving`. We keep a connection to it.
    package var isPresent: Bool { self != .left && self != .dead }
}

/// Why a member was declared dead.
package enum DeathCause: UInt8, Sendable, Hashable {
    /// It answered no probe, no relay, no fresh dial and no challenge.
    case silent
    /// A majority of its watchers saw its connections break and its port refuse.
    case crashed
    /// Its address answered as another peer of this cluster, and it answered no challenge.
    case replaced
}

/// An entry of the member table.
package struct Member: Hashable, Sendable {
    package var record: MemberRecord
    package var status: MemberStatus
    /// Set when `status` is `dead`, and only then.
    package var cause: DeathCause?
    /// HLC reading at which `dead` or `left` was issued, by whoever issued it; 0 for the other statuses. Travels with the entry, because
    /// the departed are forgotten 24 h later, on every peer at the same full hour.
    package var since: UInt64

    package init(_ record: MemberRecord, status: MemberStatus, cause: DeathCause? = nil, since: UInt64 = 0) {
        self.record = record
        self.status = status
        self.cause = cause
        self.since = since
    }
}

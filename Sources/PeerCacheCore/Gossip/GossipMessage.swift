/// What one peer says about a member: its table entry without what the receiver knows already.
package struct MemberClaim: Hashable, Sendable {
    package var id: PeerID
    package var incarnation: UInt32
    package var status: MemberStatus
    /// Set when `status` is `dead`, and only then.
    package var cause: DeathCause?
    /// As in ``Member/since``.
    package var since: UInt64
    /// ``MemberRecord/hlc``: who holds a record of the same reading knows what this one says.
    package var content: UInt64
    /// Of a suspicion: the origin tag of the peer that found it silent. Different ones confirm each other.
    package var accuser: UInt32
    /// The record, where the receiver may lack it.
    package var record: MemberRecord?

    package init(_ member: Member, accuser: UInt32 = 0, withRecord: Bool) {
        id = member.record.id
        incarnation = member.record.incarnation
        status = member.status
        cause = member.cause
        since = member.since
        content = member.record.hlc
        self.accuser = accuser
        record = withRecord ? member.record : nil
    }

    /// An upper bound of the encoded size.
    package var encodedBytesBound: Int { 64 + (record?.encodedBytesBound ?? 0) }
}

/// A step of a case about one member (`GOSSIP.md` §7).
package struct Accusation: Hashable, Sendable {
    /// Raw values travel on the wire.
    package enum Step: UInt8, Hashable, Sendable {
        /// Its address rejects: look for yourselves.
        case accuse
        /// The rejections of the sender suffice.
        case vote
        /// It answered the sender: the case is closed.
        case objection
    }
    package var step: Step
    package var subject: PeerID
    /// Of the subject. A higher one known to the receiver voids the step.
    package var incarnation: UInt32

    package init(_ step: Step, _ subject: PeerID, incarnation: UInt32) {
        self.step = step
        self.subject = subject
        self.incarnation = incarnation
    }
}

/// 128 bits over (id, incarnation, status class) of every member whose verdict, if there is one, is not older than the cut-off.
package struct TableDigest: Hashable, Sendable {
    package var low: UInt64
    package var high: UInt64
    /// HLC reading.
    package var cutoff: UInt64

    package init(low: UInt64, high: UInt64, cutoff: UInt64) {
        self.low = low
        self.high = high
        self.cutoff = cutoff
    }
}

/// Which members the sender knows in a range of ids, without their records.
package struct TableSummary: Hashable, Sendable {
    package struct Entry: Hashable, Sendable {
        package var id: PeerID
        package var incarnation: UInt32
        package var status: MemberStatus

        package init(id: PeerID, incarnation: UInt32, status: MemberStatus) {
            self.id = id
            self.incarnation = incarnation
            self.status = status
        }
    }
    package var from: PeerID
    /// Inclusive.
    package var through: PeerID
    /// In id order, each once; the decoder refuses another order.
    package var entries: [Entry]
    /// Everything in the range is listed, and the receiver tells what the sender lacks. Otherwise only what the receiver lacks is listed.
    package var isComplete: Bool
    /// Verdicts older than this HLC reading are left out.
    package var cutoff: UInt64

    package init(from: PeerID, through: PeerID, entries: [Entry], isComplete: Bool, cutoff: UInt64) {
        self.from = from
        self.through = through
        self.entries = entries
        self.isComplete = isComplete
        self.cutoff = cutoff
    }
}

/// What two members tell each other. The sender is the authenticated end of the connection, not a field.
package enum GossipMessage: Hashable, Sendable {
    /// To be answered by `ack` on the same connection. One whose claims accuse the receiver is a challenge.
    case ping(sequence: UInt64, placement: UInt64, claims: [MemberClaim])
    case ack(sequence: UInt64, placement: UInt64, claims: [MemberClaim])
    /// The target of a `relay` did not answer the sender so far.
    case nack(sequence: UInt64, claims: [MemberClaim])
    /// Ping the target and pass its answer on.
    case relay(sequence: UInt64, target: PeerID, claims: [MemberClaim])
    /// News.
    case claims(placement: UInt64, [MemberClaim])
    case accusation(Accusation)
    /// Tables are compared. Unequal: answered by `summary` or `ranges`.
    case digest(TableDigest)
    /// Sums over 64 equal ranges of ids. Answered by a `summary` of each range that differs.
    case ranges(cutoff: UInt64, sums: [UInt64])
    case summary(TableSummary)
    /// Answered by a `sync` of these members.
    case fetch([PeerID])
    /// Entries of the sender's table. All of them when `wantsReply` is set, and then the receiver answers with what the sender lacks.
    case sync(members: [Member], wantsReply: Bool)
    /// The receiver's advertised address could not be dialled.
    case unreachable(PeerAddress)

    /// Whether it carries whole tables, or parts of them.
    package var isTable: Bool {
        switch self {
        case .ranges, .summary, .fetch, .sync: true
        default: false
        }
    }
}

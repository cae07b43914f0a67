/// Names one connection, dialled or accepted, for as long as the process lives.
///
/// The machine numbers what it dials 1, 2, 3 …; the shell numbers what it accepts with ``GossipMachine/inbound(_:)``, which sets the
/// top bit. So both count alone and the id tells who dialled.
package typealias ConnectionID = UInt64

/// Why a handshake was answered with no. Raw values travel on the wire.
package enum ForeignReason: UInt8, Hashable, Sendable {
    /// Another cluster name.
    case cluster
    /// Another shared secret, or a certificate that is not accepted.
    case secret
    /// No wire version that both speak.
    case version
    /// Its clock differs from ours by more than `maxOffset`.
    case clock
    /// We dialled ourselves.
    case isSelf
    /// A setting on which all peers must agree differs.
    case settings
    /// A web server: the port is the application's. Never on the wire.
    case http
}

/// Last frame on a connection that is closed on purpose. Raw values travel on the wire.
package enum Goodbye: UInt8, Hashable, Sendable {
    /// Not needed, or nothing comes over it any more.
    case idle
    /// Both sides dialled; the connection that the lower id dialled survives.
    case duplicate
    /// A newer connection took over from one that brought nothing.
    case replaced
    /// The sender leaves the cluster and has announced `left`.
    case leaving
    /// The other side broke a rule of the protocol.
    case protocolError
    /// The other side's clock and this one's are too far apart. Versions before it take it for `idle`.
    case clockSkew
}

/// What the application, the placement and the logs get to hear. In order; the shell delivers them outside all locks.
package enum MembershipEvent: Hashable, Sendable {
    /// A member that was not in the table.
    case joined(MemberRecord)
    /// A member that was dead refuted the verdict with a higher incarnation.
    case returned(MemberRecord)
    /// A present member changed its record (weight, metadata, address).
    case updated(MemberRecord)
    /// Somebody suspects a member; it keeps its slots.
    case suspected(PeerID)
    /// A suspect refuted.
    case refuted(PeerID)
    /// Out of the placement; still answers and hands over.
    case leaving(PeerID)
    case left(PeerID)
    case dead(PeerID, cause: DeathCause)
    /// The digest of the table changed. At most one per input; whoever rebuilds the placement limits its own rate (`GOSSIP.md` §11).
    case placementChanged(digest: UInt64)
    /// Others cannot dial the address we advertise. At most one event per 10 minutes.
    case addressUnreachable(PeerAddress)
    /// Both members answer at one address: a proxy, or a record that is wrong. Both stay. At most one event per 10 minutes.
    case addressConflict(PeerID, PeerID)
    /// More than half of the members of a minute ago are suspect or dead here: we may be the one that is cut off.
    case isolated
    /// An address answers, but is not of this cluster. At most one event per address and 10 minutes.
    case foreignPeer(PeerAddress, ForeignReason)
    /// The clock of the peer at this address and ours are too far apart. At most one event per address and 10 minutes.
    case clockSkew(PeerAddress)
    /// Another process has proved that it has our id or our origin tag, and it began before us: draw a new id, build a new machine and join
    /// again. At most one event per 10 minutes.
    case duplicateIdentity
    /// Somebody says that another process has our id or our origin tag, or that we left. At most one event per 10 minutes.
    case duplicateSuspected
    /// Somebody had declared us dead and we refuted: others owned our slots meanwhile, so what the store holds is only a candidate
    /// (`CONTRACT.md` §5.3, *returning peer*).
    case selfRefuted
}

/// For logs and counters; nothing depends on it.
package enum GossipTrace: Hashable, Sendable {
    /// A record broke a rule and was not taken.
    case recordRefused(PeerID, RecordProblem)
    /// The low 32 bits of `id` are those of the present member `holder`; the record was not taken.
    case originTagTaken(id: PeerID, holder: PeerID)
    /// The table holds `membersMax` members.
    case tableFull(PeerID)
    /// A message named more than `membersMax` members and was dropped.
    case messageTooLarge(from: PeerID, members: Int)
    /// Discovery answered with more than `candidatesMax` addresses; the rest was dropped.
    case candidatesDropped(Int)
    /// `accuser` holds `accused` for dead, but it talks to us: the verdict was not applied.
    case verdictChallenged(PeerID, by: PeerID)
    /// This process stood still for so long; waits were extended.
    case stoodStill(Duration)
    /// The member of the current probe did not answer within the period.
    case probeFailed(PeerID)
    /// The suspicion ended without a verdict: the member answered us.
    case suspicionLifted(PeerID)
    /// A case about the member was opened, with what.
    case caseOpened(PeerID)
    /// We voted for its crash.
    case voted(PeerID)
    /// The votes, by origin tags, that made the verdict.
    case crashProven(PeerID, by: [UInt32])
    /// The member answered us, or somebody says that it did.
    case caseClosed(PeerID)
    /// No room for one more open case.
    case casesFull(PeerID)
}

extension GossipMachine {
    /// One thing that happened. A call handles exactly one.
    package enum Input: Hashable, Sendable {
        /// `from` is the authenticated peer at the other end of the connection.
        case message(GossipMessage, from: PeerID, on: ConnectionID)
        case connection(ConnectionID, Evidence)
        /// A question of an observer (``GossipMachine/isObserversQuestion(_:)``). The machine knows nothing else of its connection.
        case observer(PeerID, GossipMessage, on: ConnectionID)
        /// The clock of the peer at this address and this one's are too far apart: a frame of an open connection, or a connection that it dialled
        /// and that was refused for it.
        case clockSkew(PeerAddress)
        /// The answer to ``Effect/resolve``, of any order and with duplicates allowed. A failed or empty one keeps the last.
        case discovered([PeerAddress], failed: Bool)
        /// As a failed answer; but the names are unknown to whoever keeps them, so that nobody may be there yet.
        case nameUnknown
        case command(Command)
        /// The timer fired. One that came early, late or twice does no harm.
        case tick
    }

    /// What the owner of the machine wants.
    package enum Command: Hashable, Sendable {
        /// Start discovery and dial members. Before it the machine only answers.
        case join
        /// Announce `leaving`: out of the placement, still answering.
        case leave
        /// Leaving is finished: announce `left`, close every connection. Final.
        case stopped
        /// Nil keeps the value. Values that break ``MemberRecord/problem`` are refused with a trace.
        case update(metadata: [UInt8]?, weight: UInt16?)
        /// Compare tables with this member now (`notOwner`); at most once per 200 ms and member.
        case sync(with: PeerID)
        /// A connection to this member is wanted: a call waits for it.
        case connect(to: PeerID)
    }

    /// What a dial or a connection came to. A dial gets exactly one of `established`, `refused`, `foreign`, `timedOut`; an open connection
    /// ends with exactly one of `resetByPeer`, `closedByPeer`, `timedOut`, also after ``Effect/close(_:_:)`` (then any of them, ignored).
    package enum Evidence: Hashable, Sendable {
        /// The handshake finished, ours or one of a connection that the shell accepted; the record is the authenticated peer's own. With our own
        /// id: of another process.
        case established(MemberRecord)
        /// The dial was reset, or accepted and cut before the handshake ended.
        case refused
        /// The handshake answered no.
        case foreign(ForeignReason)
        case resetByPeer
        /// Nil: without a goodbye. `protocolError`: also where it was we who said it.
        case closedByPeer(Goodbye?)
        /// Dial limit, user timeout, no route, or a local failure such as no descriptor.
        case timedOut
    }

    /// What the shell must do, in this order.
    package enum Effect: Hashable, Sendable {
        /// Connect and shake hands within `limit`. `expecting` is who should answer; if another peer of this cluster does, report
        /// `established` with that one's record all the same.
        case dial(ConnectionID, PeerAddress, expecting: PeerID?, limit: Duration)
        /// May be lost, delayed or repeated. `on` nil: any open connection, else the one that is dialled next.
        case send(GossipMessage, to: PeerID, on: ConnectionID?)
        /// Flush what was sent, drain the requests in flight, then close with this goodbye.
        case close(ConnectionID, Goodbye)
        /// Ask discovery; answer with ``Input/discovered(_:failed:)``.
        case resolve
        case event(MembershipEvent)
        case trace(GossipTrace)
    }
}

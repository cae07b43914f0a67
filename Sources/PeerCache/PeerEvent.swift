internal import PeerCacheCore

/// Something that happened to the membership, as this peer sees it. See ``CachePeer/events``.
public enum PeerEvent: Sendable, Hashable {
    /// A member as it describes itself.
    public struct Member: Sendable, Hashable, Codable {
        /// 32 hexadecimal digits, new at every start of a process.
        public var id: String
        /// As others dial it, `host:port`.
        public var address: String
        /// The pod's or host's name, as configured there.
        public var name: String
        /// Its failure domain.
        public var zone: String
    }

    /// Why a member was declared dead.
    public enum Cause: String, Sendable, Hashable, Codable {
        /// Nothing came from it for a while, and it could not be reached.
        case silent
        /// Its connections broke and its port refused.
        case crashed
        /// Its address answered as another peer.
        case replaced
    }

    /// A member that was not known, or one that was dead and has come back.
    case joined(Member)
    /// Somebody has no answer from it. It keeps its keys.
    case suspected(id: String)
    /// A suspected member has answered.
    case refuted(id: String)
    /// A member has changed how it describes itself.
    case updated(Member)
    /// A member gives up its keys and still answers.
    case leaving(id: String)
    /// A member has gone as it said.
    case left(id: String)
    /// A member is gone for all; its keys have other owners.
    case dead(id: String, Cause)
    /// Keys have other owners. Equal digests: peers agree.
    case placementChanged(digest: UInt64)
    /// Others held this peer for dead; it has come back and starts empty.
    case returned
    /// Others cannot reach the address that this peer advertises.
    case addressUnreachable(String)
    /// Two members, both of which live, advertise one address.
    case addressConflict(id: String, other: String)
    /// More than half of the members of a minute ago are suspected or dead: it is more likely that this peer is cut off.
    case isolated
    /// An address answered that is not of this cluster, at most once in 10 minutes and address.
    case foreignPeer(address: String, reason: String)
    /// The clock of the peer at this address and this one's are more than 10 seconds apart. One of them is wrong: see that NTP or chrony runs
    /// on both hosts. Neither lets the other in, and one that is in already has its writes refused; it is tried again every
    /// minute. At most once in 10 minutes and address.
    case clockSkew(address: String)
    /// Another process uses the id that this peer had: a cloned machine or a restored snapshot. This one began later, so it has drawn a new id
    /// and joins again, empty; members are told as joined anew. Without a secret whoever reaches the port can bring that about.
    case duplicateIdentity(old: String, new: String)
    /// More happened than was read: the members that are present now, in place of the events before.
    case snapshot([Member])
}

extension PeerEvent.Member {
    init(_ record: MemberRecord) {
        self.init(id: record.id.description, address: record.address.description, name: record.name, zone: record.zone)
    }
}

extension PeerEvent {
    /// Nil: nothing for the application.
    init?(_ event: MembershipEvent) {
        let told: PeerEvent? =
            switch event {
            case .joined(let record), .returned(let record): .joined(Member(record))
            case .updated(let record): .updated(Member(record))
            case .suspected(let peer): .suspected(id: peer.description)
            case .refuted(let peer): .refuted(id: peer.description)
            case .leaving(let peer): .leaving(id: peer.description)
            case .left(let peer): .left(id: peer.description)
            case .dead(let peer, let cause): .dead(id: peer.description, Cause(cause))
            case .placementChanged(let digest): .placementChanged(digest: digest)
            case .selfRefuted: .returned
            case .addressUnreachable(let address): .addressUnreachable(address.description)
            case .addressConflict(let one, let other): .addressConflict(id: one.description, other: other.description)
            case .isolated: .isolated
            case .foreignPeer(let address, let reason): .foreignPeer(address: address.description, reason: "\(reason)")
            case .clockSkew(let address): .clockSkew(address: address.description)
            case .duplicateIdentity, .duplicateSuspected: nil  // the peer tells when it has drawn another
            }
        guard let told else { return nil }
        self = told
    }
}

extension PeerEvent.Cause {
    init(_ cause: DeathCause) {
        self =
            switch cause {
            case .silent: .silent
            case .crashed: .crashed
            case .replaced: .replaced
            }
    }
}

extension CachePeer {
    /// What happens to the membership from now on, in order. Each call is a subscription of its own; it ends when the peer stops.
    ///
    /// Up to 1,024 events wait for a slow reader. When there are more, ``PeerEvent/snapshot(_:)`` takes the place of all that
    /// wait, and those after it follow.
    public var events: AsyncStream<PeerEvent> { core.events.subscribe() }
}

internal import Logging
internal import PeerCacheCore
internal import PeerCacheTransport

/// Members that come and go are worth an info line; the rest is for debugging.
enum MembershipLog {
    static func write(_ event: MembershipEvent, to logger: Logger) {
        switch event {
        case .joined(let record): logger.info("peer joined", metadata: metadata(record))
        case .returned(let record): logger.info("peer returned", metadata: metadata(record))
        case .updated(let record): logger.debug("peer changed its record", metadata: metadata(record))
        case .suspected(let peer): logger.debug("peer suspected", metadata: metadata(peer))
        case .refuted(let peer): logger.debug("peer refuted a suspicion", metadata: metadata(peer))
        case .leaving(let peer): logger.info("peer is leaving", metadata: metadata(peer))
        case .left(let peer): logger.info("peer left", metadata: metadata(peer))
        case .dead(let peer, let cause):
            logger.info("peer is dead", metadata: [LogKey.peer.rawValue: "\(peer)", LogKey.reason.rawValue: "\(cause)"])
        case .placementChanged: break
        case .addressUnreachable(let address):
            logger.warning(
                "other peers cannot reach the advertised address; set `advertise`", metadata: [LogKey.address.rawValue: "\(address)"])
        case .addressConflict(let one, let other):
            logger.warning("two peers answer for one address", metadata: [LogKey.peer.rawValue: "\(one), \(other)"])
        case .isolated: logger.warning("more than half of the peers are suspect or dead here: this one may be cut off")
        case .foreignPeer(let address, let reason):
            logger.warning(
                "no connection to a peer: \(reason.advice)",
                metadata: [LogKey.address.rawValue: "\(address)", LogKey.reason.rawValue: "\(reason)"])
        case .clockSkew(let address):
            logger.warning(
                "the clock of a peer and this one's are more than 10 s apart: check that both hosts keep time (NTP)",
                metadata: [LogKey.address.rawValue: "\(address)"])
        case .duplicateIdentity: logger.warning("another process uses this peer's id (a cloned machine?); it draws a new one")
        case .duplicateSuspected:
            logger.warning(
                "a peer says that another process uses this peer's id (a cloned machine?); if it stays out, start this process again")
        case .selfRefuted: logger.warning("others held this peer for dead; it refuted and starts with empty slots")
        }
    }

    private static func metadata(_ record: MemberRecord) -> Logger.Metadata {
        [LogKey.peer.rawValue: "\(record.id)", LogKey.address.rawValue: "\(record.address)"]
    }

    private static func metadata(_ peer: PeerID) -> Logger.Metadata { [LogKey.peer.rawValue: "\(peer)"] }
}

extension ForeignReason {
    /// What differs at the two, and where it is set.
    var advice: String {
        switch self {
        case .cluster: "it is of another cluster; compare `cluster` at both"
        case .secret: "it has another shared secret; compare `security` at both"
        case .version:
            "it speaks no version of the protocol that this one speaks; compare the versions of PeerCache, and see that a peer is there"
        case .clock: "its clock and this one's are too far apart; check that both hosts keep time (NTP)"
        case .isSelf: "it is this peer itself"
        case .http: "a web server is there; `discovery` must name the port that the other peers give to `bind`"
        case .settings: "the slots, the placement rule or `hashKey` differ; compare `hashKey` and the versions of PeerCache at both"
        }
    }
}

package import PeerCacheCore

/// Serves the requests of other peers. Called on event loops: answer at once or hand the work to a task.
package protocol PeerRequestHandler: Sendable {
    /// The request's pointers are valid during the call. Answer with ``PeerConnection/respond(_:large:)`` under its id, unless that is 0.
    func handle(_ request: WireRequest, on connection: PeerConnection)
    /// The caller of a request no longer waits.
    func cancelled(requestID: UInt64, on connection: PeerConnection)
    func invalidated(_ invalidation: WireInvalidation, by peer: PeerID)
    func closed(_ connection: PeerConnection)
}

/// What the handler of a channel tells its transport. Called on the channel's event loop.
protocol PeerChannelOwner: AnyObject, Sendable {
    var localHello: WireHello { get }
    var requestHandler: any PeerRequestHandler { get }
    var clock: ClusterClock { get }
    var limits: ConnectionLimits { get }
    /// A listener may do an X25519 agreement now.
    func mayAgree() -> Bool
    /// A listener answers this hello.
    func answering(_ hello: [UInt8])
    /// Counts an observer, until its connection has ended; false: there are too many.
    func admitObserver() -> Bool
    /// Whether the peer that answered a dial is this process.
    func hasMetItself(_ dial: ConnectionID, _ peer: PeerID) -> Bool
    func established(_ connection: PeerConnection)
    func received(_ gossip: GossipMessage, on connection: PeerConnection)
    /// The other end takes no further calls on this connection.
    func ending(_ connection: PeerConnection)
    /// The channel is gone. `connection` is nil when it was never established.
    func ended(_ id: ConnectionID, _ connection: PeerConnection?, _ evidence: Evidence)
    /// The clock of the peer at this address and this one's are too far apart.
    func clockSkewed(_ address: PeerAddress)
    func refusedFrame(_ error: WireError, from connection: PeerConnection?)
}

package import Logging
package import NIOCore
package import PeerCacheCore

/// Finds addresses of other peers; failures are logged and asked again.
package typealias DiscoverySource = @Sendable () async throws -> [PeerAddress]

/// What a transport needs to know.
package struct TransportConfiguration: Sendable {
    package var handshake: HandshakeConfiguration
    package var settings: SettingsFingerprint
    package var gossip = GossipConfiguration()
    /// Address to listen at; port 0 lets the system choose.
    package var bind: PeerAddress
    /// Host that other peers dial, when it is not the one to listen at.
    package var advertisedHost: String?
    /// Port that other peers dial, when it is not the one listened at.
    package var advertisedPort: UInt16?
    /// The record without its address, which is known after binding.
    package var record: MemberRecord
    package var discovery: DiscoverySource?
    /// Discovery is cancelled and asked again later when it takes longer.
    package var discoveryMax: Duration = .seconds(10)
    package var limits = ConnectionLimits()
    /// Connections of observers at a time; more are refused.
    package var observersMax = 256
    package var group: any EventLoopGroup
    package var logger: Logger

    package init(
        handshake: HandshakeConfiguration, settings: SettingsFingerprint, bind: PeerAddress, record: MemberRecord,
        group: any EventLoopGroup, logger: Logger
    ) {
        self.handshake = handshake
        self.settings = settings
        self.bind = bind
        self.record = record
        self.group = group
        self.logger = logger
    }
}

/// What a transport counts. All are totals since the start.
package struct TransportCounts: Sendable, Hashable {
    package var framesRefused: UInt64 = 0
    package var handshakesRefused: UInt64 = 0
    package var connectionsOpened: UInt64 = 0
    /// Gossip messages that gave way to newer ones on a connection that takes nothing.
    package var gossipDropped: UInt64 = 0

    package init() {}
}

/// Who is in the cluster, first form: full lists over one connection per pair, crash evidence from resets and refusals.
package struct GossipMachine: Sendable {
    let configuration: GossipConfiguration
    private(set) var me: MemberRecord

    /// - Parameters:
    ///   - me: this peer's record at incarnation 1 or above, with an id drawn for this start.
    ///   - seed: all randomness of the machine; the same seed and inputs give the same effects.
    /// - Throws: when a setting is impossible or the record breaks ``MemberRecord/problem``.
    package init(_ configuration: GossipConfiguration, me: MemberRecord, seed: UInt64) throws(GossipConfigurationError) {
        try configuration.validate()
        if let problem = me.problem { throw GossipConfigurationError(message: "gossip: our own record breaks the rule '\(problem)'") }
        self.configuration = configuration
        self.me = me
    }

    /// Takes one input and appends what the shell must do. `now` may be slightly older than the last one seen.
    package mutating func handle(_ input: Input, now: Instant, into effects: inout [Effect]) {}

    /// When the machine wants its next ``Input/tick``; nil once it has stopped. The shell keeps one timer.
    package var nextDeadline: Instant? { nil }

    /// The table as it is now. O(1): storage is shared.
    package func snapshot() -> MembershipView {
        MembershipView(me: me.id, members: [Member(me, status: .alive)], version: 1, digest: 0)
    }

    /// The connection on which gossip to this peer goes, or nil when none is open.
    package func connection(to peer: PeerID) -> ConnectionID? { nil }

    /// The id for the shell's `number`th accepted connection (any number; the top bit is set).
    package static func inbound(_ number: UInt64) -> ConnectionID { number | 1 << 63 }

    /// Whether the other side dialled.
    package static func isInbound(_ connection: ConnectionID) -> Bool { connection >> 63 == 1 }
}

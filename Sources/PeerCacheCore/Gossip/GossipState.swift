extension GossipMachine {
    /// Where this peer is in its life.
    enum Stage: Sendable { case idle, joined, leaving, stopped }

    /// What we know first hand about another member: kept while it is present, and for a departed one while a connection is open.
    struct Link: Sendable {
        struct Open: Sendable {
            var id: ConnectionID
            /// Last frame, or the end of the handshake.
            var heardAt: Instant
        }
        /// In the order in which they were established; at most `Link.openMax`.
        var open: [Open] = []
        /// Last frame or handshake on any connection; at first, when we learned of the member.
        var heardAt: Instant
        /// When to dial next, if a dial is wanted.
        var dialAt: Instant?
        var isDialling = false
        /// The open connections bring nothing, or another peer claims the address: dial although connected.
        var isDoubted = false
        /// Wait after the next failed dial, before jitter.
        var backoff: Duration
        /// Refused dials since the last handshake, and when the first was.
        var refusals = 0
        var firstRefusal: Instant?
        /// A dial failed since something was heard.
        var hasFailed = false
        var syncedAt: Instant?
        var challengedAt: Instant?

        static let openMax = 4

        func isOpen(_ id: ConnectionID) -> Bool { open.contains { $0.id == id } }

        /// Whether an open connection brought a frame within `window` before `now`.
        func isHeard(within window: Duration, of now: Instant) -> Bool { open.contains { now - $0.heardAt < window } }
    }

    /// A dial in flight.
    struct Dial: Sendable {
        enum Target: Sendable { case member(PeerID), candidate, deadMember }
        var address: PeerAddress
        var target: Target
        /// By then the shell must have reported; later the dial counts as timed out, so that a lost report does not hold its place for ever.
        var expiresAt: Instant
    }

    /// An address that discovery named.
    struct Place: Sendable {
        var dialAt: Instant
        var backoff: Duration
        /// Hash of our id and the address: each peer has its own order, so a mass start spreads over the seeds.
        var rank: UInt64
        var isDialling = false
        /// Who answered here last: discovery may name a host where members advertise an IP address.
        var answered: PeerID?
        /// A present member is there, or we are. Derived from the table.
        var isKnown = false
    }

    /// An address that answered as something else than a peer of this cluster.
    struct ForeignPlace: Sendable {
        var restUntil: Instant
        var warnedAt: Instant
    }

    /// Verdicts of ours about one member since we last had a connection to it.
    struct Judgement: Sendable {
        var verdicts = 0
        /// It refuted: our path to it is broken, and it is not judged again before this.
        var restUntil: Instant = .zero
    }
}

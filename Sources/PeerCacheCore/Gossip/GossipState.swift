extension GossipMachine {
    /// Where this peer is in its life.
    enum Stage: Sendable { case idle, joined, leaving, stopped }

    /// What we know first hand about another member: kept while it is present, and for a departed one while a connection is open.
    struct Link: Sendable {
        struct Open: Sendable {
            var id: ConnectionID
            /// Last frame, or the end of the handshake.
            var heardAt: Instant
            /// When it was first asked something since it last brought a frame.
            var askedAt: Instant?
        }
        /// In the order in which they were established; at most `Link.openMax`.
        var open: [Open] = []
        /// Last frame or handshake on any connection; at first, when we learned of the member.
        var heardAt: Instant
        /// When to dial next, if a dial is wanted.
        var dialAt: Instant?
        /// Dials in flight to it, of any purpose.
        var dials = 0
        /// Wait after the next failed dial, before jitter.
        var backoff: Duration
        /// Messages that a dial was started for; at most `Link.waitingMax`.
        var waiting: [GossipMessage] = []
        var syncedAt: Instant?
        var suspicion: Suspicion?
        /// When it was told last that we hold it for dead.
        var toldAt: Instant?
        /// How often we dialled its advertised address back.
        var dialBacks = 0
        /// The last connection that ended because one side broke the protocol, and the wait after it.
        var faultAt: Instant?
        var faultPause: Duration = .zero

        static let openMax = 4
        static let waitingMax = 4

        func isOpen(_ id: ConnectionID) -> Bool { open.contains { $0.id == id } }

        /// Whether an open connection brought a frame within `window` before `now`.
        func isHeard(within window: Duration, of now: Instant) -> Bool { open.contains { now - $0.heardAt < window } }
    }

    /// A member is doubted. Its deadline is computed from `startedAt`, as confirmations move it.
    struct Suspicion: Sendable {
        enum Phase: Sendable {
            /// It may refute.
            case running
            /// We challenge it ourselves before the verdict, ours or that of somebody else, is applied.
            case verifying(verdict: Member?)
        }
        var phase = Phase.running
        var incarnation: UInt32
        var startedAt: Instant
        /// Origin tags of those who found it silent, the first one first; at most `confirmations` + 1.
        var accusers: [UInt32]
        var shortest: Duration
        var longest: Duration
        /// Timers of an earlier suspicion or phase carry another one.
        var generation: UInt64
        /// Of the challenges.
        var sequence: UInt64 = 0
        /// An old verdict that made us doubt: its subject must hear that others held it for dead.
        var verdict: Member?
        /// Another peer answered at its address: our verdict would be `replaced`. If it answers as well, both stay.
        var successor: PeerID?
        /// Our own probe failed: we push.
        var pushes = 0
        /// Challenges of this phase.
        var challenges = 0

        /// Whether its address answered as another peer, to us or to whoever gave the verdict.
        var isOfReplacement: Bool {
            if case .verifying(let verdict?) = phase { return verdict.cause == .replaced }
            return successor != nil
        }
    }

    /// The probe of this period.
    struct Probe: Sendable {
        var target: PeerID
        var sequence: UInt64
        var startedAt: Instant
        /// Of the list: direct pings, relays, fresh dials.
        var step = 0
        var endsAt: Instant
        var relays = 0
        var nacks = 0
        var isAnswered = false
    }

    /// A probe that we make for somebody else.
    struct Relay: Sendable {
        var asker: PeerID
        var sequence: UInt64
        var target: PeerID
    }

    /// A dial in flight.
    struct Dial: Sendable {
        enum Target: Sendable {
            /// A connection to a member.
            case member(PeerID)
            /// A connection that answers a question: replaces what is stuck.
            case fresh(PeerID)
            /// For a case of §7.
            case evidence(PeerID)
            case candidate, deadMember
            /// Another process that may have our origin tag.
            case twin
            /// The address that a newcomer advertises; no connection is wanted.
            case dialBack(PeerID)

            var member: PeerID? {
                switch self {
                case .member(let peer), .fresh(let peer), .evidence(let peer), .dialBack(let peer): peer
                case .candidate, .deadMember, .twin: nil
                }
            }
        }
        var address: PeerAddress
        var target: Target
        var startedAt: Instant
    }

    /// An address that discovery named.
    struct Place: Sendable {
        var dialAt: Instant
        var backoff: Duration
        /// Hash of our id and the address: each peer has its own order, so a mass start spreads over the seeds.
        var rank: UInt64
        var isDialling = false
        /// A dial to it has ended.
        var isTried = false
        /// Who answered here last: discovery may name a host where members advertise an IP address.
        var answered: PeerID?
        /// A present member is there, or we are. Derived from the table.
        var isKnown = false
    }

    /// An address that answered as something else than a peer of this cluster.
    struct ForeignPlace: Sendable {
        var restUntil: Instant
        var warnedAt: Instant
        var reason: ForeignReason
    }

    /// What a timer of the queue is for.
    enum Task: Sendable {
        case suspicion(PeerID, generation: UInt64)
        case push(PeerID, generation: UInt64)
        case challenge(PeerID, generation: UInt64)
        case dial(PeerID)
        case dialOverdue(ConnectionID)
        case relayNack(UInt64)
        case relayOver(UInt64)
        case caseDial(PeerID, generation: UInt64)
        case caseReview(PeerID, generation: UInt64)
    }
}

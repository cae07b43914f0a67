/// Who is in the cluster: SWIM over streams (Das, Gupta, Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group
/// Membership Protocol", 2002), with suspicion and local health after "Lifeguard" (Dadgar, Phillips, Currey, 2017). `GOSSIP.md` has the
/// rules and why they differ: lost packets are delay here, a suspect is challenged before the verdict, and the kernel's word on a killed
/// process is evidence.
package struct GossipMachine: Sendable {
    let configuration: GossipConfiguration
    var random: SplitMix64
    var stage = Stage.idle

    /// This peer's own record, for handshakes. Its incarnation rises when it refutes, leaves or is updated.
    package internal(set) var me: MemberRecord
    /// The highest incarnation of ours that somebody held for dead, as far as we heard.
    var deadIncarnation: UInt32 = 0
    /// Every member in id order, this peer included. At most `membersMax`.
    var members = SortedMap<PeerID, Member>()
    /// Of the table: members that hold slots, this peer included, and those that are gone.
    var placedCount = 1
    var suspectCount = 0
    var departedCount = 0
    /// How many that held slots died, less those that returned.
    var lostCount = 0
    /// How many that held slots went on purpose.
    var leftCount = 0
    /// Origin tags of present members.
    var originTags = SortedMap<UInt32, PeerID>()
    var version: UInt64 = 1
    /// Sums over the table (``MembershipView/digest(of:)``), kept up to date with each change.
    var digest: UInt64 = 0
    var secondSum: UInt64 = 0
    /// Of the last `placementChanged`.
    var announcedDigest: UInt64 = 0
    /// Verdicts issued before this HLC reading are forgotten and not taken in again.
    var departedCutoff: UInt64 = 0

    var links = SortedMap<PeerID, Link>()
    /// The peer at the other end of each open connection.
    var connections = SortedMap<ConnectionID, PeerID>()
    var dials = SortedMap<ConnectionID, Dial>()
    var lastDial: ConnectionID = 0
    /// Members whose dial waits for one of `dialsMax` to end, first come first served.
    var dialQueue: [PeerID] = []

    /// The order in which members are probed, and how far we are.
    var lap: [PeerID] = []
    var lapPosition = 0
    /// In a large cluster: those whom we watch, and those who watch us.
    var watched: [PeerID] = []
    var watchingMe: [PeerID] = []
    var watchedVersion: UInt64 = 0
    var probe: Probe?
    var relays = SortedMap<UInt64, Relay>()
    var sequence: UInt64 = 0
    /// Local health, 0...7.
    var healthScore = 0
    /// Lower quartile of the round-trip times, in nanoseconds; lost packets do not move it.
    var roundTrip: Int64 = 0

    var queue = BroadcastQueue()
    var flushTokens = 10
    var flushTokensAt = Instant.zero
    var lastFlushAt: Instant?
    var lastFlushedTo: [PeerID] = []
    var isUrgent = false

    var places = SortedMap<PeerAddress, Place>()
    var foreign = SortedMap<PeerAddress, ForeignPlace>()
    /// Until when addresses rest at which we met ourselves. At most `ownAddressesMax`.
    var ownAddresses = SortedMap<PeerAddress, Instant>()
    var hadContact = false
    /// Discovery has answered.
    var hasDiscovered = false
    /// Since when discovery has said nothing but that its names do not exist.
    var nameUnknownSince: Instant?
    var joinedAt = Instant.zero
    var syncs: [SyncSession] = []
    var cases = SortedMap<PeerID, Case>()
    var rests = SortedMap<PeerID, Instant>()
    var warnings = SortedMap<Warning, Instant>()

    // What is due when; nil: not wanted.
    var probeAt: Instant?
    var stepAt: Instant?
    var gossipAt: Instant?
    var flushAt: Instant?
    var secondFlushAt: Instant?
    var resolveAt: Instant?
    var retryAt: Instant?
    var syncAt: Instant?
    var placesAt: Instant?
    var timers = TimerQueue<Task>()
    var generation: UInt64 = 0
    var slowRetryAt = Instant.zero
    var retries: UInt64 = 0
    /// Nobody is judged before: we stood still and may have missed what everybody knows.
    var judgesAt = Instant.zero
    var votesAt = Instant.zero
    var contactAt: Instant?
    var isIsolated = false
    var placedHistory: [Placed] = []
    var historyAt: Instant?
    var heardAnybodyAt: Instant?
    var idleAt: Instant?
    /// Since when the placement of everybody who spoke to us differs from ours.
    var differsSince: Instant?

    // Of the input being handled: its time, its effects, and what must be done before it is over.
    var now = Instant.zero
    var effects: [Effect] = []
    var tableChanged = false
    var placesChanged = false

    /// When an address was last dialled at which another process may have our origin tag.
    var twinSoughtAt: Instant?

    static let ownAddressesMax = 64
    private static let roundsPerTurn = 8

    /// - Parameters:
    ///   - me: this peer's record at incarnation 1 or above, with an id drawn for this start.
    ///   - seed: all randomness of the machine; the same seed and inputs give the same effects.
    /// - Throws: when a setting is impossible or the record breaks ``MemberRecord/problem``.
    package init(_ configuration: GossipConfiguration, me: MemberRecord, seed: UInt64) throws(GossipConfigurationError) {
        try configuration.validate()
        if let problem = me.problem { throw GossipConfigurationError(message: "gossip: our own record breaks the rule '\(problem)'") }
        self.configuration = configuration
        self.me = me
        random = SplitMix64(seed: seed)
        if configuration.isObserver {
            placedCount = 0
            return
        }
        let member = Member(me, status: .alive)
        members[me.id] = member
        originTags[me.id.originTag] = me.id
        digest = member.digestPart
        announcedDigest = digest
        secondSum = member.secondDigestPart
    }

    /// When the machine wants its next ``Input/tick``; nil before the first input and after it has stopped. The shell keeps one timer.
    package private(set) var nextDeadline: Instant?

    /// Takes one input and appends what the shell must do. `now` may be slightly older than the last one seen.
    ///
    /// A ping that brings no news: O(log members), no allocation. A change of the table: O(members).
    package mutating func handle(_ input: Input, now: Instant, into effects: inout [Effect]) {
        swap(&self.effects, &effects)
        defer { swap(&self.effects, &effects) }
        if stage == .stopped { return refuseAfterStop(input) }
        startTurn(at: now)
        switch input {
        case .message(let message, let peer, let connection): receive(message, from: peer, on: connection)
        case .connection(let id, .established(let record)): established(id, record)
        case .connection(let id, let evidence):
            if let dial = dials[id] {
                endDial(id, dial)
                failed(dial, evidence)
            } else {
                ended(id, evidence)
            }
        case .observer(let observer, let message, let connection): answer(message, of: observer, on: connection)
        case .clockSkew(let address): meetForeigner(at: address, .clock)
        case .discovered(let addresses, let failed): discovered(addresses, failed: failed)
        case .nameUnknown:
            let since = nameUnknownSince ?? now
            discovered([], failed: true)
            nameUnknownSince = since
        case .command(let command): perform(command)
        case .tick: break
        }
        finishTurn()
    }

    private mutating func startTurn(at time: Instant) {
        now = Instant(nanoseconds: max(time.nanoseconds, now.nanoseconds), hlc: max(time.hlc, now.hlc))
        if probeAt == nil {
            probeAt = now + random.duration(upTo: configuration.period)
            syncAt = now + random.around(configuration.syncEvery)
        }
        if let nextDeadline, now - nextDeadline > configuration.latenessMin { stoodStill(for: now - nextDeadline) }
    }

    private mutating func finishTurn() {
        // What runs may want something else at once, such as a dial for a message; it settles in two or three rounds.
        for _ in 0..<Self.roundsPerTurn {
            runTimers()
            if stage == .stopped { return nextDeadline = nil }
            settleTable()
            planSends()
            nextDeadline = earliestDeadline()
            guard let nextDeadline, nextDeadline <= now else { return }
        }
    }

    /// The table as it is now. O(1): storage is shared.
    package func snapshot() -> MembershipView {
        MembershipView(me: me.id, members: members.values, version: version, digest: digest)
    }

    /// No news on the way out, nobody suspected, no case open: for tests.
    package var isCalm: Bool { queue.isEmpty && cases.isEmpty && syncs.isEmpty && links.values.allSatisfy { $0.suspicion == nil } }

    /// The connection on which gossip to this peer goes, or nil when none is open. O(log members).
    package func connection(to peer: PeerID) -> ConnectionID? { links[peer].flatMap { preferred($0) } }

    /// The id for the shell's `number`th accepted connection (below 2^63; the top bit gets set).
    package static func inbound(_ number: UInt64) -> ConnectionID { number | 1 << 63 }

    /// Whether the other side dialled.
    package static func isInbound(_ connection: ConnectionID) -> Bool { connection >> 63 == 1 }

    mutating func emit(_ event: MembershipEvent) { effects.append(.event(event)) }

    mutating func trace(_ trace: GossipTrace) { effects.append(.trace(trace)) }
}

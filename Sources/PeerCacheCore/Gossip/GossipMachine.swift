/// Who is in the cluster, first form: full lists over one connection per pair, crash evidence from resets and refusals.
///
/// `GOSSIP.md` §4 is the interface; probes, suspicion and votes (§5–§8 there) come behind it later. Differences that can be seen from outside:
/// one observer's two refusals are a verdict (no vote of watchers), nobody is suspected first, and every pair keeps a connection, so use it
/// up to 128 members.
///
/// What is *present* (`alive`, `suspect`, `leaving`) is connected; what is first-hand news (our own record, our verdicts, a handshake with a
/// newcomer) is announced at once on all connections; everything else is repaired by comparing digests once per heartbeat.
package struct GossipMachine: Sendable {
    let configuration: GossipConfiguration
    var random: SplitMix64
    var stage = Stage.idle

    /// This peer's own record, for handshakes. Its incarnation rises when it refutes, leaves or is updated.
    package internal(set) var me: MemberRecord
    /// Every member in id order, this peer included. At most `membersMax`.
    var members = SortedMap<PeerID, Member>()
    var version: UInt64 = 1
    var digest: UInt64 = 0
    /// Verdicts issued before this HLC reading are forgotten and not taken in again.
    var departedCutoff: UInt64 = 0

    var links = SortedMap<PeerID, Link>()
    var judgements = SortedMap<PeerID, Judgement>()
    /// The peer at the other end of each open connection.
    var connections = SortedMap<ConnectionID, PeerID>()
    var dials = SortedMap<ConnectionID, Dial>()
    var lastDial: ConnectionID = 0

    var places = SortedMap<PeerAddress, Place>()
    var foreign = SortedMap<PeerAddress, ForeignPlace>()
    /// Addresses under which we met ourselves, newest last. At most `ownAddressesMax`.
    var ownAddresses: [PeerAddress] = []
    var hadContact = false

    var heartbeatAt: Instant?
    var resolveAt: Instant?
    var retryAt: Instant?
    var retries = 0
    var syncsLeft = 0
    var duplicateWarnedAt: Instant?

    // Of the input being handled: its time, its effects, and what must be done before it is over.
    var now = Instant.zero
    var effects: [Effect] = []
    var news: [PeerID] = []
    var tableChanged = false
    var placesChanged = false

    static let ownAddressesMax = 64

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
        members[me.id] = Member(me, status: .alive)
        digest = MembershipView.digest(of: members.values)
        syncsLeft = configuration.syncsPerHeartbeat
    }

    /// When the machine wants its next ``Input/tick``; nil before the first input and after it has stopped. The shell keeps one timer.
    package private(set) var nextDeadline: Instant?

    /// Takes one input and appends what the shell must do. `now` may be slightly older than the last one seen.
    ///
    /// O(members + candidates); a heartbeat that agrees is O(log members).
    package mutating func handle(_ input: Input, now: Instant, into effects: inout [Effect]) {
        swap(&self.effects, &effects)
        defer { swap(&self.effects, &effects) }
        startTurn(at: now)
        if stage == .stopped { return refuseAfterStop(input) }
        switch input {
        case .message(.heartbeat(let digest), let peer, let connection):
            guard note(peer, heardOn: connection) else { return }
            if digest == self.digest, let nextDeadline, self.now < nextDeadline { return }
            compare(digest, with: peer, on: connection)
        case .message(.sync(let theirs, let wantsReply), let peer, let connection):
            guard note(peer, heardOn: connection) else { return }
            take(theirs, from: peer, on: connection, wantsReply: wantsReply)
        case .connection(let id, .established(let record)): established(id, record)
        case .connection(let id, let evidence):
            if let dial = dials[id] {
                dials[id] = nil
                failed(dial, evidence)
            } else {
                ended(id, evidence)
            }
        case .discovered(let addresses, let failed): discovered(addresses, failed: failed)
        case .command(let command): perform(command)
        case .tick: break
        }
        finishTurn()
    }

    private mutating func startTurn(at time: Instant) {
        let last = now
        now = Instant(nanoseconds: max(time.nanoseconds, last.nanoseconds), hlc: max(time.hlc, last.hlc))
        if heartbeatAt == nil { heartbeatAt = now + random.duration(upTo: configuration.heartbeatEvery) }
        // Own lateness (`GOSSIP.md` §6.6): a process that stood still must not take its own silence for that of the others.
        if let nextDeadline, now - max(nextDeadline, last) > .seconds(1) { extendWaits(by: now - max(nextDeadline, last)) }
    }

    private mutating func finishTurn() {
        let beats = runTimers()
        settleTable()
        announceNews()
        if beats { sendHeartbeats() }
        refreshPlaces()
        startDials()
        nextDeadline = stage == .stopped ? nil : earliestDeadline()
    }

    /// Runs what is due, whatever the input was. True when heartbeats are to be sent.
    private mutating func runTimers() -> Bool {
        if stage == .stopped { return false }
        expireDials()
        if let due = resolveAt, due <= now { resolve() }
        if let due = retryAt, due <= now { retryDeadMember() }
        guard let due = heartbeatAt, due <= now else { return false }
        let next = due + configuration.heartbeatEvery
        heartbeatAt = next > now ? next : now + configuration.heartbeatEvery
        syncsLeft = configuration.syncsPerHeartbeat
        judgeTheSilent()
        moveCutoff()
        return true
    }

    private func earliestDeadline() -> Instant? {
        var earliest = [heartbeatAt, resolveAt, retryAt, nextDial()?.at].compactMap { $0 }.min()
        for dial in dials.values where earliest.map({ dial.expiresAt < $0 }) ?? true { earliest = dial.expiresAt }
        return earliest
    }

    /// The table as it is now. O(1): storage is shared.
    package func snapshot() -> MembershipView {
        MembershipView(me: me.id, members: members.values, version: version, digest: digest)
    }

    /// The connection on which gossip to this peer goes, or nil when none is open. O(log members).
    package func connection(to peer: PeerID) -> ConnectionID? { links[peer].flatMap { preferred($0, peer) } }

    /// The id for the shell's `number`th accepted connection (below 2^63; the top bit gets set).
    package static func inbound(_ number: UInt64) -> ConnectionID { number | 1 << 63 }

    /// Whether the other side dialled.
    package static func isInbound(_ connection: ConnectionID) -> Bool { connection >> 63 == 1 }

    mutating func emit(_ event: MembershipEvent) { effects.append(.event(event)) }
}

package import PeerCacheCore

/// A cluster on virtual time: the gossip machine of every peer, the wire codec on every message, a network that misbehaves.
///
/// A pure function of (scenario, seed): the same pair gives the same ``trace`` on every machine. Not for several threads.
package final class SimulatedCluster {
    package let scenario: Scenario
    package let seed: UInt64
    let network: SimulatedNetwork
    /// Every process that ever ran, in order of start.
    private(set) var peers: [SimulatedPeer] = []
    /// The first process with this id, and the ids that a clone had too; looked up.
    var numbers: [PeerID: Int] = [:]
    var cloned: Set<PeerID> = []
    var seats: [PeerAddress: Int] = [:]  // looked up
    var random: SeededRandom
    /// By seat, as ``staleAnswers``.
    var discovery: [DiscoveryState] = []
    var staleAnswers: [[PeerAddress]] = []
    /// Called after each event of a machine: number of the observer, the event.
    package var onEvent: ((Int, MembershipEvent) -> Void)?
    /// Called after each trace of a machine: number of the process, the trace.
    package var onTrace: ((Int, GossipTrace) -> Void)?
    /// Called when a handshake is done: number of the process, of the one at the other end, whether the other side dialled.
    package var onEstablished: ((Int, Int, Bool) -> Void)?
    /// Whether every change of a table is compared with the table before it. O(members) per change.
    package var checksEveryChange = true

    package internal(set) var counts = SimulationCounts()
    /// What must never happen and did, with its time. At most 32.
    package internal(set) var violations: [String] = []
    /// Verdicts about processes that ran, once per id and incarnation.
    package internal(set) var wrongVerdicts: [WrongVerdict] = []
    var judged: [PeerID: UInt32] = [:]  // looked up
    /// Hash over everything that the machines were told and wanted, in order.
    package internal(set) var trace: UInt64 = 0

    var effects: [GossipMachine.Effect] = []
    private var actions: [(SimulatedCluster) -> Void] = []
    let decoder = WireDecoder()
    /// Until when what happens to a seat excuses verdicts about it.
    var disturbedUntil: [Int64] = []

    static let wallStart: UInt64 = 1_700_000_000_000

    /// Nothing has started yet: ``start()``.
    package init(_ scenario: Scenario, seed: UInt64) {
        self.scenario = scenario
        self.seed = seed
        network = SimulatedNetwork(seed: seed &* 0x9E37_79B9_7F4A_7C15 &+ 1)
        network.quality = scenario.quality
        random = SeededRandom(seed: seed)
        for seat in 0..<scenario.peers { prepare(seat) }
    }

    package static func address(_ seat: Int) -> PeerAddress {
        PeerAddress(host: "10.\(seat >> 16).\(seat >> 8 & 255).\(seat & 255)", port: 7600)
    }

    /// Makes the seat and all below it.
    func prepare(_ seat: Int) {
        while network.hosts.count <= seat {
            seats[Self.address(network.hosts.count)] = network.hosts.count
            network.hosts.append(SimulatedNetwork.Host())
            discovery.append(.right)
            staleAnswers.append([])
            disturbedUntil.append(0)
        }
    }

    // MARK: Running

    package var time: Int64 { network.time }

    /// What all packets took, headers, TLS records and acknowledgements included.
    package var wireBytes: Int64 { network.wireBytes }

    /// Starts the scenario's peers and lays out its faults.
    package func start() {
        for seat in 0..<scenario.peers {
            let at = scenario.startSpread > 0 ? random.duration(0...scenario.startSpread) : 0
            if at == 0 { start(seat: seat) } else { after(at) { $0.start(seat: seat) } }
        }
        for timed in scenario.faults { after(timed.at - time) { $0.apply(timed.fault) } }
    }

    package func advance(by nanoseconds: Int64) { advance(to: time + nanoseconds) }

    package func advance(to end: Int64) {
        while let happening = network.next(until: end) { take(happening) }
    }

    /// Runs until the condition holds, looking every `step`; nil: it did not within `limit`.
    package func advance(upTo limit: Int64, step: Int64 = 10_000_000, until condition: (SimulatedCluster) -> Bool) -> Int64? {
        let begin = time
        while !condition(self) {
            if time - begin >= limit { return nil }
            advance(by: step)
        }
        return time - begin
    }

    /// Does something later.
    package func after(_ nanoseconds: Int64, _ action: @escaping (SimulatedCluster) -> Void) {
        actions.append(action)
        network.schedule(.action(actions.count - 1), at: time + nanoseconds)
    }

    func act(_ number: Int) { actions[number](self) }

    // MARK: Processes

    /// Starts a process on an empty seat and joins it. Returns its number; nil: the seat is taken.
    /// - Parameters:
    ///   - original: the process whose identity it has, as a cloned computer would.
    ///   - advertised: what it takes for its address; nil: that of the seat.
    @discardableResult package func start(
        seat: Int, isStranger: Bool = false, name: String? = nil, cloneOf original: Int? = nil, advertised: PeerAddress? = nil
    ) -> Int? {
        prepare(seat)
        guard network.hosts[seat].process < 0 else { return nil }
        network.hosts[seat].isLost = false
        let number = peers.count
        var id = PeerID(high: random.next(), low: random.next())
        if id == .none { id.low = 1 }
        if let original { id = peers[original].id }
        var record = MemberRecord(id: id, address: advertised ?? Self.address(seat))
        record.name = name ?? "peer-\(seat)"
        if scenario.zones > 0 { record.zone = "zone-\(seat % scenario.zones)" }
        record.hlc = wallMilliseconds(seat) << 16
        do {
            let machine = try GossipMachine(scenario.configuration, me: record, seed: random.next())
            let peer = SimulatedPeer(
                number: number, seat: seat, record: record, machine: machine, isStranger: isStranger, at: time)
            peers.append(peer)
            if original == nil { numbers[id] = number } else { cloned.insert(id) }
            network.hosts[seat].process = number
            counts.starts += 1
            input(.command(.join), to: peer)
        } catch {
            violate("the configuration was refused: \(error)")
            return nil
        }
        return number
    }

    package func process(on seat: Int) -> Int? {
        guard seat < network.hosts.count, network.hosts[seat].process >= 0 else { return nil }
        return network.hosts[seat].process
    }

    package func wallMilliseconds(_ seat: Int) -> UInt64 {
        let now = Int64(Self.wallStart) + time / 1_000_000 + network.hosts[seat].clockOffset
        return UInt64(max(0, now))
    }

    // MARK: What to look at

    /// Numbers of the processes that run, strangers and those that leave excepted.
    package var present: [Int] { peers.indices.filter { peers[$0].isUp && !peers[$0].hasLeft && !peers[$0].isStranger } }

    package func view(_ number: Int) -> MembershipView { peers[number].machine.snapshot() }
    package func id(_ number: Int) -> PeerID { peers[number].id }
    package func seat(_ number: Int) -> Int { peers[number].seat }
    package func number(of id: PeerID) -> Int? { numbers[id] }
    package func startedAt(_ number: Int) -> Int64 { peers[number].startedAt }
    package func isPaused(_ number: Int) -> Bool { peers[number].isPaused }

    /// Every process that runs holds exactly those that run for placed, and all digests are equal.
    package var agrees: Bool {
        let present = present
        guard let first = present.first else { return true }
        let digest = view(first).digest
        guard present.allSatisfy({ view($0).digest == digest }) else { return false }
        let expected = present.map { peers[$0].id }.sorted()
        return present.allSatisfy { view($0).placed.map(\.id) == expected }
    }

    /// Every process that runs holds exactly those that run for placed, whatever it knows of the departed.
    package var placementsAgree: Bool {
        let present = present, expected = present.map { peers[$0].id }.sorted()
        return present.allSatisfy { view($0).placed.map(\.id) == expected }
    }

    /// How many processes hold `number` for present.
    package func holders(of number: Int) -> Int {
        present.count { view($0).member(peers[number].id)?.status.isPresent == true }
    }

    func violate(_ text: @autoclosure () -> String) {
        if violations.count < 32 { violations.append("\(time / 1_000) µs: \(text())") }
    }
}

/// What a run did: whoever exercised nothing has proved nothing.
package struct SimulationCounts: Hashable, Sendable {
    package var starts = 0
    package var inputs = 0
    package var messages = 0
    /// Encoded gossip, and 28 for each message.
    package var messageBytes: Int64 = 0
    package var joined = 0, suspected = 0, refuted = 0, dead = 0, left = 0, returned = 0
    package var dials = 0
    /// Dials in flight of one peer, the most.
    package var dialsMax = 0
    /// Sends that found no connection.
    package var unsent = 0
    package var faultsDone = 0, faultsIdle = 0
    /// Processes that drew a new identity.
    package var redrawn = 0
    /// Warnings that others cannot dial what a peer advertises.
    package var unreachable = 0
    package var largestMessage = 0
}

/// A verdict about a process that ran.
package struct WrongVerdict: Hashable, Sendable {
    package var at: Int64
    package var observer: Int
    package var subject: Int
    package var cause: DeathCause
    package var incarnation: UInt32
    /// The subject was paused or cut off by a fault just before.
    package var isExcused: Bool
}

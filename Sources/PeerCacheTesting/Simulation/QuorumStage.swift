package import PeerCacheCore

/// A strict cache whose schedule a test writes out: nothing arrives and no time passes but what the test lets. Stores, machines, reads and
/// writes are the library's own, as in ``SimulatedQuorum``.
package struct QuorumStage {
    package enum Kind: Sendable { case seal, sealed, pull, page, ask, told, apply, applied, repair }

    /// A message on its way.
    package struct Envelope: Sendable {
        package var from: Int
        package var to: Int
        package var kind: Kind
        /// Of reads and writes.
        package var operation: Int?

        /// Between these peers.
        package func isAmong(_ peers: [Int]) -> Bool { peers.contains(from) && peers.contains(to) }
    }

    package enum Outcome: Hashable, Sendable { case pending, hit(Int), miss, done, unknown }

    private static let placements = Result { try PlacementCache() }
    private var quorum: SimulatedQuorum
    /// What a run delivers at most.
    private static let deliveriesMax = 10_000

    /// - Parameter offsets: milliseconds that the peers' wall clocks are ahead; one for each peer.
    package init(
        offsets: [UInt64], keys: Int = 1, scheme: QuorumScheme = .majorityOfThree, minimumPeers: Int? = nil,
        mutant: QuorumScenario.Mutant? = nil
    ) throws {
        var scenario = QuorumScenario(seed: 1, profile: .plain, mutant: mutant)
        (scenario.scheme, scenario.peers, scenario.keys, scenario.sharesBucket) = (scheme, offsets.count, keys, true)
        (scenario.skew, scenario.minimumPeers) = (0, minimumPeers)
        quorum = try SimulatedQuorum(scenario, Self.placements.get(), isScripted: true)
        for (index, offset) in offsets.enumerated() { quorum.peers[index].offset = offset }
    }

    /// `count` peers with equal clocks.
    package init(peers count: Int, keys: Int = 1, scheme: QuorumScheme = .majorityOfThree, mutant: QuorumScenario.Mutant? = nil) throws {
        try self.init(offsets: Array(repeating: 0, count: count), keys: keys, scheme: scheme, mutant: mutant)
    }

    // MARK: Members

    /// A new table, which these learn at once.
    /// - Returns: its version, for those that learn it later.
    @discardableResult package mutating func table(_ members: [Int], knownTo peers: [Int]? = nil) -> Int {
        let version = quorum.addTable(members)
        for peer in peers ?? members { learn(version, peer) }
        return version
    }

    package mutating func learn(_ version: Int, _ peer: Int) { quorum.learn(peer, version) }

    package mutating func crash(_ peer: Int) { quorum.crash(peer) }

    /// A process of another id, without anything.
    package mutating func addPeer() throws -> Int { try quorum.addPeer() }

    /// Lets these find out who votes, with as much time as that takes.
    /// - Parameter mute: those of them that answer and ask nothing.
    package mutating func settle(_ peers: [Int], mute: [Int] = []) {
        for _ in 0..<20 {
            run { $0.operation == nil && $0.isAmong(peers) && !($0.kind == .seal && mute.contains($0.from)) }
            advance(50, peers)
        }
    }

    /// The peers in the order in which the slot would like to be held by them: its voters are the first that are members.
    package static func order(of count: Int) throws -> [Int] {
        let quorum = try QuorumStage(peers: count).quorum
        var order: [Int] = []
        while order.count < count {  // a placement tells some of them at a time
            let placement = quorum.placements.placement(of: (0..<count).filter { !order.contains($0) }, digest: 1)
            let next = placement.peers(of: quorum.keys[0].id.slot, copies: count)
            if next.isEmpty { break }
            order += next.compactMap { id in quorum.peers.firstIndex { $0.id == id } }
        }
        return order
    }

    package func votes(_ peer: Int) -> Bool { quorum.peers[peer].machine.voting.contains(quorum.keys[0].id.slot) }

    // MARK: Time and messages

    /// Time passes, and these peers notice.
    package mutating func advance(_ milliseconds: Int64, _ peers: [Int] = []) {
        quorum.now += milliseconds * 1_000_000
        for peer in peers where quorum.peers[peer].isAlive {
            _ = quorum.peers[peer].store.expire(now: quorum.tick(peer), entriesMax: 100)
            quorum.step(peer, .tick)
        }
    }

    package mutating func setOffset(_ milliseconds: UInt64, of peer: Int) { quorum.peers[peer].offset = milliseconds }

    /// Delivers in order all that may arrive, and what comes of it; the rest stays on its way.
    package mutating func run(_ mayArrive: (Envelope) -> Bool = { _ in true }) {
        for _ in 0..<Self.deliveriesMax {
            guard let position = quorum.held.firstIndex(where: { mayArrive(Envelope($0)) }) else { return }
            let next = quorum.held.remove(at: position)
            quorum.now += 1_000
            quorum.deliver(next.message, from: next.from, to: next.to)
        }
        quorum.problem = "the messages have no end"
    }

    /// These are lost.
    package mutating func lose(_ isLost: (Envelope) -> Bool = { _ in true }) {
        let lost = quorum.held.filter { isLost(Envelope($0)) }
        quorum.held.removeAll { isLost(Envelope($0)) }
        for message in lost { quorum.unheard(message.from, message.to, message.message) }
    }

    // MARK: Operations

    /// Begins a write; nil: a removal.
    package mutating func beginSet(_ value: Int?, key: Int = 0, at caller: Int, ttlMilliseconds: Int? = nil) -> Int {
        var operation = SimulatedQuorum.Operation(key: key, work: .write(value))
        operation.content.ttlMilliseconds = ttlMilliseconds
        return begin(operation, caller)
    }

    package mutating func beginGet(key: Int = 0, at caller: Int) -> Int { begin(.init(key: key, work: .read), caller) }

    /// A miss at a caller that has a loader.
    package mutating func beginLoad(key: Int = 0, at caller: Int) -> Int { begin(.init(key: key, work: .load), caller) }

    private mutating func begin(_ operation: SimulatedQuorum.Operation, _ caller: Int) -> Int {
        quorum.now += 1_000_000
        quorum.operations.append(operation)
        quorum.begin(quorum.operations.count - 1, at: caller)
        return quorum.operations.count - 1
    }

    /// The loader is done.
    package mutating func finishLoad(_ id: Int, _ value: Int) { quorum.loaded(id, value) }

    /// Whether the loader runs.
    package func isLoading(_ id: Int) -> Bool { if case .loading = quorum.operations[id].progress { true } else { false } }

    /// Voters take long: all others are asked.
    package mutating func hurry(_ id: Int) { quorum.hurry(id) }

    /// All over, under the placement of now.
    package mutating func again(_ id: Int) { quorum.tryAgain(id) }

    /// The caller's time is over.
    package mutating func giveUp(_ id: Int) { quorum.giveUp(id) }

    /// A write of which only these voters are asked, and which reaches only those; the rest stays on its way.
    @discardableResult package mutating func set(
        _ value: Int?, key: Int = 0, at caller: Int, asking asked: [Int], reaching reached: [Int]? = nil, ttlMilliseconds: Int? = nil
    ) -> Int {
        let id = beginSet(value, key: key, at: caller, ttlMilliseconds: ttlMilliseconds)
        go(id, asked, reached ?? asked)
        return id
    }

    /// As ``set(_:key:at:asking:reaching:ttlMilliseconds:)``: whether it is complete.
    package mutating func write(_ value: Int?, at caller: Int, asking asked: [Int], reaching reached: [Int]? = nil) -> Outcome {
        let id = set(value, at: caller, asking: asked, reaching: reached)
        return outcome(id)
    }

    /// Only these are asked, and only those are written to.
    package mutating func go(_ id: Int, _ asked: [Int], _ reached: [Int]) {
        let mayArrive = { (message: Envelope) in
            guard message.operation == id else { return false }
            switch message.kind {
            case .ask: return asked.contains(message.to)
            case .apply: return reached.contains(message.to)
            default: return true
            }
        }
        for _ in 0..<3 {
            run(mayArrive)
            hurry(id)
        }
        run(mayArrive)
    }

    /// A read that only these voters hear of.
    package mutating func get(key: Int = 0, at caller: Int, from voters: [Int]) -> Outcome {
        let id = beginGet(key: key, at: caller)
        go(id, voters, voters)
        lose { $0.operation == id }
        if outcome(id) == .pending { giveUp(id) }
        return outcome(id)
    }

    package func outcome(_ id: Int) -> Outcome {
        let operation = quorum.operations[id]
        if let hit = operation.hit { return .hit(hit) }
        if operation.isVoid { return .miss }
        return operation.ended.map { $0 == .max ? .unknown : .done } ?? .pending
    }

    package mutating func evict(_ peer: Int, key: Int = 0) { quorum.evict(peer, key) }

    /// There is no room at this peer for what a write brings next.
    package mutating func refuse(at peer: Int) { quorum.peers[peer].refuses = true }

    package func guardStamp(_ peer: Int, key: Int = 0) -> Stamp { quorum.guardStamp(peer, key) }

    package func held(_ peer: Int, key: Int = 0) -> Int? { quorum.known(peer, key, true).1 }

    /// Why what was read is not what a register would have given; nil: it is.
    package var violation: String? {
        if let problem = quorum.problem { return problem }
        var copy = quorum
        copy.checkHistories()
        return copy.problem
    }
}

extension QuorumStage.Envelope {
    init(_ held: SimulatedQuorum.Held) {
        (from, to) = (held.from, held.to)
        switch held.message {
        case .seal: kind = .seal
        case .sealed: kind = .sealed
        case .pull: kind = .pull
        case .page: kind = .page
        case .ask(let attempt, _, _): (kind, operation) = (.ask, attempt.operation)
        case .told(let attempt, _, _): (kind, operation) = (.told, attempt.operation)
        case .apply(let attempt, _, _, _): (kind, operation) = (.apply, attempt.operation)
        case .applied(let attempt, _, _): (kind, operation) = (.applied, attempt.operation)
        case .compare, .compared, .ship: kind = .repair
        }
    }
}

import PeerCacheCore

/// Peers with real stores, voter machines, quorum reads and writes and the wire codec on virtual time: a short history of a strict cache
/// under loss, duplicates, crashes, splits and evictions, and at its end the checks of `CONTRACT.md` §11. A pure function of its scenario.
package struct SimulatedQuorum {
    struct Peer {
        var id: PeerID
        var machine: VoterMachine
        var store: ByteStore
        var cache: CacheIndex
        var clock = HybridLogicalClock()
        /// Milliseconds that its wall clock is ahead.
        var offset: UInt64
        var version = -1
        var isAlive = true
        /// Highest guard seen while it held the slot, by key.
        var guards: [Stamp?]
    }

    /// A member table, for those that get it.
    struct Table {
        var digest: UInt64
        var members: [Int]
    }

    enum Event {
        case tick(Int)
        case learn(Int, version: Int)
        case deliver(from: Int, to: Int, Message)
        case noAnswer(Int, VoterMachine.CallID)
        case begin(OperationID)
        case timeOut(OperationID, attempt: Int, isLast: Bool)
        case again(OperationID, attempt: Int)
        case loaded(OperationID, value: Int)
        case change, heal, finish
    }

    enum Message {
        case seal(VoterMachine.CallID, [UInt8])
        case sealed(VoterMachine.CallID, [UInt8]?)
        case pull(VoterMachine.CallID, PullRequest)
        case page(VoterMachine.CallID, PullRequest, [UInt8]?)
        case ask(Attempt, key: Int, wantsValue: Bool)
        case told(Attempt, QuorumRead.Answer?, value: Int?)
        case apply(Attempt, key: Int, Stamp, value: Int?)
        case applied(Attempt, Stamp, WriteResult?)
    }

    typealias OperationID = Int

    /// One try of an operation; answers to another one do not count.
    struct Attempt: Hashable {
        var operation: OperationID
        var number: Int
        /// Position in the list.
        var voter: Int
        var placement: UInt64
    }

    package let scenario: QuorumScenario
    static let keysMax = 64
    let secret: HashSecret
    /// The slot and the bytes of each key.
    let keys: [(id: KeyID, bytes: [UInt8])]
    var random: SeededRandom
    var queue = EventQueue<Event>()
    var now: Int64 = 0
    var peers: [Peer] = []
    var tables: [Table] = []
    /// Peers of two sides hear nothing of each other.
    var side: [Int] = []
    var isHealed = false
    var operations: [Operation] = []
    var contents: [Stamp: Int?] = [:]  // looked up, never iterated
    var rows: [Int]
    /// The highest row version whose write or removal was confirmed.
    var confirmed: [Int]
    var isBeingWritten: [Bool]
    var crashed = 0
    package internal(set) var figures = QuorumFigures()
    /// The first thing that went wrong.
    package internal(set) var problem: String?
    package var trace: ((String) -> Void)?
    let placements: PlacementCache

    package init(_ scenario: QuorumScenario, placements: PlacementCache) throws {
        self.scenario = scenario
        self.placements = placements
        secret = placements.secret
        random = SeededRandom(seed: scenario.seed)
        var keys: [(id: KeyID, bytes: [UInt8])] = []
        for _ in 0..<scenario.keys {
            let bytes = Array("\(Int.random(in: 0..<Self.keysMax, using: &random))-\(keys.count)".utf8)
            let hash = bytes.withUnsafeBytes { placements.secret.hash($0) }
            keys.append((KeyID(hash: hash, cache: CacheIndex(0)), bytes))
        }
        self.keys = keys
        rows = Array(repeating: 0, count: keys.count)
        confirmed = Array(repeating: 0, count: keys.count)
        isBeingWritten = Array(repeating: false, count: keys.count)
        for _ in 0..<scenario.peers { try addPeer() }
        publish(Array(peers.indices), spread: 5)
        for _ in 0..<scenario.operations {
            queue.push(.begin(draw()), at: 60_000_000 + Int64.random(in: 0..<400_000_000, using: &random))
        }
        for _ in 0..<scenario.membershipChanges { queue.push(.change, at: 60_000_000 + Int64.random(in: 0..<400_000_000, using: &random)) }
        queue.push(.heal, at: 600_000_000)
        queue.push(.finish, at: 1_600_000_000)
    }

    /// Runs to the end and checks what came of it.
    package mutating func run() throws {
        while problem == nil, let (time, event) = queue.pop() {
            now = time
            if case .finish = event { break }
            try handle(event)
        }
        if problem == nil { checkEnd() }
    }

    private mutating func handle(_ event: Event) throws {
        switch event {
        case .tick(let index):
            guard peers[index].isAlive else { return }
            step(index, .tick)
            queue.push(.tick(index), at: now + (peers[index].machine.isBusy ? 10_000_000 : 40_000_000))
        case .learn(let index, let version): learn(index, version)
        case .deliver(let from, let to, let message): deliver(message, from: from, to: to)
        case .noAnswer(let index, let id): if peers[index].isAlive { step(index, .answered(id, .none)) }
        case .begin(let id): begin(id)
        case .timeOut(let id, let attempt, let isLast): timedOut(id, attempt, isLast: isLast)
        case .again(let id, let attempt): if operations[id].attempt == attempt { tryAgain(id) }
        case .loaded(let id, let value): loaded(id, value)
        case .change: try change()
        case .heal: heal()
        case .finish: break
        }
    }

    // MARK: Members

    mutating func addPeer() throws {
        let index = peers.count
        let id = placements.id(index)
        let store = try ByteStore(limit: 1 << 20, shards: 1, seed: 1)
        var configuration = VoterConfiguration(minimumPeers: scenario.peers / 2 + 1)
        configuration.retryAfter = .milliseconds(15)
        configuration.askAgainEvery = .milliseconds(60)
        configuration.queryEvery = .milliseconds(50)
        configuration.slots = keys.map(\.id.slot)
        configuration.mutant = scenario.mutant?.voter
        let cache = try store.register("c")
        peers.append(
            Peer(
                id: id, machine: VoterMachine(configuration, scheme: scenario.scheme, me: id), store: store, cache: cache,
                offset: scenario.skew == 0 ? 0 : UInt64.random(in: 0..<UInt64(scenario.skew), using: &random),
                guards: Array(repeating: nil, count: keys.count)))
        side.append(0)
        queue.push(.tick(index), at: now + 1)
    }

    /// A new table, known to its members one after another.
    mutating func publish(_ members: [Int], spread: Int) {
        tables.append(Table(digest: UInt64(tables.count) + 1, members: members))
        let version = tables.count - 1
        trace?("\(now / 1_000) table \(version): \(members)")
        for peer in members {
            queue.push(.learn(peer, version: version), at: now + Int64.random(in: 0..<Int64(spread) * 1_000_000, using: &random))
        }
    }

    private mutating func learn(_ index: Int, _ version: Int) {
        guard peers[index].isAlive, version > peers[index].version else { return }
        peers[index].version = version
        let table = tables[version]
        let digest = scenario.mutant == .idWithoutHistory ? table.members.reduce(0) { $0 | 1 << UInt64($1) } : table.digest
        let placement = placements.placement(of: table.members, digest: digest)
        let present = table.members.filter { $0 != index }.map { peers[$0].id }.sorted()
        trace?("\(now / 1_000) peer \(index) learns table \(version)")
        step(index, .placement(placement, present: present))
    }

    private mutating func change() throws {
        guard !isHealed else { return }
        let alive = peers.indices.filter { peers[$0].isAlive }
        guard let table = tables.last, let victim = alive.randomElement(using: &random) else { return }
        let choice = Int.random(in: 0..<6, using: &random)
        if scenario.crashes, choice < 4 || !scenario.splits {
            // A process dies; its successor joins at once or later, or nobody does.
            trace?("\(now / 1_000) peer \(victim) dies")
            peers[victim].isAlive = false
            crashed += 1
            figures.crashes += 1
            guard peers.count < PlacementCache.idsMax, choice > 0 else {
                return publish(table.members.filter { $0 != victim && peers[$0].isAlive }, spread: 40)
            }
            try addPeer()
            side[peers.count - 1] = side[victim]
            publish(table.members.filter { peers[$0].isAlive } + [peers.count - 1], spread: 40)
        } else if scenario.splits, choice < 3, alive.count > 2 {
            // In two: each side soon has a table of its own.
            figures.splits += 1
            for index in alive { side[index] = Int.random(in: 0..<2, using: &random) }
            for part in 0..<2 {
                let members = alive.filter { side[$0] == part }
                if !members.isEmpty { publish(members, spread: 40) }
            }
        } else if scenario.splits, choice == 3 {
            for index in alive { side[index] = 0 }
            publish(alive, spread: 40)
        } else if scenario.splits {
            // Held for dead, and back.
            let others = alive.filter { $0 != victim && side[$0] == side[victim] }
            if !others.isEmpty { publish(others, spread: 30) }
            publish(alive.filter { side[$0] == side[victim] }, spread: 80)
        }
    }

    private mutating func heal() {
        isHealed = true
        for index in side.indices { side[index] = 0 }
        trace?("\(now / 1_000) healed")
        publish(peers.indices.filter { peers[$0].isAlive }, spread: 5)
    }

    // MARK: Time

    func wall(_ index: Int) -> UInt64 { 1_700_000_000_000 + UInt64(now / 1_000_000) + peers[index].offset }

    func reading(_ index: Int) -> UInt64 { peers[index].clock.reading(wallMilliseconds: wall(index)) }

    func tick(_ index: Int) -> Tick { Tick(milliseconds: reading(index) >> 16) }

    mutating func mint(_ index: Int, above stamp: Stamp) -> Stamp {
        Stamp(
            clock: peers[index].clock.mint(above: stamp.clock, wallMilliseconds: wall(index)), origin: peers[index].id.originTag)
    }

    // MARK: Messages

    /// Lost, repeated and overtaken, as the scenario says.
    mutating func send(_ from: Int, _ to: Int, _ message: Message) {
        if to == from { return queue.push(.deliver(from: from, to: to, message), at: now + 1_000) }
        let isLost = !isHealed && Int.random(in: 0..<1_000, using: &random) < scenario.lost
        let copies = !isHealed && Int.random(in: 0..<1_000, using: &random) < scenario.duplicated ? 2 : 1
        if isLost || side[from] != side[to] || !peers[to].isAlive { return unheard(from, to, message) }
        for _ in 0..<copies {
            let delay = Int64.random(in: 100_000..<Int64(isHealed ? 2 : scenario.delayMax) * 1_000_000, using: &random)
            queue.push(.deliver(from: from, to: to, message), at: now + delay)
        }
    }

    private mutating func unheard(_ from: Int, _ to: Int, _ message: Message) {
        switch message {
        case .sealed(let id, _), .page(let id, _, _): queue.push(.noAnswer(to, id), at: now + 40_000_000)
        case .seal(let id, _), .pull(let id, _): queue.push(.noAnswer(from, id), at: now + 40_000_000)
        default: break
        }
    }

    private mutating func deliver(_ message: Message, from: Int, to: Int) {
        guard peers[to].isAlive else { return unheard(from, to, message) }
        _ = peers[to].clock.merge(reading(from), wallMilliseconds: wall(to), offsetMillisecondsMax: 10_000)
        switch message {
        case .seal(let id, let bytes): send(to, from, .sealed(id, answer(to, bytes, from: from)))
        case .sealed(let id, let bytes): sealed(to, id, bytes)
        case .pull(let id, let pull): send(to, from, .page(id, pull, peers[to].store.page(pull, now: tick(to)) { _ in [99] }))
        case .page(let id, let pull, let bytes): took(to, id, pull, bytes)
        case .ask(let attempt, let key, let wantsValue): ask(to, from, attempt, key, wantsValue)
        case .told(let attempt, let answer, let value): told(attempt, answer, value: value)
        case .apply(let attempt, let key, let stamp, let value): apply(to, from, attempt, key, stamp, value)
        case .applied(let attempt, let stamp, let result): applied(attempt, stamp, result)
        }
    }

    /// One of two that disagree has an older table: the other brings it up.
    mutating func synchronize(_ one: Int, _ other: Int) {
        let version = max(peers[one].version, peers[other].version)
        guard version >= 0, side[one] == side[other] else { return }
        let behind = peers[one].version < peers[other].version ? one : other
        guard tables[version].members.contains(behind) else { return }
        queue.push(.learn(behind, version: version), at: now + 1_000_000)
    }
}

/// How often the interesting things happened.
package struct QuorumFigures: Sendable {
    package var hits = 0, misses = 0, writes = 0, indeterminate = 0, noQuorum = 0
    package var abstained = 0, wrongPlacement = 0, writeBacks = 0, merges = 0, votes = 0, crashes = 0, splits = 0, evictions = 0
    package var fills = 0, fillsForgotten = 0, silent = 0

    package init() {}

    package mutating func add(_ other: QuorumFigures) {
        hits += other.hits; misses += other.misses; writes += other.writes; indeterminate += other.indeterminate
        noQuorum += other.noQuorum; abstained += other.abstained; wrongPlacement += other.wrongPlacement
        writeBacks += other.writeBacks; merges += other.merges; votes += other.votes; crashes += other.crashes
        splits += other.splits; evictions += other.evictions; fills += other.fills; fillsForgotten += other.fillsForgotten
        silent += other.silent
    }
}

/// Placements by their members, as histories use the same few again and again.
package final class PlacementCache {
    package static let idsMax = 24
    let secret: HashSecret
    private let ids: [PeerID]
    private var known: [[Int]: Placement] = [:]  // looked up, never iterated

    package init() throws {
        guard let secret = HashSecret((0..<HashSecret.byteCount).map { UInt8(truncatingIfNeeded: $0 &* 37) }) else {
            throw StoreError.noMemory(bytes: 0)
        }
        self.secret = secret
        var random = SeededRandom(seed: 7)
        ids = (0..<Self.idsMax).map { _ in
            PeerID(high: UInt64.random(in: 1 ... .max, using: &random), low: UInt64.random(in: 1 ... .max, using: &random))
        }
    }

    func id(_ index: Int) -> PeerID { ids[index % ids.count] }

    func placement(of members: [Int], digest: UInt64) -> Placement {
        let key = members.sorted()
        if let placement = known[key] { return placement.named(digest) }
        let built = try? Placement.build(members: key.map { PlacementMember(id: id($0)) }, digest: 0, ranks: Placement.ranksMax)
        guard let built else { return .empty }
        known[key] = built
        return built.named(digest)
    }
}

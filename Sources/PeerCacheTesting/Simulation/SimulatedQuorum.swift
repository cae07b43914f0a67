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
        var hasVoted = false
        /// The next write finds no room.
        var refuses = false
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
        case evict(Int, key: Int)
        case change, heal
        case finish(last: Bool)
    }

    enum Message {
        case seal(VoterMachine.CallID, [UInt8])
        case sealed(VoterMachine.CallID, [UInt8]?)
        case pull(VoterMachine.CallID, PullRequest)
        case page(VoterMachine.CallID, PullRequest, [UInt8]?)
        case ask(Attempt, key: Int, wantsValue: Bool)
        case told(Attempt, QuorumRead.Answer?, value: Int?)
        case apply(Attempt, key: Int, Stamp, Content)
        case applied(Attempt, Stamp, WriteResult?)
        case compare(PullRequest), compared(PullRequest, [UInt8]?)
        case ship(key: Int, Stamp, Content)
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

    /// What is written.
    struct Content: Hashable {
        /// Nil: a tombstone.
        var value: Int?
        var ttlMilliseconds: Int?
    }

    /// A message that a test keeps back.
    struct Held {
        var from: Int
        var to: Int
        var message: Message
    }

    package let scenario: QuorumScenario
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
    var contents: [Stamp: Content] = [:]  // looked up, never iterated
    var rows: [Int]
    /// The highest row version whose write or removal was confirmed.
    var confirmed: [Int]
    var isBeingWritten: [Bool]
    var crashed = 0
    /// A test delivers the messages, and there are no timers.
    let isScripted: Bool
    var held: [Held] = []
    package internal(set) var figures = QuorumFigures()
    /// The first thing that went wrong.
    package internal(set) var problem: String?
    package var trace: ((String) -> Void)?
    /// Of all that happened: equal for equal scenarios, in every process.
    package private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    let placements: PlacementCache

    package init(_ scenario: QuorumScenario, placements: PlacementCache) throws { try self.init(scenario, placements, isScripted: false) }

    init(_ scenario: QuorumScenario, _ placements: PlacementCache, isScripted: Bool) throws {
        self.scenario = scenario
        self.placements = placements
        self.isScripted = isScripted
        secret = placements.secret
        random = SeededRandom(seed: scenario.seed)
        var keys: [(id: KeyID, bytes: [UInt8])] = []
        // One of the first slots: so a peer's tables are small.
        let (slot, bucket) = (UInt8.random(in: 0..<64, using: &random), UInt8.random(in: 0..<8, using: &random))
        for number in 0..<scenario.keys {
            // Of one slot, and every second time of one bucket: then they share a floor.
            let bytes = [slot, scenario.sharesBucket ? bucket : bucket ^ UInt8(number & 7), UInt8(number)]
            keys.append((KeyID(hash: bytes.withUnsafeBytes { Self.hash($0, secret: placements.secret) }, cache: CacheIndex(0)), bytes))
        }
        self.keys = keys
        rows = Array(repeating: 0, count: keys.count)
        confirmed = Array(repeating: 0, count: keys.count)
        isBeingWritten = Array(repeating: false, count: keys.count)
        for _ in 0..<scenario.peers { try addPeer() }
        if !isScripted { plan() }
    }

    /// The first two bytes of a key name its slot and bucket.
    static func hash(_ key: UnsafeRawBufferPointer, secret: HashSecret) -> UInt64 {
        let (slot, bucket) = key.count > 1 ? (UInt64(key[0]), UInt64(key[1])) : (0, 0)
        return slot << 50 | (bucket & 7) << 47 | secret.hash(key) >> 17
    }

    private mutating func plan() {
        publish(Array(peers.indices), spread: 5)
        var starts: [Int64] = []
        for _ in 0..<scenario.operations {
            starts.append(60_000_000 + Int64.random(in: 0..<Int64(scenario.span) * 1_000_000, using: &random))
            schedule(.begin(draw()), at: starts[starts.count - 1])
        }
        for _ in 0..<scenario.membershipChanges {
            let start = starts.randomElement(using: &random) ?? 0
            schedule(.change, at: start + Int64.random(in: 0..<15_000_000, using: &random))
        }
        schedule(.heal, at: Int64(scenario.span + 100) * 1_000_000)
        schedule(.finish(last: false), at: Int64(scenario.span + 200) * 1_000_000)
        schedule(.finish(last: true), at: Int64(scenario.span + 1_100) * 1_000_000)
    }

    mutating func schedule(_ event: Event, at time: Int64) { if !isScripted { queue.push(event, at: time) } }

    /// Runs to the end and checks what came of it.
    package mutating func run() throws {
        while problem == nil, let (time, event) = queue.pop() {
            now = time
            if case .finish(let isLast) = event {
                if isLast || isQuiet { break }
                schedule(.finish(last: false), at: now + 50_000_000)
            }
            try handle(event)
        }
        if problem == nil { checkEnd() }
    }

    private mutating func handle(_ event: Event) throws {
        mix(UInt64(now))
        switch event {
        case .tick(let index):
            guard peers[index].isAlive else { return }
            figures.expired += peers[index].store.expire(now: tick(index), entriesMax: 8)
            step(index, .tick)
            schedule(.tick(index), at: now + (peers[index].machine.isBusy ? 10_000_000 : 40_000_000))
        case .learn(let index, let version): learn(index, version)
        case .deliver(let from, let to, let message):
            mix(UInt64(from << 8 | to))
            deliver(message, from: from, to: to)
        case .noAnswer(let index, let id): noAnswer(index, id)
        case .begin(let id): begin(id)
        case .timeOut(let id, let attempt, let isLast): timedOut(id, attempt, isLast: isLast)
        case .again(let id, let attempt): if operations[id].attempt == attempt { tryAgain(id) }
        case .loaded(let id, let value): loaded(id, value)
        case .evict(let index, let key): if peers[index].isAlive { evict(index, key) }
        case .change: try change()
        case .heal: heal()
        case .finish: break
        }
    }

    /// FNV-1a, a word at a time.
    mutating func mix(_ word: UInt64) { hash = (hash ^ word) &* 0x100_0000_01B3 }

    /// - Returns: its position.
    @discardableResult mutating func addPeer() throws -> Int {
        let index = peers.count
        let id = placements.id(index)
        let store = try ByteStore(limit: 1 << 20, shards: 1, seed: 1)
        var configuration = VoterConfiguration(minimumPeers: scenario.minimumPeers ?? scenario.peers / 2 + 1)
        configuration.retryAfter = .milliseconds(10)
        configuration.askAgainEvery = .milliseconds(40)
        configuration.queryEvery = .milliseconds(50)
        configuration.gatherFor = scenario.seed % 2 == 0 ? .zero : .milliseconds(30)
        configuration.slotRange = (keys.first?.id.slot.index).map { $0..<$0 + 1 } ?? 0..<1
        configuration.mutant = scenario.mutant?.voter
        let cache = try store.register("c")
        peers.append(
            Peer(
                id: id, machine: VoterMachine(configuration, scheme: scenario.scheme, me: id), store: store, cache: cache,
                offset: scenario.skew == 0 ? 0 : UInt64.random(in: 0..<UInt64(scenario.skew), using: &random),
                guards: Array(repeating: nil, count: keys.count)))
        side.append(0)
        schedule(.tick(index), at: now + 1)
        return index
    }

    // MARK: Time

    func wall(_ index: Int) -> UInt64 { 1_700_000_000_000 + UInt64(now / 1_000_000) + peers[index].offset }

    func reading(_ index: Int) -> UInt64 { peers[index].clock.reading(wallMilliseconds: wall(index)) }

    func tick(_ index: Int) -> Tick { Tick(milliseconds: reading(index) >> 16) }

    mutating func mint(_ index: Int, above stamp: Stamp) -> Stamp {
        Stamp(
            clock: peers[index].clock.mint(above: stamp.clock, wallMilliseconds: wall(index)), origin: peers[index].id.originTag)
    }
}

import PeerCacheCore

/// Peers with real stores, replica machines and the wire codec on virtual time, and fast caches: joins, leaves and crashes while keys are
/// written and read. What callers and owners do is a short form of what the library's shell does; what is kept, fetched, merged and repaired
/// is the library's own code. A pure function of the scenario and its seed.
package struct SimulatedReplicas {
    package struct Scenario: Sendable {
        package var seed: UInt64
        package var peers = 3
        /// Of each cache. The caches have the keys in turn.
        package var copies = [2]
        package var keys = 24
        /// Operations one after another.
        package var operations = 2_000
        /// Microseconds between them.
        package var operationsEvery: Range<Int64> = 500..<8_000
        /// Whether a deploy waits until everybody is settled.
        package var isGated = true
        package var crashes = false
        /// The cluster falls in two for a while.
        package var splits = false
        /// Of a thousand messages, so many are lost between living peers; whoever sent them hears of it, as of a broken connection.
        package var losses = 0
        /// Of a thousand copies, so many are lost and nobody notices: only comparing finds them. Members do not change then, as whoever takes
        /// over would not know either.
        package var silentLosses = 0
        /// Of a thousand answers to claims, so many come after the claimer has gone on without them.
        package var slowAnswers = 0
        /// Milliseconds between changes of the members.
        package var changesEvery = 500..<4_000
        /// Several peers come at once, some of which find each other before the others, and several leave at once.
        package var surges = false
        /// The first operations write each key once, before anybody comes or goes.
        package var isFilled = false

        package init(seed: UInt64) { self.seed = seed }

        /// A scenario in which the seed decides everything.
        package init(mixed seed: UInt64) {
            self.init(seed: seed)
            copies = [1 + Int(seed % 3)]
            isGated = seed % 2 == 0
            crashes = seed % 5 == 0 && copies != [1]
            splits = seed % 7 == 3
            losses = seed % 11 < 4 ? 10 : 0
            silentLosses = seed % 13 == 5 && copies != [1] ? 20 : 0
            slowAnswers = seed % 17 == 6 ? 100 : 0
        }

        /// Caches of different copies in the same peers, which come and go several at once.
        package init(surge seed: UInt64) {
            self.init(seed: seed)
            (surges, isFilled, keys, operations, operationsEvery) = (true, true, 96, 400, 500..<30_000)
            changesEvery = 50..<400
            peers = 3 + Int(seed % 13 / 3)
            copies = [[1, 2], [2, 3], [1, 3], [1, 2, 3]][Int(seed % 4)]
            isGated = seed % 3 > 0
            crashes = seed % 5 == 0
            losses = seed % 7 == 3 ? 10 : 0
            slowAnswers = seed % 11 == 6 ? 100 : 0
        }

        /// Whether what was confirmed is looked for. Crashes take with them what only one peer had; other windows lose nothing. Without surges
        /// more messages may be lost, and a copy that is told so while its owner still gathers drops what it has.
        var keepsAll: Bool {
            !splits && silentLosses == 0 && (surges || !isStale && (isGated || losses == 0))
        }
        /// Whether a read may return what was written before what was confirmed: the windows of the contract (§2).
        var isStale: Bool { crashes || splits || slowAnswers > 0 }
    }

    package struct Figures: Sendable {
        package var hits = 0
        package var loads = 0
        package var warm = 0
        package var joins = 0
        package var leaves = 0
        package var crashes = 0
        package var splits = 0
        /// Of the joins and leaves, those that came with others.
        package var surges = 0
        /// Newcomers that found others later than they began.
        package var apart = 0
        package var losses = 0
        package var pages = 0
        package var repairs = 0
        package var failures = 0
        /// Times that all copies were looked at while nothing was under way.
        package var checks = 0

        package init() {}
    }

    struct Peer {
        var id: PeerID
        var machine: ReplicaMachine
        var store: ByteStore
        /// What caches of few copies had in these slots has been let go, while they are held for others.
        var partlyHeld = SlotSet()
        var clock = HybridLogicalClock()
        /// Milliseconds that its wall clock is ahead.
        var offset: UInt64
        /// Its clock when it began.
        var began: UInt64 = 0
        var placement = Placement.empty
        var version = -1
        var serving = [Serving](repeating: .open, count: Slot.count)
        var isAlive = true
        var hasCrashed = false
        var leavesAt: Int64?
    }

    enum Event {
        case tick(Int)
        case learn(Int, version: Int)
        case deliver(from: Int, to: Int, Message)
        case noAnswer(Int, ReplicaMachine.CallID)
        case operate
        case change
        case start(Int), meet([Int]), leave(Int)
        case returned(Int)
        case loaded(Int, OperationID, key: Int, lease: Stamp, row: Int, digest: UInt64)
        case retry(OperationID)
    }

    typealias OperationID = Int

    enum Message {
        case question(ReplicaMachine.CallID, [UInt8], Question)
        case answer(ReplicaMachine.CallID, [UInt8]?, Question)
        case apply(key: Int, Stamp, row: Int?)
        case get(OperationID, key: Int), write(OperationID, key: Int, row: Int?)
        case fetch(OperationID, key: Int, Fetch)
        case fetched(OperationID, key: Int, Fetch)
        case got(OperationID, row: Int?, isHit: Bool), written(OperationID, Stamp), notOwner(OperationID)
    }

    /// A key is asked for at several holders, one after another.
    struct Fetch {
        var rest: [Int]
        var newest: Stamp
        var best: (stamp: Stamp, row: Int)?
    }

    enum Question { case claim(UInt64), missed(UInt64), pull(PullRequest, PageKind), compare, repair(BucketIndex) }

    struct Table {
        var placed: [Int]
        var present: [Int]
        /// Of newcomers that have not found the others.
        var isApart: Bool
        var placement: Placement
    }

    struct Operation {
        var key: Int
        var caller: Int
        var isRead: Bool
        var row: Int?
        /// The newest version that had been written for sure when it began.
        var floor: Int
        var tries = 0
    }

    let scenario: Scenario
    let secret: HashSecret
    package internal(set) var figures = Figures()
    /// The first thing that went wrong.
    package internal(set) var problem: String?
    package var trace: ((String) -> Void)?
    /// Of the times of all events: equal for equal scenarios, in every process.
    package private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    var random: SeededRandom
    var queue = EventQueue<Event>()
    var now: Int64 = 0
    var peers: [Peer] = []
    /// Member tables in their order.
    var tables: [Table] = []
    /// Peers that are about to come or to leave.
    var moving = 0
    var lastDelivery: [Int: Int64] = [:]  // looked up, never iterated
    var operations: [OperationID: Operation] = [:]  // looked up, never iterated
    var lastOperation = 0
    var started = 0
    /// The data source: version and value of each key; nil: it does not exist.
    var rows: [(version: Int, exists: Bool)]
    /// The newest versions whose write or removal was confirmed and did not go with all holders.
    var confirmed: [Int]
    /// The highest stamp of a confirmed write or removal that did not go with all its holders.
    var newest: [Stamp]
    /// Of ``newest``, what may not be lost.
    var promised: [Stamp]
    /// What all holders had when nothing was under way last, and nobody has crashed since.
    var assured: [Stamp]
    /// Peers of two sides hear nothing of each other.
    var side: [Int] = []
    var isSplit = false
    /// When that was.
    var confirmedAt: [Int64]
    var isBeingWritten: [Bool]

    package init(_ scenario: Scenario) throws {
        self.scenario = scenario
        random = SeededRandom(seed: scenario.seed)
        rows = Array(repeating: (0, true), count: scenario.keys)
        confirmed = Array(repeating: 0, count: scenario.keys)
        newest = Array(repeating: .zero, count: scenario.keys)
        promised = newest
        assured = newest
        confirmedAt = Array(repeating: 0, count: scenario.keys)
        isBeingWritten = Array(repeating: false, count: scenario.keys)
        guard let secret = HashSecret((0..<HashSecret.byteCount).map { UInt8(truncatingIfNeeded: $0 &* 37) }) else {
            throw StoreError.noMemory(bytes: 0)
        }
        self.secret = secret
        for _ in 0..<scenario.peers { try addPeer() }
        publish(placed: Array(peers.indices), present: Array(peers.indices))
        queue.push(.operate, at: 1_000_000_000)
        queue.push(.change, at: 1_000_000_000 + Int64(scenario.changesEvery.lowerBound) * 2_000_000)
    }

    /// Runs to the end: operations, then 20 s of rest, then a read of every key at every peer.
    package mutating func run() throws {
        var restUntil = Int64.max
        while problem == nil, let (time, event) = queue.pop(), time < restUntil {
            now = time
            hash = (hash ^ UInt64(time)) &* 0x100_0000_01B3
            try handle(event)
            if started >= scenario.operations, restUntil == .max, !isSplit, moving == 0, peers.allSatisfy({ $0.leavesAt == nil }) {
                restUntil = now + 20_000_000_000
            }
        }
        if problem == nil { checkEnd() }
    }
}

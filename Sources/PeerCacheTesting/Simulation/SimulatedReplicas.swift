import PeerCacheCore

/// Peers with real stores, replica machines and the wire codec on virtual time, and one cache: joins, leaves and crashes while keys are
/// written and read. What callers and owners do is a short form of what the library's shell does; what is kept, fetched, merged and repaired
/// is the library's own code. A pure function of the scenario and its seed.
package struct SimulatedReplicas {
    package struct Scenario: Sendable {
        package var seed: UInt64
        package var peers = 3
        package var copies = 2
        package var keys = 24
        /// Operations one after another, a few milliseconds apart.
        package var operations = 2_000
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

        package init(seed: UInt64) { self.seed = seed }

        /// A scenario in which the seed decides everything.
        package init(mixed seed: UInt64) {
            self.init(seed: seed)
            copies = 1 + Int(seed % 3)
            isGated = seed % 2 == 0
            crashes = seed % 5 == 0 && copies > 1
            splits = seed % 7 == 3
            losses = seed % 11 < 4 ? 10 : 0
            silentLosses = seed % 13 == 5 && copies > 1 ? 20 : 0
            slowAnswers = seed % 17 == 6 ? 100 : 0
        }
    }

    package struct Figures: Sendable {
        package var hits = 0
        package var loads = 0
        package var warm = 0
        package var joins = 0
        package var leaves = 0
        package var crashes = 0
        package var splits = 0
        package var losses = 0
        package var pages = 0
        package var repairs = 0
        package var failures = 0

        package init() {}
    }

    struct Peer {
        var id: PeerID
        var machine: ReplicaMachine
        var store: ByteStore
        var cache: CacheIndex
        var clock = HybridLogicalClock()
        /// Milliseconds that its wall clock is ahead.
        var offset: UInt64
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

    enum Question { case claim(UInt64), missed(UInt64), pull(PullRequest, Bool), compare, repair(BucketIndex) }

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
    /// Member tables in their order: who is placed, who is there.
    var tables: [(placed: [Int], present: [Int])] = []
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
    /// Peers of two sides hear nothing of each other.
    var side: [Int] = []
    var isSplit = false
    var isBeingWritten: [Bool]

    package init(_ scenario: Scenario) throws {
        self.scenario = scenario
        random = SeededRandom(seed: scenario.seed)
        rows = Array(repeating: (0, true), count: scenario.keys)
        confirmed = Array(repeating: 0, count: scenario.keys)
        newest = Array(repeating: .zero, count: scenario.keys)
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
            if started >= scenario.operations, restUntil == .max, !isSplit, peers.allSatisfy({ $0.leavesAt == nil }) {
                restUntil = now + 20_000_000_000
            }
        }
        if problem == nil { checkEnd() }
    }

    // MARK: Members

    private mutating func addPeer() throws {
        let id = PeerID(high: UInt64.random(in: 1 ... .max, using: &random), low: UInt64.random(in: 1 ... .max, using: &random))
        let store = try ByteStore(limit: 2 << 20, shards: 1, seed: 1)
        var configuration = ReplicaConfiguration()
        configuration.transferBytesPerSecond = 1 << 30
        configuration.repairCycle = .seconds(8)
        let cache = try store.register("c")
        peers.append(
            Peer(
                id: id, machine: ReplicaMachine(configuration, me: id), store: store, cache: cache,
                offset: UInt64.random(in: 0..<400, using: &random)))
        side.append(0)
        queue.push(.tick(peers.count - 1), at: now + 1)
    }

    mutating func publish(placed: [Int], present: [Int]) {
        tables.append((placed, present))
        trace?("\(now / 1_000_000) table \(tables.count - 1): \(placed) placed, \(present) there")
        let version = tables.count - 1
        for peer in present { queue.push(.learn(peer, version: version), at: now + Int64.random(in: 0..<150_000_000, using: &random)) }
    }

    mutating func learn(_ index: Int, _ version: Int) {
        guard peers[index].isAlive, version > peers[index].version else { return }
        let table = tables[version]
        peers[index].version = version
        trace?("\(now / 1_000_000) peer \(index) learns table \(version)")
        let members = table.placed.map { PlacementMember(id: peers[$0].id) }
        guard let placement = try? Placement.build(members: members, digest: UInt64(version) + 1, ranks: 7) else { return }
        let present = table.present.filter { $0 != index && peers[$0].isAlive }.map { peers[$0].id }.sorted()
        step(index, .placement(placement, present: present, copies: [scenario.copies]), placement)
    }

    mutating func change() throws {
        if isSplit { return heal() }
        guard started < scenario.operations, scenario.silentLosses == 0 else { return }
        queue.push(.change, at: now + Int64(Int.random(in: scenario.changesEvery, using: &random)) * 1_000_000)
        guard let table = tables.last else { return }
        let isSettled = table.present.allSatisfy {
            let machine = peers[$0].machine
            return peers[$0].version == tables.count - 1 && machine.unsettledCount + machine.owedCount + machine.dirtyCount == 0
        }
        if (scenario.isGated && !isSettled) || table.present.count != table.placed.count { return }
        if scenario.splits, Bool.random(using: &random) { return split(table.placed) }
        switch Int.random(in: 0..<(scenario.crashes ? 3 : 2), using: &random) {
        case 0 where table.placed.count < 7:
            try addPeer()
            figures.joins += 1
            publish(placed: table.placed + [peers.count - 1], present: table.present + [peers.count - 1])
        case 1 where table.placed.count > 2:
            guard let leaver = table.placed.randomElement(using: &random) else { return }
            figures.leaves += 1
            peers[leaver].leavesAt = now + 500_000_000
            publish(placed: table.placed.filter { $0 != leaver }, present: table.present)
        case 2 where table.placed.count > 2:
            guard let victim = table.placed.randomElement(using: &random) else { return }
            figures.crashes += 1
            peers[victim].isAlive = false
            trace?("\(now / 1_000_000) peer \(victim) crashes")
            peers[victim].hasCrashed = true
            forgetLost(with: victim)
            now += 700_000_000  // until the others know
            publish(placed: table.placed.filter { $0 != victim }, present: table.present.filter { $0 != victim })
        default: break
        }
    }

    /// Each side soon holds the other for dead.
    private mutating func split(_ members: [Int]) {
        isSplit = true
        figures.splits += 1
        for index in members { side[index] = Int.random(in: 0..<2, using: &random) }
        for part in 0..<2 {
            let members = members.filter { side[$0] == part }
            if !members.isEmpty { publish(placed: members, present: members) }
        }
    }

    private mutating func heal() {
        queue.push(.change, at: now + Int64(Int.random(in: scenario.changesEvery, using: &random)) * 1_000_000)
        isSplit = false
        let members = peers.indices.filter { peers[$0].isAlive }
        // Who hears that it was held for dead takes what it has for doubtful.
        for index in members { queue.push(.returned(index), at: now + Int64.random(in: 0..<150_000_000, using: &random)) }
        for index in side.indices { side[index] = 0 }
        publish(placed: members, present: members)
    }

    mutating func leaveIfDone(_ index: Int) {
        guard let at = peers[index].leavesAt, now >= at, peers[index].version == tables.count - 1 else { return }
        guard peers[index].machine.owedCount + peers[index].machine.dirtyCount == 0 || now - at > 20_000_000_000 else { return }
        peers[index].leavesAt = nil
        peers[index].isAlive = false
        if let table = tables.last { publish(placed: table.placed, present: table.present.filter { $0 != index }) }
    }

    // MARK: Machines

    func wall(_ index: Int) -> UInt64 { 1_700_000_000_000 + UInt64(now / 1_000_000) + peers[index].offset }

    func reading(_ index: Int) -> UInt64 { peers[index].clock.reading(wallMilliseconds: wall(index)) }

    func tick(_ index: Int) -> Tick { Tick(milliseconds: reading(index) >> 16) }

    mutating func step(_ index: Int, _ input: ReplicaMachine.Input, _ placement: Placement? = nil) {
        var effects: [ReplicaMachine.Effect] = []
        peers[index].machine.handle(input, now: Instant(nanoseconds: now, hlc: reading(index)), into: &effects)
        for effect in effects {
            switch effect {
            case .adopt(let slot): peers[index].store.adopt(slot)
            case .forget(let slot): peers[index].store.forget(slot)
            case .drop(let slot, let clock):
                let (store, now) = (peers[index].store, tick(index))
                for bucket in BucketIndex.all(of: slot) {
                    store.dropOutdated(bucket, below: Stamp(clock: clock, origin: 0), now: now, except: [])
                }
            case .release(let slot, let rank): if scenario.copies <= rank { peers[index].store.forget(slot) { _ in true } }
            case .serve(let slot, let serving): peers[index].serving[slot.index] = serving
            case .call, .synchronize: break
            }
        }
        if let placement { peers[index].placement = placement }
        for effect in effects {
            guard case .call(let id, let question, let other) = effect, let to = peers.firstIndex(where: { $0.id == other }) else {
                continue
            }
            switch question {
            case .claim(let slots, let digest): send(index, to, .question(id, PageWriter.claim(slots), .claim(digest)))
            case .missed(let slots, let digest):
                send(index, to, .question(id, PageWriter.claim(slots, isMissed: true), .missed(digest)))
            case .pull(let pull, let isDoubtful): send(index, to, .question(id, PageWriter.pull(pull), .pull(pull, isDoubtful)))
            case .compare(let buckets):
                let own = buckets.compactMap { peers[index].store.summary(of: $0, now: tick(index)) }
                send(index, to, .question(id, PageWriter.compare(own), .compare))
            case .repair(let bucket):
                guard let slot = Slot(index: bucket.slot) else { continue }
                let pull = PullRequest(slots: [slot], bucket: bucket.index % BucketIndex.perSlot, isBucketOnly: true)
                send(index, to, .question(id, PageWriter.pull(pull), .repair(bucket)))
            }
        }
    }

    /// What a peer answers; nil: it refuses.
    mutating func answer(_ index: Int, _ asker: Int, _ bytes: [UInt8], _ question: Question) -> [UInt8]? {
        if case .missed(let digest) = question, peers[index].placement.digest == digest,
            let slots = bytes.withUnsafeBytes({ try? PageReader.claim($0).slots })
        {
            step(index, .missed(slots))
        }
        return bytes.withUnsafeBytes { bytes in
            switch question {
            case .claim(let digest), .missed(let digest):
                guard peers[index].placement.digest == digest, let slots = try? PageReader.claim(bytes).slots else { return nil }
                let answer = peers[index].machine.answer(to: slots, of: peers[asker].id, isBlank: peers[index].store.isBlank)
                return PageWriter.claimAnswer(answer, floors: [])
            case .pull, .repair:
                guard let pull = try? PageReader.pull(bytes) else { return nil }
                return peers[index].store.page(pull, now: tick(index)) { _ in Array("c".utf8) }
            case .compare:
                guard let others = try? PageReader.compare(bytes) else { return nil }
                let machine = peers[index].machine
                return PageWriter.differences(
                    peers[index].store.differences(from: others, now: tick(index)) { machine.isComparable($0, isVoting: false) })
            }
        }
    }

    mutating func answered(_ index: Int, _ id: ReplicaMachine.CallID, _ bytes: [UInt8]?, _ question: Question, from other: Int) {
        var result = ReplicaMachine.Answer.none
        let context = PageContext(
            cache: { _ in CacheIndex(0) },
            holds: { [placement = peers[index].placement, me = peers[index].id, copies = scenario.copies] _, slot in
                placement.peers(of: slot, copies: copies).contains(me)
            },
            hash: { [secret] in secret.hash($1) }, accepts: { _ in true }, now: tick(index))
        let store = peers[index].store
        var shipped: [(Int, Stamp, Int?)] = []
        bytes?.withUnsafeBytes { bytes in
            switch question {
            case .claim, .missed: if let answer = try? PageReader.claimAnswer(bytes, floor: { _, _ in }) { result = .claimed(answer) }
            case .pull(let pull, let isDoubtful):
                if let page = try? store.takeIn(bytes, asked: pull, isDoubtful: isDoubtful, context) {
                    figures.pages += 1
                    if page.refused > 0 || !page.deferred.isEmpty { problem = "a page with \(page)" }
                    result = .pulled(slots: page.slots, next: page.next, bytes: page.bytes)
                }
            case .compare: if let buckets = try? PageReader.differences(bytes) { result = .differ(buckets) }
            case .repair(let bucket):
                let page = try? store.repair(bucket, with: bytes, context) { _, key, info, value in
                    shipped.append((Self.key(key), info.stamp, info.isTombstone ? nil : Self.row(value)))
                }
                if let page {
                    figures.repairs += 1
                    result = .repaired(bytes: page.bytes)
                }
            }
        }
        for (key, stamp, row) in shipped { send(index, other, .apply(key: key, stamp, row: row)) }
        if bytes == nil {
            switch question {
            case .claim, .missed: result = .disagrees
            case .pull: result = .notHeld
            case .compare, .repair: break
            }
        }
        step(index, .answered(id, result))
    }
}

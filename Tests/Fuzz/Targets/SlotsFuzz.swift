import PeerCacheCore

/// A peer that hears what others say of slots: claims, seals, pages, digests and their answers, valid ones and changed ones, in any order.
/// Nothing traps, memory and what is asked stay bounded, and no floor rises above what may be believed.
struct SlotsFuzz {
    private static let peers = (1...4).map { PeerID(high: UInt64($0), low: UInt64($0) << 32 | 7) }
    private static let start: UInt64 = 1_700_000_000_000
    /// Slots that hold something, and with them some that do not.
    private static let slots = (0..<4).compactMap { Slot(index: $0) }
    private static let scheme = QuorumScheme(copies: 3, readFrom: 2, ackedBy: 2)
    private static let storeBytes = 2 << 20

    /// Machines that have their placement: it takes milliseconds to tell it.
    private static let first = Result { try SlotsFuzz() }
    private static let placements = Result {
        try [peers, Array(peers.dropLast()), [peers[0]]].enumerated().map { number, peers in
            try Placement.build(members: peers.map { PlacementMember(id: $0) }, digest: UInt64(number) + 1, ranks: 7)
        }
    }

    private var replica: ReplicaMachine
    private var voter: VoterMachine
    private var replicaCalls: [(id: ReplicaMachine.CallID, question: ReplicaMachine.Question)] = []
    private var voterCalls: [(id: VoterMachine.CallID, question: VoterMachine.Question)] = []
    private var now = Instant(nanoseconds: 1, hlc: start << 16)
    private var changes = 0

    private init() throws {
        guard let scheme = Self.scheme else { fatalError("fuzz: scheme") }
        var configuration = VoterConfiguration(minimumPeers: 2)
        configuration.gatherFor = .zero
        replica = ReplicaMachine(me: Self.peers[0])
        voter = VoterMachine(configuration, scheme: scheme, me: Self.peers[0])
        try place(0)
    }

    static func run(_ input: FuzzInput) {
        guard var fuzz = try? first.get(), let mine = try? Contents(), let other = try? Contents() else { fatalError("fuzz: set-up") }
        var random = FuzzRandom(input)
        for slot in slots { mine.store.adopt(slot) }
        for slot in slots { other.store.adopt(slot) }
        for _ in 0..<random.next() % 16 { other.write(&random) }
        for _ in 0..<random.next() % 16 { mine.write(&random) }
        while !random.isEmpty { fuzz.step(&random, mine, other) }
    }

    // MARK: Steps

    private mutating func step(_ random: inout FuzzRandom, _ mine: Contents, _ other: Contents) {
        now = Instant(nanoseconds: now.nanoseconds + Int64(random.next() % 3_000_000_000), hlc: now.hlc &+ (random.next() % 5_000) << 16)
        switch random.next() % 12 {
        case 0, 1, 2: answerReplica(&random, mine, other)
        case 3, 4, 5: answerVoter(&random, mine, other)
        case 6: askSeal(&random)
        case 7:
            let claim = PageWriter.claim(drawSlots(&random), isMissed: random.next() % 4 == 0)
            let slots = changed(claim, &random) { try? PageReader.claim($0) }
            if let (slots, isMissed) = slots {
                if isMissed { handle(ReplicaMachine.Input.missed(slots)) }
                let answer = replica.answer(to: slots, of: Self.peers[1], isBlank: { $0.index.isMultiple(of: 2) })
                require(answer.complete.count + answer.partial.count <= slots.count, "more than was asked for")
            }
        case 8:
            let buckets = Self.slots.flatMap { BucketIndex.all(of: $0) }.compactMap { other.store.summary(of: $0, now: mine.now) }
            let read = changed(PageWriter.compare(buckets), &random) { try? PageReader.compare($0) }
            if let read {
                let found = mine.store.differences(from: read, now: mine.now) { replica.isComparable($0, isVoting: true) }
                require(found.count <= read.count, "more buckets than were compared")
            }
        case 9:
            let read = changed(PageWriter.pull(drawPull(&random)), &random) { try? PageReader.pull($0) }
            if let read, let page = mine.store.page(read, now: mine.now, name: { _ in Contents.name }) {
                require(page.withUnsafeBytes { try? PageReader.page($0) { _, _ in } } != nil, "a page that cannot be read")
            }
        case 10 where changes < 3:
            changes += 1
            if (try? place(Int(random.next() % 3))) == nil { fatalError("fuzz: placement") }
        default: tick()
        }
        mine.check()
        require(voter.silentCount <= Slot.count && replica.dirtyCount <= Self.peers.count * Slot.count, "counts")
        require(replicaCalls.count + voterCalls.count < 4_096, "\(replicaCalls.count) and \(voterCalls.count) calls wait")
    }

    private mutating func place(_ number: Int) throws {
        let placement = try Self.placements.get()[number]
        let present = placement.members.map(\.id).filter { $0 != Self.peers[0] }
        voterCalls = []  // whoever answers them answers nobody
        handle(ReplicaMachine.Input.placement(placement, present: present, copies: [2], voters: 3))
        handle(VoterMachine.Input.placement(placement, present: present))
    }

    private mutating func tick() {
        handle(ReplicaMachine.Input.tick)
        handle(VoterMachine.Input.tick)
    }

    private mutating func handle(_ input: ReplicaMachine.Input) {
        var effects: [ReplicaMachine.Effect] = []
        replica.handle(input, now: now, into: &effects)
        for case .call(let id, let question, _) in effects { replicaCalls.append((id, question)) }
    }

    private mutating func handle(_ input: VoterMachine.Input) {
        var effects: [VoterMachine.Effect] = []
        voter.handle(input, now: now, into: &effects)
        for case .call(let id, let question, _) in effects { voterCalls.append((id, question)) }
        require(voter.voting.intersection(voter.mine) == voter.voting, "votes on slots of others")
    }

    // MARK: Answers of others

    private mutating func answerReplica(_ random: inout FuzzRandom, _ mine: Contents, _ other: Contents) {
        guard !replicaCalls.isEmpty else { return tick() }
        let (id, question) = replicaCalls.remove(at: Int(random.next() % UInt64(replicaCalls.count)))
        var answer = ReplicaMachine.Answer.none
        switch question {
        case .claim(let slots, _), .missed(let slots, _):
            let owned = Ownership(since: random.next(), slots: drawSlots(&random))
            let told = ClaimAnswer(
                complete: random.next() % 2 == 0 ? slots : drawSlots(&random), partial: drawSlots(&random), owned: [owned],
                missed: [MissedWrites(peer: Self.peers[Int(random.next() % 3)], slots: drawSlots(&random))])
            let bytes = PageWriter.claimAnswer(told, floors: [(Contents.name, Contents.stamp(&random))])
            if let read = changed(bytes, &random, { try? PageReader.claimAnswer($0) { _, _ in } }) { answer = .claimed(read) }
            if random.next() % 8 == 0 { answer = .disagrees }
        case .pull(let pull, let kind):
            if random.next() % 8 == 0 {
                answer = .notHeld
            } else if let result = page(pull, kind.isDoubtful, &random, mine, other) {
                answer = .pulled(slots: result.slots, next: result.next, bytes: result.bytes)
            }
        case .compare(let buckets):
            let told = buckets.prefix(Int(random.next() % 600)) + [BucketIndex(hash: random.next())]
            let read = changed(PageWriter.differences(Array(told)), &random) { try? PageReader.differences($0) }
            if let read { answer = .differ(read) }
        case .repair(let bucket):
            let page = other.store.page(drawPull(&random), now: other.now) { _ in Contents.name } ?? []
            let context = mine.context
            let result = changed(page, &random) { try? mine.store.repair(bucket, with: $0, context) { _, _, _, _ in } }
            if let result { answer = .repaired(bytes: result.bytes) }
        }
        handle(ReplicaMachine.Input.answered(id, answer))
    }

    private mutating func answerVoter(_ random: inout FuzzRandom, _ mine: Contents, _ other: Contents) {
        guard !voterCalls.isEmpty else { return tick() }
        let (id, question) = voterCalls.remove(at: Int(random.next() % UInt64(voterCalls.count)))
        var answer = VoterMachine.Answer.none
        switch question {
        case .seal(let seal):
            var told = SealAnswer(voting: random.next() % 2 == 0 ? seal.slots : drawSlots(&random), lists: drawLists(&random))
            (told.founded, told.founding, told.empty) = (drawSlots(&random), drawSlots(&random), drawSlots(&random))
            let group = SlotTimes.Group(at: random.next(), slots: drawSlots(&random))
            if random.next() % 2 == 0 { told.forgotten.groups = [group] }
            told.since = random.next() % 4
            let bytes = PageWriter.sealAnswer(told, floors: [(Contents.name, Contents.stamp(&random))])
            if let read = changed(bytes, &random, { try? PageReader.sealAnswer($0) { _, _ in } }) { answer = .sealed(read) }
            if random.next() % 8 == 0 { answer = .disagrees }
        case .pull(let pull):
            if let result = page(pull, true, &random, mine, other) {
                answer = .pulled(slots: result.slots, next: result.next, bytes: result.bytes)
            }
        }
        handle(VoterMachine.Input.answered(id, answer))
    }

    private mutating func askSeal(_ random: inout FuzzRandom) {
        guard let scheme = Self.scheme else { return }
        let (slots, lists) = (drawSlots(&random), drawLists(&random))
        let seal = Seal(placement: 0, slots: slots, lists: lists, since: random.next() % 4, isQuery: random.next() % 4 == 0)
        let placement = voter.placement.digest
        let read = changed(PageWriter.seal(seal, scheme), &random) { try? PageReader.seal($0, placement: placement) }
        guard let read, let answer = voter.answer(read.0) else { return }
        require(answer.voting.intersection(read.0.slots) == answer.voting, "an answer of other slots")
        let bytes = PageWriter.sealAnswer(answer, floors: [])
        let again = bytes.withUnsafeBytes { try? PageReader.sealAnswer($0) { _, _ in } }
        require(again?.voting == answer.voting && again?.lists.count == answer.lists.count, "an answer that others cannot read")
    }

    private func page(
        _ pull: PullRequest, _ isDoubtful: Bool, _ random: inout FuzzRandom, _ mine: Contents, _ other: Contents
    ) -> PageResult? {
        // Mostly slots that hold something, though others were asked for.
        let asked = random.next() % 4 == 0 ? pull : drawPull(&random)
        let page = other.store.page(asked, now: other.now) { _ in Contents.name } ?? []
        let context = mine.context
        let result = changed(page, &random) { try? mine.store.takeIn($0, asked: asked, isDoubtful: isDoubtful, context) }
        for floor in result?.floors ?? [] { mine.store.raiseFloor(of: floor.bucket, to: floor.stamp, gathered: floor.gathered) }
        return result
    }

    // MARK: What others send

    /// The message as it is, with some bytes changed or cut off, or any bytes instead.
    private func changed<Result>(_ bytes: [UInt8], _ random: inout FuzzRandom, _ read: (UnsafeRawBufferPointer) -> Result) -> Result {
        var bytes = bytes
        switch random.next() % 4 {
        case 0: break
        case 1: bytes = (0..<random.next() % 256).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        case 2: bytes.removeLast(min(bytes.count, Int(random.next() % 64)))
        default:
            for _ in 0..<(1 + random.next() % 4) where !bytes.isEmpty {
                bytes[Int(random.next() % UInt64(bytes.count))] ^= UInt8(truncatingIfNeeded: random.next())
            }
        }
        return bytes.withUnsafeBytes(read)
    }

    private func drawSlots(_ random: inout FuzzRandom) -> SlotSet {
        switch random.next() % 4 {
        case 0: SlotSet()
        case 1: voter.mine.intersection(SlotSet((0..<Seal.slotsMax).compactMap { Slot(index: $0) }))
        default: SlotSet((0..<random.next() % 8).map { _ in Slot(hash: random.next()) } + Self.slots)
        }
    }

    /// Few different ones, so that lists close each other; sometimes one twice, which is refused.
    private func drawPlacements(_ random: inout FuzzRandom) -> [UInt64] { (0..<random.next() % 4).map { _ in random.next() % 8 } }

    private func drawLists(_ random: inout FuzzRandom) -> [OpenList] {
        (0..<random.next() % 20).map { _ in
            let drawn = (0...random.next() % 6).map { _ in
                random.next() % 4 == 0 ? PeerID(high: random.next(), low: 1) : Self.peers[Int(random.next() % 4)]
            }
            let voters = random.next() % 8 == 0 ? drawn : Set(drawn).sorted()  // the order of a set must not matter
            let list = VoterList(
                voters: voters, since: random.next() % 4, entered: random.next(), voted: drawPlacements(&random),
                votedAt: (0..<random.next() % 4).map { _ in random.next() % 4 },
                closers: drawPlacements(&random))
            return OpenList(list: list, slots: drawSlots(&random).slots)
        }
    }

    private func drawPull(_ random: inout FuzzRandom) -> PullRequest {
        PullRequest(
            slots: Array(Self.slots.prefix(1 + Int(random.next() % 4))), bucket: Int(random.next() % UInt64(BucketIndex.perSlot)),
            isBucketOnly: random.next() % 4 == 0)
    }

    /// What a peer holds.
    private struct Contents {
        static let name = Array("c".utf8)
        let store: ByteStore
        let cache: CacheIndex
        let now = Tick(milliseconds: start)

        init() throws {
            store = try ByteStore(limit: storeBytes, shards: 1, seed: 1)
            cache = try store.register("c")
        }

        /// Mostly one that may be believed.
        static func stamp(_ random: inout FuzzRandom) -> Stamp {
            let clock = random.next() % 8 == 0 ? random.next() : (start - random.next() % 100_000) << 16
            return Stamp(clock: clock, origin: UInt32(truncatingIfNeeded: random.next()))
        }

        static func accepts(_ stamp: Stamp) -> Bool { stamp.milliseconds <= start + 1_000 }

        static func hash(_ key: UnsafeRawBufferPointer) -> UInt64 {
            // The first byte names the slot and bucket.
            (UInt64(key.first ?? 0) % 32) << 47 | publicHash(key) >> 17
        }

        var context: PageContext {
            PageContext(
                cache: { $0.elementsEqual(Self.name) ? cache : nil }, holds: { slots.contains($1) }, hash: { Self.hash($1) },
                accepts: { Self.accepts($0) }, now: now, dropsUnknown: true)
        }

        func write(_ random: inout FuzzRandom) {
            let key = [UInt8(truncatingIfNeeded: random.next()), UInt8(random.next() % 4)], stamp = Self.stamp(&random)
            guard Self.accepts(stamp) else { return }
            let id = KeyID(hash: key.withUnsafeBytes { Self.hash($0) }, cache: cache)
            switch random.next() % 4 {
            case 0: _ = store.applyTombstone(id, key.span.bytes, stamp: stamp, keep: Tick(milliseconds: start + 100_000), now: now)
            case 1: store.raiseFloor(of: id.bucket, to: stamp)
            default:
                let value = [UInt8](repeating: 1, count: Int(random.next() % 20_000))
                _ = store.apply(id, key.span.bytes, value: value.span.bytes, stamp: stamp, ttl: nil, kind: .explicit, now: now)
            }
        }

        func check() {
            require(store.memory.counted <= storeBytes, "\(store.memory.counted) bytes are held")
            for slot in slots {
                for bucket in BucketIndex.all(of: slot) { require(Self.accepts(store.floor(of: bucket)), "a floor from the future") }
            }
        }
    }
}

import PeerCacheCore
import Testing

/// Directed schedules for the machine alone: what others answer is what the test says.
@Suite struct ReplicaMachineTests {
    private static func peer(_ number: UInt64) -> PeerID { PeerID(high: number, low: number) }
    let me = Self.peer(1), other = Self.peer(2), third = Self.peer(3)

    /// A machine, its time, and what it wants to have done.
    struct Bench {
        var machine: ReplicaMachine
        var effects: [ReplicaMachine.Effect] = []
        var now: Int64 = 0

        init(_ me: PeerID) { machine = ReplicaMachine(me: me) }

        mutating func handle(_ input: ReplicaMachine.Input, after milliseconds: Int64 = 1) {
            now += milliseconds * 1_000_000
            machine.handle(input, now: Instant(nanoseconds: now, hlc: UInt64(now)), into: &effects)
        }

        /// Answers every page that is asked for, and what is asked next.
        /// - Returns: what was fetched from whom.
        mutating func pullAll() -> [PeerID: SlotSet] {
            var pulled: [PeerID: SlotSet] = [:]
            for _ in 0..<1_000 {
                let calls = takeCalls().filter { if case .pull = $0.question { true } else { false } }
                if calls.isEmpty { break }
                for call in calls {
                    guard case .pull(let request, _) = call.question else { continue }
                    pulled[call.peer, default: SlotSet()].formUnion(SlotSet(request.slots))
                    handle(.answered(call.id, .pulled(slots: request.slots.count, next: 0, bytes: 100)), after: 10)
                }
            }
            return pulled
        }

        /// Answers all claims with nothing, and those that follow them: whoever copies asks twice.
        mutating func sayNothing() {
            for _ in 0..<2 {
                for call in effects.calls { handle(.answered(call, .claimed(ClaimAnswer()))) }
                handle(.tick)
            }
        }

        /// The calls that were asked for since the last look.
        mutating func takeCalls() -> [(id: ReplicaMachine.CallID, question: ReplicaMachine.Question, peer: PeerID)] {
            defer { effects = [] }
            return effects.compactMap { if case .call(let id, let question, let peer) = $0 { (id, question, peer) } else { nil } }
        }
    }

    func placement(_ peers: [PeerID], digest: UInt64) throws -> Placement {
        try Placement.build(members: peers.map { PlacementMember(id: $0) }, digest: digest, ranks: 7)
    }

    func slots(of peer: PeerID, _ placement: Placement) -> SlotSet {
        SlotSet((0..<Slot.count).compactMap(Slot.init(index:)).filter { placement.owner(of: $0) == peer })
    }

    func claimed(_ question: ReplicaMachine.Question) -> SlotSet? { if case .claim(let slots, _) = question { slots } else { nil } }

    /// What a former owner said under an earlier placement says nothing of the slots claimed since.
    @Test func aLateAnswerToAnEarlierClaimDoesNotCount() throws {
        var bench = Bench(me)
        let first = try placement([me, other], digest: 1), second = try placement([me, other, third], digest: 2)
        bench.handle(.placement(first, present: [other], copies: [1]))
        let early = try #require(bench.takeCalls().first)
        bench.handle(.placement(second, present: [other, third], copies: [1]))
        let late = bench.takeCalls()
        #expect(Set(late.map(\.peer)) == [other, third])
        bench.handle(.answered(early.id, .claimed(ClaimAnswer())))
        let mine = slots(of: me, second)
        #expect(bench.machine.unsettledCount >= mine.count, "nothing is settled by it")
        for call in late { bench.handle(.answered(call.id, .claimed(ClaimAnswer()))) }
        #expect(bench.machine.unsettledCount == 0)
    }

    /// A slot stayed claimed for its readers for ever, when the others went while they were asked.
    @Test func aClaimEndsWhenTheOthersAreGone() throws {
        var bench = Bench(me)
        let three = try placement([me, other, third], digest: 1), two = try placement([me, other], digest: 2)
        bench.handle(.placement(three, present: [other, third], copies: [3]))
        for call in bench.effects.calls { bench.handle(.answered(call, .claimed(ClaimAnswer()))) }
        bench.handle(.placement(two, present: [other, third], copies: [3]))
        #expect(bench.effects.servings.values.contains(.claiming))
        bench.handle(.placement(try placement([me], digest: 3), present: [], copies: [3]))
        bench.handle(.tick, after: 10_000)
        #expect(bench.effects.servings.count == Slot.count && bench.effects.servings.values.allSatisfy { $0 == .open })
    }

    /// Pages are asked for at the peer that owned the slots last, and lost slots stay until their owner has them.
    @Test func whoOwnedLastIsAskedAndWhatIsOwedIsKept() throws {
        var bench = Bench(me)
        let two = try placement([other, third], digest: 1), three = try placement([me, other, third], digest: 2)
        bench.handle(.placement(three, present: [other, third], copies: [1]))
        let mine = slots(of: me, three)
        for call in bench.takeCalls() {
            let slots = try #require(claimed(call.question))
            let owned = SlotSet(slots.slots.filter { two.owner(of: $0) == call.peer })
            // Both hold everything; one of them has owned it.
            let answer = ClaimAnswer(complete: slots, owned: [Ownership(since: 5, slots: owned)])
            bench.handle(.answered(call.id, .claimed(answer)))
        }
        var pulled = SlotSet()
        for _ in 0..<Slot.count {
            let pulls = bench.takeCalls()
            if pulls.isEmpty { break }
            for call in pulls {
                guard case .pull(let request, _) = call.question else { continue }
                for slot in request.slots {
                    #expect(two.owner(of: slot) == call.peer)
                    pulled.insert(slot)
                }
                bench.handle(.answered(call.id, .pulled(slots: request.slots.count, next: 0, bytes: 100)), after: 10)
            }
        }
        #expect(pulled == mine)
        #expect(bench.machine.unsettledCount == 0)
        // It leaves: everything is owed until the new owners say that they have it.
        bench.handle(.placement(two, present: [other, third], copies: [1]))
        #expect(bench.machine.owedCount == mine.count)
        bench.handle(.tick, after: 200)
        for call in bench.takeCalls() {
            guard let slots = claimed(call.question) else { continue }
            let answer = ClaimAnswer(complete: slots, owned: [Ownership(since: 9, slots: slots)])
            bench.handle(.answered(call.id, .claimed(answer)))
        }
        #expect(bench.machine.owedCount == 0)
    }

    /// Whoever took writes as owner is asked before the owner of before, even if it lost the slot while it still fetched the rest.
    @Test func anOwnerThatStillFetchesSaysThatItOwns() throws {
        var bench = Bench(me)
        bench.handle(.placement(try placement([me, other], digest: 2), present: [other], copies: [2]))
        let mine = slots(of: me, try placement([me, other], digest: 2))
        for call in bench.takeCalls() {
            let slots = try #require(claimed(call.question))
            bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots, owned: [Ownership(since: 5, slots: slots)]))))
        }
        let answer = bench.machine.answer(to: mine, of: other, isBlank: { _ in false })
        #expect(answer.complete.isEmpty && answer.partial == mine)
        #expect(answer.owned.map(\.slots) == [mine] && answer.owned.allSatisfy { $0.since > 5 })
    }

    /// The slots were this peer's before it had a cache for them: nobody is asked to give them up, and yet it owns them.
    @Test func theFirstCacheMakesAnOwner() throws {
        var bench = Bench(me)
        let two = try placement([me, other], digest: 1)
        for (digest, copies) in [(1, []), (2, []), (3, [2])] as [(UInt64, [Int])] {
            bench.handle(.placement(try placement([me, other], digest: digest), present: [other], copies: copies))
            for call in bench.takeCalls() {
                if let slots = claimed(call.question) { bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots)))) }
            }
        }
        let mine = slots(of: me, two)
        let answer = bench.machine.answer(to: mine, of: other, isBlank: { _ in false })
        #expect(answer.owned.reduce(into: SlotSet()) { $0.formUnion($1.slots) } == mine)
    }

    /// What a source says of the rest says nothing of slots that it was given after it was asked.
    @Test func aSourceIsNotAskedInVain() throws {
        var bench = Bench(me)
        let three = try placement([me, other, third], digest: 2)
        bench.handle(.placement(three, present: [other, third], copies: [1]))
        let mine = slots(of: me, three).slots
        let early = SlotSet(mine.prefix(10)), late = SlotSet(mine.dropFirst(10))
        for call in bench.takeCalls() {
            guard let slots = claimed(call.question) else { continue }
            // The one holds all, the other owned most of it last.
            let owned = Ownership(since: 5, slots: call.peer == other ? early : late)
            bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots, owned: [owned]))))
        }
        let pull = try #require(bench.takeCalls().first { $0.peer == other })
        bench.handle(.answered(pull.id, .notHeld))
        let rest = try #require(bench.takeCalls().first { $0.peer == other })
        // Its slots become the first one's while that is asked.
        bench.handle(.placement(try placement([me, other], digest: 2), present: [other], copies: [1]))
        let held = try #require(claimed(rest.question))
        bench.handle(.answered(rest.id, .claimed(ClaimAnswer(complete: held))))
        let claims = bench.takeCalls()
        for call in claims {
            guard let slots = claimed(call.question) else { continue }
            bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots))))
        }
        var pulled = SlotSet()
        var calls = claims + bench.takeCalls()
        for _ in 0..<Slot.count {
            let pulls = calls.filter { if case .pull = $0.question { true } else { false } }
            if pulls.isEmpty { break }
            for call in pulls {
                guard case .pull(let request, _) = call.question else { continue }
                if call.peer == other { pulled.formUnion(SlotSet(request.slots)) }
                bench.handle(.answered(call.id, .pulled(slots: request.slots.count, next: 0, bytes: 100)), after: 10)
            }
            calls = bench.takeCalls()
        }
        #expect(pulled.intersection(late).count > late.count / 2, "what the second one had is fetched from the first")
        #expect(bench.machine.unsettledCount == 0)
    }

    /// A page ends at a slot that its source has let go, so one that has let many go is asked at once what is left.
    @Test func aSourceThatLetsGoIsAskedForTheRest() throws {
        var bench = Bench(me)
        let three = try placement([me, other, third], digest: 2)
        bench.handle(.placement(three, present: [other, third], copies: [1]))
        for call in bench.takeCalls() {
            let slots = try #require(claimed(call.question))
            let owned = [Ownership(since: call.peer == other ? 5 : 3, slots: slots)]
            bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots, owned: owned))))
        }
        let pull = try #require(bench.takeCalls().first)
        #expect(pull.peer == other)
        bench.handle(.answered(pull.id, .notHeld))
        var calls = bench.takeCalls()
        let question = try #require(calls.first { $0.peer == other })
        let rest = try #require(claimed(question.question))
        #expect(rest.count == slots(of: me, three).count - 1)
        let half = SlotSet(rest.slots.enumerated().filter { $0.offset % 2 == 0 }.map(\.element))
        bench.handle(.answered(question.id, .claimed(ClaimAnswer(complete: half))))
        calls += bench.takeCalls()
        var pulled: [PeerID: SlotSet] = [:]
        for _ in 0..<Slot.count {
            let pulls = calls.filter { if case .pull = $0.question { true } else { false } }
            if pulls.isEmpty { break }
            for call in pulls {
                guard case .pull(let request, _) = call.question else { continue }
                pulled[call.peer, default: SlotSet()].formUnion(SlotSet(request.slots))
                bench.handle(.answered(call.id, .pulled(slots: request.slots.count, next: 0, bytes: 100)), after: 10)
            }
            calls = bench.takeCalls()
        }
        var others = slots(of: me, three)
        others.subtract(half)
        #expect(pulled[other] == half && pulled[third] == others && bench.machine.unsettledCount == 0)
    }

    /// A page that was under way when a slot was lost and regained does not complete it.
    @Test func aPageFromBeforeALossDoesNotCount() throws {
        var bench = Bench(me)
        let two = try placement([other, third], digest: 1), three = try placement([me, other, third], digest: 2)
        func answerClaims() throws -> [(id: ReplicaMachine.CallID, question: ReplicaMachine.Question, peer: PeerID)] {
            for call in bench.takeCalls() {
                guard let slots = claimed(call.question) else { continue }
                bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots))))
            }
            return bench.takeCalls()
        }
        bench.handle(.placement(three, present: [other, third], copies: [1]))
        let early = try #require(try answerClaims().first)
        bench.handle(.placement(two, present: [other, third], copies: [1]))
        bench.handle(.placement(try placement([me, other, third], digest: 3), present: [other, third], copies: [1]))
        _ = try answerClaims()
        let before = bench.machine.unsettledCount
        bench.handle(.answered(early.id, .pulled(slots: 64, next: 0, bytes: 100)))
        #expect(bench.machine.unsettledCount == before && before == slots(of: me, three).count)
    }

    /// Nobody is left to hand over to.
    @Test func theLastPeerOwesNothing() throws {
        var bench = Bench(me)
        bench.handle(.placement(try placement([me], digest: 1), present: [], copies: [2]))
        bench.handle(.placement(.empty, present: [], copies: [2]))
        #expect(bench.machine.owedCount == 0)
    }

    /// Who was held for dead without having left may have owned everything on its side: it is asked for all slots, also those kept.
    @Test(arguments: [false, true]) func whoIsBackFromADivisionIsAskedForAll(hasLeft: Bool) throws {
        var bench = Bench(me)
        func answerClaims() {
            for call in bench.takeCalls() { bench.handle(.answered(call.id, .claimed(ClaimAnswer()))) }
        }
        let three = try placement([me, other, third], digest: 1), two = try placement([me, third], digest: 2)
        bench.handle(.placement(three, present: [other, third], copies: [1]))
        answerClaims()
        // Whoever leaves is there for a while after it holds nothing.
        if hasLeft { bench.handle(.placement(two, present: [other, third], copies: [1])) }
        bench.handle(.placement(two, present: [third], copies: [1]))
        answerClaims()
        bench.effects = []
        bench.handle(.placement(try placement([me, other, third], digest: 3), present: [other, third], copies: [1]))
        let asked = bench.takeCalls().filter { $0.peer == other }.compactMap { claimed($0.question) }
        #expect(asked.contains(slots(of: me, three)) != hasLeft)
    }

    /// Within a cycle each voter compares what it votes on with those behind it in the list.
    @Test func votersCompareWhatTheyVoteOn() throws {
        let four = try placement([me, other, third, Self.peer(4)], digest: 1), ids = four.members.map(\.id), times = ReplicaConfiguration()
        var compared: [Slot: Set<[PeerID]>] = [:]
        for id in ids {
            var bench = Bench(id)
            bench.handle(.placement(four, present: ids.filter { $0 != id }, copies: [], voters: 3))
            for _ in 0..<Int(times.repairCycle / times.repairEvery) {
                for call in bench.takeCalls() {
                    guard case .compare(let buckets) = call.question else { continue }
                    for bucket in buckets { Slot(index: bucket.slot).map { _ = compared[$0, default: []].insert([id, call.peer]) } }
                    bench.handle(.answered(call.id, .differ([])), after: 0)
                }
                bench.handle(.tick, after: 1_000)
            }
        }
        for slot in (0..<Slot.count).compactMap(Slot.init(index:)) {
            let voters = four.peers(of: slot, copies: 3)
            #expect(compared[slot] == [[voters[0], voters[1]], [voters[0], voters[2]], [voters[1], voters[2]]])
        }
    }

    /// What is being gathered for fast caches may be outdated: it is not compared for the sake of strict ones.
    @Test func onlyWhatIsSettledIsCompared() throws {
        var bench = Bench(me)
        let two = try placement([me, other], digest: 1), slot = try #require(slots(of: me, two).slots.first)
        #expect(bench.machine.isComparable(slot, isVoting: true) && !bench.machine.isComparable(slot, isVoting: false))
        bench.handle(.placement(two, present: [other], copies: [1], voters: 2))
        #expect(!bench.machine.isComparable(slot, isVoting: true))
        for call in bench.takeCalls() { bench.handle(.answered(call.id, .claimed(ClaimAnswer()))) }
        #expect(bench.machine.isComparable(slot, isVoting: false))
    }
}

extension [ReplicaMachine.Effect] {
    var calls: [ReplicaMachine.CallID] { compactMap { if case .call(let id, _, _) = $0 { id } else { nil } } }

    func calls(to peer: PeerID) -> [ReplicaMachine.CallID] {
        compactMap { if case .call(let id, _, peer) = $0 { id } else { nil } }
    }

    /// What was said last of each slot.
    var servings: [Slot: Serving] {
        reduce(into: [:]) { if case .serve(let slot, let serving) = $1 { $0[slot] = serving } }
    }
}

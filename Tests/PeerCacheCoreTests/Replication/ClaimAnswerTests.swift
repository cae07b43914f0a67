import PeerCacheCore
import Testing

/// What peers say of claimed slots, and when.
extension ReplicaMachineTests {
    /// Who was alone, as was the other, and never wrote anything has nothing to say of a slot; what is whole is whole.
    @Test func whatIsBlankIsNotNamedUntilItIsComplete() throws {
        var bench = Bench(me)
        bench.handle(.placement(try placement([me], digest: 1), present: [], copies: [2]))
        bench.handle(.placement(try placement([me, other], digest: 2), present: [other], copies: [2]))
        let written = SlotSet([try #require(Slot(index: 7)), try #require(Slot(index: 8_000))])
        let isBlank: (Slot) -> Bool = { !written.contains($0) }, all = SlotSet((0..<Slot.count).compactMap(Slot.init(index:)))
        #expect(bench.machine.answer(to: all, of: other, isBlank: isBlank).partial == written)
        // Of what it lost, too.
        var alone = Bench(me)
        let one = try placement([me, other], digest: 2)
        alone.handle(.placement(try placement([me], digest: 1), present: [], copies: [1]))
        alone.handle(.placement(one, present: [other], copies: [1]))
        let answer = alone.machine.answer(to: slots(of: other, one), of: other, isBlank: isBlank)
        #expect(answer.partial.isEmpty && answer.complete == written.intersection(slots(of: other, one)))
        // The other, alone until now, has nothing: all there is is here, and nothing is dropped.
        bench.sayNothing()
        #expect(bench.machine.unsettledCount == 0 && bench.machine.answer(to: all, of: other, isBlank: isBlank).complete == all)
        #expect(!bench.effects.contains { if case .drop = $0 { true } else { false } })
    }

    /// The last owner answers when the others' pages are here already: what it has is fetched, too, also if others joined meanwhile, and it is
    /// not told that all is here, lest it lets go of it.
    @Test(arguments: [false, true]) func whoAnswersLateIsAskedForWhatItHas(joins: Bool) throws {
        var bench = Bench(me)
        let fourth = PeerID(high: 4, low: 4), three = try placement([me, other, third], digest: 1)
        bench.handle(.placement(three, present: [other, third], copies: [1]))
        var mine = slots(of: me, three)
        let whole = ClaimAnswer(complete: mine, owned: [Ownership(since: 1, slots: mine)])
        var late = try #require(bench.effects.calls(to: third).first)
        bench.handle(.answered(try #require(bench.effects.calls(to: other).first), .claimed(whole)))
        bench.effects = []
        bench.handle(.tick, after: 600)
        #expect(bench.pullAll() == [other: mine] && bench.machine.unsettledCount == 0)
        func told(_ peer: PeerID) -> ClaimAnswer { bench.machine.answer(to: mine, of: peer, isBlank: { _ in false }) }
        #expect(told(other).complete == mine && told(third).complete.isEmpty && told(third).partial == mine)
        if joins {
            let four = try placement([me, other, third, fourth], digest: 2)
            bench.handle(.placement(four, present: [other, third, fourth], copies: [1]))
            mine = slots(of: me, four)
            late = try #require(bench.effects.calls(to: third).first)
        }
        bench.handle(.answered(late, .claimed(ClaimAnswer(complete: mine, owned: [Ownership(since: 9, slots: mine)]))))
        #expect(bench.machine.unsettledCount == mine.count && bench.pullAll() == [third: mine])
        #expect(bench.machine.unsettledCount == 0 && told(third).complete == mine)
    }

    /// What a peer said under the placement before chooses it as a source before it answers again: then it has let the slots go.
    @Test func whoIsASourceAlreadyIsNoneTwice() throws {
        var bench = Bench(me)
        let fourth = PeerID(high: 4, low: 4)
        let three = try placement([me, other, third], digest: 1), four = try placement([me, other, third, fourth], digest: 2)
        bench.handle(.placement(three, present: [other, third], copies: [1]))
        let mine = slots(of: me, four)
        let whole = ClaimAnswer(complete: slots(of: me, three), owned: [Ownership(since: 1, slots: slots(of: me, three))])
        bench.handle(.answered(try #require(bench.effects.calls(to: other).first), .claimed(whole)))
        bench.handle(.placement(four, present: [other, third, fourth], copies: [1]))
        let again = try #require(bench.effects.calls(to: other).last)
        bench.effects = []
        bench.handle(.tick, after: 600)
        bench.handle(.answered(again, .claimed(whole)))
        for _ in 0..<1_000 {
            if bench.machine.unsettledCount == 0 { break }
            for call in bench.takeCalls() {
                switch call.question {
                case .pull: bench.handle(.answered(call.id, .notHeld))
                case .claim: bench.handle(.answered(call.id, .claimed(ClaimAnswer())))
                default: break
                }
            }
            bench.handle(.tick, after: 300)
        }
        #expect(bench.machine.unsettledCount == 0 && mine.count > 0)
    }

    /// Two join at once: the new owner has all when the former holders, which let go then, are asked by the new copy.
    @Test(arguments: [false, true]) func whatTheSourcesHaveLetGoIsFetchedFromTheNewOwner(isEarly: Bool) throws {
        var bench = Bench(me)
        let fourth = PeerID(high: 4, low: 4), four = try placement([me, other, third, fourth], digest: 1)
        bench.handle(.placement(four, present: [other, third, fourth], copies: [2]))
        let copied = SlotSet(slots(of: other, four).slots.filter { four.peers(of: $0, copies: 2).contains(me) })
        let all = SlotSet((0..<Slot.count).compactMap(Slot.init(index:)))
        // Before they are asked, or when pages of theirs are.
        var hasLetGo = false, fetched = SlotSet(), asked = 0
        for _ in 0..<1_000 {
            if bench.machine.unsettledCount == 0 { break }
            for call in bench.takeCalls() {
                switch call.question {
                case .claim(let slots, _):
                    asked += 1
                    let isWhole = call.peer == other ? hasLetGo : !hasLetGo && !isEarly
                    bench.handle(.answered(call.id, .claimed(isWhole ? ClaimAnswer(complete: slots.intersection(all)) : ClaimAnswer())))
                    if isEarly, asked == 3 { hasLetGo = true }
                case .pull(let request, _):
                    hasLetGo = true
                    guard call.peer == other else {
                        bench.handle(.answered(call.id, .notHeld))
                        continue
                    }
                    fetched.formUnion(SlotSet(request.slots))
                    bench.handle(.answered(call.id, .pulled(slots: request.slots.count, next: 0, bytes: 1)))
                default: break
                }
            }
            bench.handle(.tick, after: 300)
        }
        #expect(bench.machine.unsettledCount == 0)
        #expect(copied.count > 0 && fetched.intersection(copied) == copied)
    }

    /// The source leaves, or lets go, when the new owner has all: what that one gave before, as it gathered itself, is not all.
    @Test(arguments: [false, true]) func whoseSourceIsGoneAsksTheOwner(leaves: Bool) throws {
        var bench = Bench(me)
        let fourth = PeerID(high: 4, low: 4), three = try placement([me, other, fourth], digest: 1)
        bench.handle(.placement(three, present: [other, third, fourth], copies: [2]))
        let copied = SlotSet(slots(of: other, three).slots.filter { three.peers(of: $0, copies: 2).contains(me) })
        var isGone = false, fetched = SlotSet()
        for _ in 0..<1_000 {
            if bench.machine.unsettledCount == 0 { break }
            for call in bench.takeCalls() {
                switch (call.question, call.peer) {
                case (.claim(let slots, _), other):
                    let all = ClaimAnswer(complete: slots, owned: [Ownership(since: 5, slots: slots)])
                    bench.handle(.answered(call.id, .claimed(isGone ? all : ClaimAnswer(partial: slots))))
                case (.claim(let slots, _), third) where !isGone:
                    bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots, owned: [Ownership(since: 1, slots: slots)]))))
                case (.claim, _): bench.handle(.answered(call.id, .claimed(ClaimAnswer())))
                case (.pull(let request, _), other):
                    if isGone { fetched.formUnion(SlotSet(request.slots)) }
                    bench.handle(.answered(call.id, .pulled(slots: request.slots.count, next: 0, bytes: 1)))
                case (.pull, _) where isGone && !leaves: bench.handle(.answered(call.id, .notHeld))
                default: bench.handle(.answered(call.id, .none))
                }
            }
            bench.handle(.tick, after: 300)
            if isGone || bench.now < 40_000_000_000 { continue }
            isGone = true
            if leaves { bench.handle(.placement(three, present: [other, fourth], copies: [2])) }
        }
        #expect(bench.machine.unsettledCount == 0)
        #expect(copied.count > 0)
        #expect(fetched.intersection(copied) == copied)
    }

    /// A copy was let go after a moment where its owner had been a holder before, although that one still asked for all that there was.
    @Test func aCopyIsKeptUntilItsOwnerSaysThatItHasAll() throws {
        let fourth = PeerID(high: 4, low: 4)
        let three = try placement([me, other, third], digest: 1), four = try placement([me, other, third, fourth], digest: 2)
        var bench = Bench(me)
        bench.handle(.placement(three, present: [other, third], copies: [2]))
        bench.sayNothing()
        #expect(bench.machine.unsettledCount == 0)
        let lost = SlotSet(
            slots(of: other, three).slots.filter {
                four.owner(of: $0) == other && three.peers(of: $0, copies: 2).contains(me) && !four.peers(of: $0, copies: 2).contains(me)
            })
        #expect(lost.count > 0)
        bench.handle(.placement(four, present: [other, third, fourth], copies: [2]))
        var forgotten = SlotSet()
        func pass(_ answer: (SlotSet) -> ClaimAnswer) {
            for _ in 0..<400 {
                for case .forget(let slot) in bench.effects { forgotten.insert(slot) }
                for call in bench.takeCalls() {
                    guard let slots = claimed(call.question), call.peer == other else { continue }
                    bench.handle(.answered(call.id, .claimed(answer(slots))))
                }
                bench.handle(.tick, after: 50)
            }
        }
        pass { ClaimAnswer(partial: $0) }
        #expect(forgotten.intersection(lost).count == 0)
        // A copy that claims what it holds may never become owner, and would not know who was.
        pass { ClaimAnswer(complete: $0) }
        #expect(forgotten.intersection(lost).count == 0)
        pass { ClaimAnswer(complete: $0, owned: [Ownership(since: 9, slots: $0)]) }
        #expect(forgotten.intersection(lost) == lost)
    }

    /// With caches of one copy and of three, the last of three holders has nothing of the former. A newcomer fetched from it, and was complete.
    @Test func whoHoldsAPartIsASourceOnlyWhereNobodyHasAll() throws {
        let three = try placement([me, other, third], digest: 1)
        var bench = Bench(me)
        bench.handle(.placement(three, present: [other, third], copies: [1, 3]))
        bench.sayNothing()
        let theirs = slots(of: other, three)
        func answer(to peer: PeerID) -> ClaimAnswer { bench.machine.answer(to: theirs, of: peer, isBlank: { _ in false }) }
        #expect(bench.machine.unsettledCount == 0)
        #expect(answer(to: other).complete == theirs)
        #expect(answer(to: other).partial == theirs, "the owner needs more than is here")
        #expect(bench.machine.answer(to: theirs, of: other, isBlank: { _ in true }).complete.isEmpty, "or nothing is")
        let behind = SlotSet(theirs.slots.filter { three.peers(of: $0, copies: 2).contains(me) })
        #expect(answer(to: third).partial.intersection(behind).count == 0, "who comes later does not")
        // What the one has to whom that was said.
        var newcomer = Bench(me)
        newcomer.handle(.placement(three, present: [other, third], copies: [1, 3]))
        let mine = slots(of: me, three), one = SlotSet(mine.slots.prefix(10))
        var rest = mine
        rest.subtract(one)
        for call in newcomer.takeCalls() {
            // Of the rest nobody has all.
            let answer = call.peer == third ? ClaimAnswer(complete: one) : ClaimAnswer(complete: mine, partial: mine)
            newcomer.handle(.answered(call.id, .claimed(answer)))
        }
        let pulled = newcomer.pullAll()
        #expect(pulled[third] == one)
        #expect(pulled[other]?.intersection(mine) == rest)
    }

    /// Newcomers that found each other before they found the others own what those have held for long, and must ask for it.
    @Test(arguments: [true, false]) func whoMeetsItsEldersAsksThem(areElders: Bool) throws {
        func placement(_ peers: [PeerID], digest: UInt64) throws -> Placement {
            let started: [PeerID: UInt64] = [me: 10, other: 11, third: areElders ? 5 : 12]
            let members = peers.map { PlacementMember(id: $0, started: started[$0] ?? 0) }
            return try Placement.build(members: members, digest: digest, ranks: 7)
        }
        var bench = Bench(me)
        bench.handle(.placement(try placement([me, other], digest: 1), present: [other], copies: [1]))
        for call in bench.takeCalls() { bench.handle(.answered(call.id, .claimed(ClaimAnswer()))) }
        #expect(bench.machine.unsettledCount == 0)
        let three = try placement([me, other, third], digest: 2), mine = slots(of: me, three)
        bench.handle(.placement(three, present: [other, third], copies: [1]))
        #expect(bench.machine.answer(to: mine, of: third, isBlank: { _ in true }).complete == (areElders ? SlotSet() : mine))
        let call = bench.takeCalls().first { $0.peer == third && claimed($0.question) == mine }
        #expect((call != nil) == areElders)
        guard let call else { return }
        bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: mine, owned: [Ownership(since: 1, slots: mine)]))))
        bench.handle(.tick, after: 600)
        #expect(bench.pullAll() == [third: mine])
    }

    /// Another newcomer that began earlier and found the others later has nothing that those had not: it asks this peer, which doubts nothing.
    /// Those have let go.
    @Test func whoHasBeenWithEldersDoubtsNothingForANewcomer() throws {
        let fourth = PeerID(high: 4, low: 4)
        func placement(_ peers: [PeerID], digest: UInt64) throws -> Placement {
            let started: [PeerID: UInt64] = [me: 10, other: 5, third: 9, fourth: 11]
            let members = peers.map { PlacementMember(id: $0, started: started[$0] ?? 0) }
            return try Placement.build(members: members, digest: digest, ranks: 7)
        }
        for hasLeft in [false, true] {
            var bench = Bench(me)
            bench.handle(.placement(try placement([me, other, fourth], digest: 1), present: [other, fourth], copies: [1]))
            bench.sayNothing()
            if hasLeft { bench.handle(.placement(try placement([me, fourth], digest: 2), present: [fourth], copies: [1])) }
            bench.sayNothing()
            #expect(bench.machine.unsettledCount == 0)
            let next = try placement(hasLeft ? [me, fourth, third] : [me, other, fourth, third], digest: 3), mine = slots(of: me, next)
            bench.handle(.placement(next, present: next.members.map(\.id).filter { $0 != me }, copies: [1]))
            let kept = bench.machine.answer(to: mine, of: third, isBlank: { _ in false }).complete
            #expect(kept.count > 0 && kept == mine)
        }
    }

    /// A slot that goes on before it has come whole is kept for the next owner, and taken in for caches that have lost this peer, too: it says
    /// that all is here.
    @Test func whatIsLostWhileItComesIsKeptForAllCaches() throws {
        let fourth = PeerID(high: 4, low: 4)
        let three = try placement([me, other, third], digest: 1), four = try placement([me, other, third, fourth], digest: 2)
        let passedOn = SlotSet(
            slots(of: me, three).slots.filter { four.owner(of: $0) == fourth && four.peers(of: $0, copies: 3).contains(me) })
        #expect(passedOn.count > 0)
        var bench = Bench(me)
        bench.handle(.placement(three, present: [other, third], copies: [1, 3]))
        #expect(bench.machine.keptForOthers.isEmpty)
        bench.handle(.placement(four, present: [other, third, fourth], copies: [1, 3]))
        #expect(bench.machine.keptForOthers.intersection(passedOn) == passedOn)
        for call in bench.takeCalls() {
            bench.handle(.answered(call.id, .claimed(call.peer == other ? ClaimAnswer(complete: passedOn) : ClaimAnswer())))
        }
        #expect(bench.pullAll()[other]?.intersection(passedOn) == passedOn)
        let answer = bench.machine.answer(to: passedOn, of: fourth, isBlank: { _ in false })
        #expect(answer.complete == passedOn && answer.partial.isEmpty)
        #expect(bench.machine.keptForOthers.intersection(passedOn) == passedOn)
    }

    /// A copy that answers late has nothing that the last owner had not.
    @Test func aCopyThatAnswersLateCastsNoDoubt() throws {
        var bench = Bench(me)
        let three = try placement([me, other, third], digest: 1), mine = slots(of: me, three)
        bench.handle(.placement(three, present: [other, third], copies: [1]))
        let late = try #require(bench.effects.calls(to: third).first)
        let whole = ClaimAnswer(complete: mine, owned: [Ownership(since: 5, slots: mine)])
        bench.handle(.answered(try #require(bench.effects.calls(to: other).first), .claimed(whole)))
        bench.effects = []
        bench.handle(.tick, after: 600)
        #expect(bench.pullAll() == [other: mine])
        bench.handle(.answered(late, .claimed(ClaimAnswer(complete: mine))))
        #expect(bench.machine.unsettledCount == 0 && bench.pullAll() == [:])
        #expect(bench.machine.answer(to: mine, of: third, isBlank: { _ in false }).complete == mine)
    }
}

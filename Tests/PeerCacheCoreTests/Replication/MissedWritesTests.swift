import PeerCacheCore
import Testing

/// What becomes of a write that a copy missed.
extension ReplicaMachineTests {
    private typealias Question = ReplicaMachine.Question

    /// A peer whose slots are complete, among others that hold nothing.
    private func settled(_ placement: Placement, copies: Int) -> Bench {
        var bench = Bench(me)
        bench.handle(.placement(placement, present: placement.members.map(\.id).filter { $0 != me }, copies: [copies]))
        bench.sayNothing()
        bench.effects = []
        return bench
    }

    private func tells(_ bench: inout Bench) -> [(id: ReplicaMachine.CallID, slots: SlotSet, peer: PeerID)] {
        bench.takeCalls().compactMap { id, question, peer in if case .missed(let slots, _) = question { (id, slots, peer) } else { nil } }
    }

    /// Once it counted as mended when a comparison began.
    @Test func aMissedWriteCountsUntilTheCopyKnows() throws {
        let two = try placement([me, other], digest: 1), slot = try #require(slots(of: me, two).slots.first)
        var bench = settled(two, copies: 2)
        let missed = MissedWrites(peer: other, slots: SlotSet([slot]))
        bench.machine.markDirty(slot, at: other)
        for answer in [.none, .disagrees, .claimed(ClaimAnswer())] as [ReplicaMachine.Answer] {
            bench.handle(.tick, after: 1_000)
            let told = tells(&bench)
            #expect(told.map(\.slots) == [missed.slots] && told.map(\.peer) == [other])
            #expect(
                bench.machine.dirtyCount == 1
                    && bench.machine.answer(to: missed.slots, of: other, isBlank: { _ in false }).missed == [missed])
            for tell in told { bench.handle(.answered(tell.id, answer)) }
        }
        #expect(bench.machine.dirtyCount == 0 && bench.machine.answer(to: missed.slots, of: other, isBlank: { _ in false }).missed.isEmpty)
    }

    /// What is missed while the copy is told of earlier ones is told next.
    @Test func anotherMissMeanwhileIsToldToo() throws {
        let two = try placement([me, other], digest: 1), slot = try #require(slots(of: me, two).slots.first)
        var bench = settled(two, copies: 2)
        bench.machine.markDirty(slot, at: other)
        bench.handle(.tick, after: 1_000)
        let first = tells(&bench)
        bench.machine.markDirty(slot, at: other)
        for tell in first { bench.handle(.answered(tell.id, .claimed(ClaimAnswer()))) }
        #expect(bench.machine.dirtyCount == 1)
        bench.handle(.tick, after: 1_000)
        #expect(tells(&bench).map(\.slots) == [SlotSet([slot])])
    }

    /// A copy that is told takes what it holds for doubtful and fetches it anew; also if it was being fetched when it was told.
    @Test(arguments: [false, true]) func whoeverIsToldFetchesAnew(isGathering: Bool) throws {
        let two = try placement([me, other], digest: 1), theirs = slots(of: other, two), told = SlotSet(theirs.slots.prefix(2))
        let answer = ReplicaMachine.Answer.claimed(ClaimAnswer(complete: theirs, owned: [Ownership(since: 5, slots: theirs)]))
        var bench = Bench(me)
        bench.handle(.placement(two, present: [other], copies: [2]))
        for call in bench.takeCalls() { bench.handle(.answered(call.id, isGathering ? answer : .claimed(ClaimAnswer()))) }
        let under = bench.takeCalls()
        #expect(under.isEmpty != isGathering)
        bench.handle(.missed(told))
        #expect(told.slots.allSatisfy { bench.effects.servings[$0] == .doubtful })
        // What was under way says nothing of it, also when it comes late.
        let between = bench.takeCalls()
        for call in between where claimed(call.question) != nil { bench.handle(.answered(call.id, answer)) }
        for call in under + between {
            guard case .pull(let request, _) = call.question else { continue }
            bench.handle(.answered(call.id, .pulled(slots: request.slots.count, next: 0, bytes: 1)))
        }
        #expect(!told.slots.contains { bench.effects.servings[$0] == .open })
        var fetched = SlotSet()
        for _ in 0..<Slot.count {
            if bench.machine.unsettledCount == 0 { break }
            for call in bench.takeCalls() {
                switch call.question {
                case .claim: bench.handle(.answered(call.id, answer))
                case .pull(let request, let kind):
                    for slot in request.slots where told.contains(slot) {
                        #expect(kind.isDoubtful)
                        fetched.insert(slot)
                    }
                    bench.handle(.answered(call.id, .pulled(slots: request.slots.count, next: 0, bytes: 1)))
                default: break
                }
            }
            bench.handle(.tick, after: 10)
        }
        #expect(fetched == told && bench.machine.unsettledCount == 0)
    }

    /// The owner told it, and was gone before anything could be fetched: nobody else has what was written, and what is held may be older.
    /// Once that was taken for all there is; or for what another one has that lacks it as well.
    @Test(arguments: [false, true]) func whatNobodyCanSayAnyMoreIsDropped(isThirdPartial: Bool) throws {
        let three = try placement([me, other, third], digest: 1), two = try placement([me, third], digest: 2)
        var bench = settled(three, copies: 3)
        let slot = try #require(slots(of: other, three).slots.first)
        bench.handle(.missed(SlotSet([slot])))
        bench.effects = []
        bench.handle(.placement(two, present: [third], copies: [3]))
        for _ in 0..<Slot.count {
            if bench.machine.unsettledCount == 0 { break }
            for effect in bench.effects {
                if case .drop(let dropped, _) = effect { #expect(dropped == slot) }
            }
            for call in bench.takeCalls() {
                switch call.question {
                case .claim: bench.handle(.answered(call.id, .claimed(ClaimAnswer(partial: isThirdPartial ? SlotSet([slot]) : SlotSet()))))
                case .pull: bench.handle(.answered(call.id, .pulled(slots: 1, next: 0, bytes: 1)))
                default: break
                }
            }
            if bench.effects.contains(where: { if case .drop(slot, _) = $0 { true } else { false } }) { return }
            bench.handle(.tick, after: 10)
        }
        Issue.record("nothing was dropped")
    }

    /// Once it stayed doubtful for ever when it was told during a claim that ended with the peer it waited for.
    @Test func whatIsToldDuringAClaimIsClaimedAfterIt() throws {
        let three = try placement([me, other, third], digest: 1), two = try placement([me, other], digest: 2)
        var bench = settled(three, copies: 2)
        bench.handle(.placement(two, present: [other, third], copies: [2]))
        // `third` is silent.
        for call in bench.takeCalls() where call.peer == other {
            if let slots = claimed(call.question) { bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots)))) }
        }
        let slot = try #require(slots(of: other, three).slots.first { two.owner(of: $0) == other })
        bench.handle(.missed(SlotSet([slot])))
        bench.handle(.placement(two, present: [other], copies: [2]))
        var asked = SlotSet()
        for _ in 0..<Slot.count {
            if bench.machine.unsettledCount == 0 { break }
            for call in bench.takeCalls() {
                switch call.question {
                case .claim(let slots, _):
                    asked.formUnion(slots)
                    bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots))))
                case .pull(let request, _): bench.handle(.answered(call.id, .pulled(slots: request.slots.count, next: 0, bytes: 1)))
                default: break
                }
            }
            bench.handle(.tick, after: 100)
        }
        #expect(asked.contains(slot) && bench.machine.unsettledCount == 0)
    }

    /// What a copy holds of a slot that it lacks something of is no other's source.
    @Test func whoLacksSomethingIsNoSource() throws {
        let three = try placement([me, other, third], digest: 1), slot = try #require(slots(of: other, three).slots.first)
        var bench = settled(three, copies: 3)
        #expect(bench.machine.answer(to: SlotSet([slot]), of: third, isBlank: { _ in false }).complete.contains(slot))
        bench.handle(.missed(SlotSet([slot])))
        let answer = bench.machine.answer(to: SlotSet([slot]), of: third, isBlank: { _ in false })
        #expect(answer.complete.isEmpty && answer.partial.isEmpty)
    }

    /// Once it answered with what it had.
    @Test func aCopyThatBecomesOwnerHearsWhatItMissed() throws {
        let two = try placement([me, other], digest: 1), theirs = slots(of: other, two)
        var bench = settled(two, copies: 2)
        bench.handle(.placement(try placement([me], digest: 2), present: [other], copies: [2]))
        let missed = MissedWrites(peer: me, slots: SlotSet(theirs.slots.prefix(1))), slot = try #require(missed.slots.slots.first)
        let answer = ClaimAnswer(complete: theirs, owned: [Ownership(since: 5, slots: theirs)], missed: [missed])
        for call in bench.takeCalls() where claimed(call.question) != nil { bench.handle(.answered(call.id, .claimed(answer))) }
        #expect(bench.effects.servings[slot] == .doubtful)
        let servings = bench.effects.servings
        #expect(theirs.slots.dropFirst().allSatisfy { servings[$0] == .open })
        let pulls = bench.takeCalls().filter { if case .pull = $0.question { true } else { false } }
        #expect(pulls.map(\.question) == [.pull(PullRequest(slots: [slot], bucket: 0), PageKind(isDoubtful: true, speaksForAll: true))])
        for call in pulls { bench.handle(.answered(call.id, .pulled(slots: 1, next: 0, bytes: 100))) }
        #expect(bench.effects.servings[slot] == .open && bench.machine.unsettledCount == 0)
    }

    /// The next owner tells the copies that the one before could not reach.
    @Test func theNextOwnerHearsWhichCopiesMissedWrites() throws {
        let three = try placement([me, other, third], digest: 1), two = try placement([me, other], digest: 2)
        var bench = settled(three, copies: 3)
        let slot = try #require(slots(of: third, three).slots.first { two.owner(of: $0) == me })
        bench.handle(.placement(two, present: [other, third], copies: [3]))
        let missed = MissedWrites(peer: other, slots: SlotSet([slot]))
        for call in bench.takeCalls() {
            guard let slots = claimed(call.question) else { continue }
            bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots, missed: call.peer == third ? [missed] : []))))
        }
        bench.handle(.tick, after: 1_000)
        let told = tells(&bench)
        #expect(told.map(\.slots) == [missed.slots] && told.map(\.peer) == [other])
    }

    /// The new owner says that it holds all, and does not know better.
    @Test func whatIsOwedToAPeerThatMissedItStays() throws {
        let two = try placement([me, other], digest: 1), slot = try #require(slots(of: me, two).slots.first)
        var bench = settled(two, copies: 2)
        bench.machine.markDirty(slot, at: other)
        bench.handle(.placement(try placement([other], digest: 2), present: [other], copies: [2]))
        bench.handle(.tick, after: 200)
        let owed = bench.machine.owedCount
        for call in bench.takeCalls() {
            guard let slots = claimed(call.question) else { continue }
            let answer = ClaimAnswer(complete: slots, owned: [Ownership(since: 9, slots: slots)])
            bench.handle(.answered(call.id, .claimed(answer)))
        }
        #expect(owed > 1 && bench.machine.owedCount == 1)
    }

    /// Once it was not tried again.
    @Test func aRepairWithoutAnAnswerIsTriedAgain() throws {
        let two = try placement([me, other], digest: 1), slot = try #require(slots(of: me, two).slots.first)
        let differs = try #require(BucketIndex.all(of: slot).first)
        var bench = settled(two, copies: 2), repairs = 0
        for _ in 0..<40 where repairs < 2 {
            bench.handle(.tick, after: 1_000)
            for call in bench.takeCalls() {
                switch call.question {
                case .compare(let buckets): bench.handle(.answered(call.id, .differ(buckets.contains(differs) ? [differs] : [])), after: 0)
                case .repair(let bucket):
                    #expect(bucket == differs)
                    repairs += 1
                    bench.handle(.answered(call.id, .none))
                default: break
                }
            }
        }
        #expect(repairs == 2)
    }
}

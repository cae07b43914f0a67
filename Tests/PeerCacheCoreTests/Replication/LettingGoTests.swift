import PeerCacheCore
import Testing

/// Who fetches from whom while others let go.
extension ReplicaMachineTests {
    /// Whoever owned a slot apart from the others, and later than the owner among them began to, is not its last owner: once the next owner
    /// fetched from there and not what the other had taken.
    @Test func whatWasOwnedApartDoesNotCount() throws {
        var bench = Bench(me)
        let three = try placement([me, other, third], digest: 2), theirs = slots(of: other, three), mine = slots(of: me, three)
        bench.handle(.placement(try placement([me], digest: 1), present: [], copies: [2]))
        bench.handle(.placement(three, present: [other, third], copies: [2]))
        bench.sayNothing()
        #expect(bench.machine.unsettledCount == 0)
        let answer = bench.machine.answer(to: theirs, of: third, isBlank: { _ in false })
        #expect(answer.complete.count > 0 && answer.owned.isEmpty)
        #expect(bench.machine.answer(to: mine, of: third, isBlank: { _ in false }).owned.map(\.slots) == [mine])
    }

    /// Whoever took writes as owner lets go when the next owner has them. A copy that was to fetch them there was complete without: with what
    /// another one had of before, or with nothing.
    @Test(arguments: [false, true]) func whatAnOwnerTookAndLetGoIsFetchedFromTheNext(isThere: Bool) throws {
        var bench = Bench(me)
        let fourth = PeerID(high: 4, low: 4), three = try placement([me, other, third], digest: 1)
        bench.handle(.placement(three, present: [other, third, fourth], copies: [2]))
        let copied = SlotSet(slots(of: other, three).slots.filter { three.peers(of: $0, copies: 2).contains(me) })
        var hasLetGo = false, fetched = SlotSet()
        for _ in 0..<1_000 {
            if bench.machine.unsettledCount == 0 { break }
            for call in bench.takeCalls() {
                switch (call.question, call.peer) {
                case (.claim(let slots, _), other):
                    bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: hasLetGo ? slots : SlotSet()))))
                case (.claim(let slots, _), third) where !hasLetGo:
                    let owned = [Ownership(since: 5, slots: slots)]
                    bench.handle(.answered(call.id, .claimed(ClaimAnswer(partial: slots, owned: owned))))
                case (.claim(let slots, _), fourth) where isThere:
                    bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots))))
                case (.claim, _): bench.handle(.answered(call.id, .claimed(ClaimAnswer())))
                case (.pull, third):
                    hasLetGo = true
                    bench.handle(.answered(call.id, .notHeld))
                case (.pull(let request, _), _):
                    if call.peer == other { fetched.formUnion(SlotSet(request.slots)) }
                    bench.handle(.answered(call.id, .pulled(slots: request.slots.count, next: 0, bytes: 1)))
                default: bench.handle(.answered(call.id, .none))
                }
            }
            bench.handle(.tick, after: 300)
        }
        #expect(bench.machine.unsettledCount == 0)
        #expect(copied.count > 0 && fetched.intersection(copied) == copied)
    }

    /// A slot that was let go and gained anew gave pages with nothing to those who had been told that all was there.
    @Test func whatWasLetGoIsOfferedAnew() throws {
        var bench = Bench(me)
        let two = try placement([other, third], digest: 1), three = try placement([me, other, third], digest: 2)
        let mine = slots(of: me, three)
        func offered() -> SlotSet { bench.machine.offered(to: third) }
        func offer() { bench.machine.offer(bench.machine.answer(to: mine, of: third, isBlank: { _ in false }), to: third) }
        bench.handle(.placement(three, present: [other, third], copies: [1]))
        bench.sayNothing()
        #expect(bench.machine.unsettledCount == 0 && offered().isEmpty)
        offer()
        #expect(offered() == mine && bench.machine.offered(to: other).isEmpty)
        bench.handle(.placement(two, present: [other, third], copies: [1]))
        #expect(offered() == mine, "it is kept")
        for _ in 0..<Slot.count {
            if bench.effects.contains(where: { if case .forget = $0 { true } else { false } }), offered().isEmpty { break }
            for call in bench.takeCalls() {
                guard let slots = claimed(call.question) else { continue }
                bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: slots))))
            }
            bench.handle(.tick, after: 100)
        }
        #expect(offered().isEmpty)
        bench.handle(.placement(try placement([me, other, third], digest: 3), present: [other, third], copies: [1]))
        #expect(offered().isEmpty)
        offer()
        #expect(offered() == mine)
    }

    /// A source that had let go of some slots had gained others anew, and said that they were there in part.
    @Test func whatASourceGainsAnewIsFetchedFromTheOwner() throws {
        var bench = Bench(me)
        let three = try placement([me, other, third], digest: 1)
        bench.handle(.placement(three, present: [other, third], copies: [2]))
        let copied = SlotSet(slots(of: other, three).slots.filter { three.peers(of: $0, copies: 2).contains(me) })
        var hasLetGo = false, fetched = SlotSet()
        for _ in 0..<1_000 {
            if bench.machine.unsettledCount == 0 { break }
            for call in bench.takeCalls() {
                switch (call.question, call.peer) {
                case (.claim(let slots, _), other):
                    bench.handle(.answered(call.id, .claimed(ClaimAnswer(complete: hasLetGo ? slots : SlotSet()))))
                case (.claim(let slots, _), _):
                    let owned = [Ownership(since: 5, slots: slots)]
                    let answer = hasLetGo ? ClaimAnswer(partial: slots) : ClaimAnswer(complete: slots, owned: owned)
                    bench.handle(.answered(call.id, .claimed(answer)))
                case (.pull, third) where !hasLetGo:
                    hasLetGo = true
                    bench.handle(.answered(call.id, .notHeld))
                case (.pull(let request, _), _):
                    if call.peer == other { fetched.formUnion(SlotSet(request.slots)) }
                    bench.handle(.answered(call.id, .pulled(slots: request.slots.count, next: 0, bytes: 1)))
                default: bench.handle(.answered(call.id, .none))
                }
            }
            bench.handle(.tick, after: 300)
        }
        #expect(bench.machine.unsettledCount == 0)
        #expect(copied.count > 0 && fetched.intersection(copied) == copied)
    }
}

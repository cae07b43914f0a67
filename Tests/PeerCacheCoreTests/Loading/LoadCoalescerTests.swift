import PeerCacheCore
import Testing

@Suite struct LoadCoalescerTests {
    var coalescer = LoadCoalescer(timeout: .seconds(5), loadsMax: 2, waitersMax: 2)
    var effects: [LoadCoalescer.Effect] = []
    let key = LoadKey(cache: 1, bytes: [7])

    private func stamp(_ clock: UInt64) -> Stamp { Stamp(clock: clock, origin: 1) }

    private mutating func miss(_ waiter: WaiterID, lease: UInt64, guard held: UInt64 = 0, key: LoadKey? = nil) {
        coalescer.handle(
            .miss(key ?? self.key, waiter: waiter, lease: stamp(lease), guard: stamp(held)), now: .zero, into: &effects)
    }

    @Test mutating func secondMissJoinsTheRunningLoad() {
        miss(1, lease: 7)
        miss(2, lease: 8)
        coalescer.handle(.finished(lease: stamp(7)), now: .zero, into: &effects)
        #expect(effects == [.startLoader(key, lease: stamp(7)), .resume([1, 2], lease: stamp(7))])
        #expect(coalescer.count == 0)
    }

    /// CONTRACT.md I32: a removal completed after the load began.
    @Test mutating func missAfterAChangeStartsItsOwnLoad() {
        miss(1, lease: 7)
        miss(2, lease: 10, guard: 9)
        coalescer.handle(.finished(lease: stamp(7)), now: .zero, into: &effects)
        coalescer.handle(.finished(lease: stamp(10)), now: .zero, into: &effects)
        #expect(
            effects == [
                .startLoader(key, lease: stamp(7)), .startLoader(key, lease: stamp(10)), .resume([1], lease: stamp(7)),
                .resume([2], lease: stamp(10)),
            ])
    }

    @Test mutating func cancellingOneWaiterLeavesTheOthers() {
        miss(1, lease: 7)
        miss(2, lease: 8)
        coalescer.handle(.abandoned(waiter: 1), now: .zero, into: &effects)
        coalescer.handle(.finished(lease: stamp(7)), now: .zero, into: &effects)
        #expect(effects == [.startLoader(key, lease: stamp(7)), .resume([2], lease: stamp(7))])
    }

    @Test mutating func waitersAreResumedInTheirOrder() {
        var coalescer = LoadCoalescer(timeout: .seconds(5), loadsMax: 1)
        for waiter in 1...1000 {
            coalescer.handle(
                .miss(key, waiter: WaiterID(waiter), lease: stamp(7), guard: .zero), now: .zero, into: &effects)
        }
        for waiter in 1...1000 where waiter % 3 != 0 {
            coalescer.handle(.abandoned(waiter: WaiterID(waiter)), now: .zero, into: &effects)
        }
        coalescer.handle(.finished(lease: stamp(7)), now: .zero, into: &effects)
        let left = (1...1000).filter { $0 % 3 == 0 }.map(WaiterID.init)
        #expect(effects == [.startLoader(key, lease: stamp(7)), .resume(left, lease: stamp(7))])
    }

    @Test mutating func lastWaiterGoneCancelsTheLoad() {
        miss(1, lease: 7)
        coalescer.handle(.abandoned(waiter: 1), now: .zero, into: &effects)
        coalescer.handle(.finished(lease: stamp(7)), now: .zero, into: &effects)
        miss(2, lease: 9)
        #expect(effects == [.startLoader(key, lease: stamp(7)), .cancelLoader(lease: stamp(7)), .startLoader(key, lease: stamp(9))])
    }

    @Test mutating func deadlineFreesTheKey() {
        miss(1, lease: 7)
        coalescer.handle(.tick, now: .zero + .seconds(4), into: &effects)
        coalescer.handle(.tick, now: .zero + .seconds(5), into: &effects)
        coalescer.handle(.finished(lease: stamp(7)), now: .zero, into: &effects)
        #expect(effects == [.startLoader(key, lease: stamp(7)), .timeOut([1], lease: stamp(7))])
        #expect(coalescer.count == 0)
    }

    @Test mutating func bothBoundsRefuse() {
        let other = LoadKey(cache: 2, bytes: [7])
        miss(1, lease: 7)
        miss(2, lease: 8)
        miss(3, lease: 9)  // third waiter
        miss(4, lease: 10, key: other)
        miss(5, lease: 11, key: LoadKey(cache: 3, bytes: [7]))  // third load
        #expect(
            effects == [
                .startLoader(key, lease: stamp(7)), .refuse(3), .startLoader(other, lease: stamp(10)), .refuse(5),
            ])
    }
}

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
}

import PeerCacheTesting
import PeerCacheTransport
import Testing
import WireSamples

/// A class, so that `#expect` can call it.
private final class Bench<Waiter> {
    private var table: RequestTable<Waiter>

    init(countMax: Int) { table = RequestTable(countMax: countMax) }

    var count: Int { table.count }
    func insert(_ waiter: Waiter, now: Int64 = 0, deadline: Int64 = 100) -> UInt64? {
        table.insert(waiter, nowNanoseconds: now, deadlineNanoseconds: deadline)
    }
    func take(_ id: UInt64) -> Waiter? { table.take(id) }
    func takeExpired(now: Int64, sentBefore: Int64 = .min) -> [(id: UInt64, waiter: Waiter)] {
        table.takeExpired(nowNanoseconds: now, sentBefore: sentBefore)
    }
    func takeAll() -> [Waiter] { table.takeAll() }
}

@Suite struct RequestTableTests {

    @Test func anAnswerToAnEarlierUserOfThePlaceIsNotTaken() throws {
        let table = Bench<String>(countMax: 4)
        let first = try #require(table.insert("a"))
        #expect(first != 0)
        #expect(table.take(first) == "a")
        let second = try #require(table.insert("b"))
        #expect(second != first && UInt32(truncatingIfNeeded: second) == UInt32(truncatingIfNeeded: first))
        #expect(table.take(first) == nil)
        #expect(table.take(second) == "b")
        #expect(table.take(second) == nil)
        #expect(table.count == 0)
    }

    @Test func nobodyWaitsUnderIdsThatWereNeverGivenOut() throws {
        let table = Bench<String>(countMax: 4)
        let id = try #require(table.insert("a"))
        for strange in [0, 1, UInt64(UInt32.max), 1 << 63, .max, id &+ 1, id &+ 1 << 32] { #expect(table.take(strange) == nil) }
        #expect(table.take(id) == "a")
    }

    @Test func atMostSoMany() throws {
        let table = Bench<String>(countMax: 2)
        let first = try #require(table.insert("a"))
        #expect(table.insert("b") != nil)
        #expect(table.insert("c") == nil)
        #expect(table.take(first) == "a")
        #expect(table.insert("c") != nil)
    }

    @Test func expiresAtTheDeadlineOrWhenThePeerIsSilent() {
        let table = Bench<String>(countMax: 8)
        #expect(table.insert("early", now: 0, deadline: 50) != nil && table.insert("late", now: 20, deadline: 500) != nil)
        #expect(table.takeExpired(now: 49).isEmpty)
        #expect(table.takeExpired(now: 50).map(\.waiter) == ["early"])
        #expect(table.takeExpired(now: 60, sentBefore: 20).isEmpty)
        #expect(table.takeExpired(now: 60, sentBefore: 21).map(\.waiter) == ["late"])
        #expect(table.insert("last") != nil)
        #expect(table.takeAll() == ["last"])
        #expect(table.count == 0 && table.takeAll().isEmpty)
    }

    @Test(arguments: Seeds.chosen(1...50)) func behavesLikeAModel(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let table = Bench<UInt64>(countMax: 16)
        var model: [UInt64: (waiter: UInt64, deadline: Int64)] = [:]
        var gone: [UInt64] = []
        var now: Int64 = 0
        for step in 0..<3000 as Range<UInt64> {
            let known = model.keys.sorted().randomElement(using: &random)
            switch random.next() % 6 {
            case 0, 1, 2:
                let deadline = now + Int64(random.next() % 50)
                let id = table.insert(step, now: now, deadline: deadline)
                #expect((id == nil) == (model.count == 16), "PEERCACHE_SEED=\(seed), step \(step)")
                guard let id else { continue }
                #expect(id != 0 && model[id] == nil && !gone.contains(id), "PEERCACHE_SEED=\(seed), step \(step)")
                model[id] = (step, deadline)
            case 3, 4:
                let id = random.next() % 4 == 0 ? gone.randomElement(using: &random) : known
                guard let id else { continue }
                #expect(table.take(id) == model.removeValue(forKey: id)?.waiter, "PEERCACHE_SEED=\(seed), step \(step)")
                gone.append(id)
            default:
                now += Int64(random.next() % 20)
                let expired = table.takeExpired(now: now)
                let due = model.filter { $0.value.deadline <= now }
                #expect(Set(expired.map(\.id)) == Set(due.keys), "PEERCACHE_SEED=\(seed), step \(step)")
                for id in due.keys { model[id] = nil }
                gone += due.keys
            }
            #expect(table.count == model.count, "PEERCACHE_SEED=\(seed), step \(step)")
        }
    }
}

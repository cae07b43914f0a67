import PeerCacheTesting
import PeerCacheTransport
import Testing
import WireSamples

/// A class, so that `#expect` can call it.
private final class Bench<Waiter> {
    private var table: RequestTable<Waiter>

    init(countMax: Int) { table = RequestTable(countMax: countMax) }

    var count: Int { table.count }
    func reserve(now: Int64 = 0, deadline: Int64 = 100) -> UInt64? { table.reserve(nowNanoseconds: now, deadlineNanoseconds: deadline) }
    func wait(_ id: UInt64, _ waiter: Waiter) -> Bool { table.wait(id, waiter) }
    func take(_ id: UInt64) -> Waiter? { table.take(id) }
    func cancel(_ id: UInt64) -> Waiter? { table.cancel(id) }
    func takeExpired(now: Int64, sentBefore: Int64 = .min) -> [(id: UInt64, waiter: Waiter)] {
        table.takeExpired(nowNanoseconds: now, sentBefore: sentBefore)
    }
    func takeAll() -> [Waiter] { table.takeAll() }
}

@Suite struct RequestTableTests {

    @Test func anAnswerToAnEarlierUserOfThePlaceIsNotTaken() throws {
        let table = Bench<String>(countMax: 4)
        let first = try #require(table.reserve())
        #expect(first != 0 && table.wait(first, "a"))
        #expect(table.take(first) == "a")
        let second = try #require(table.reserve())
        #expect(second != first && UInt32(truncatingIfNeeded: second) == UInt32(truncatingIfNeeded: first))
        #expect(table.wait(second, "b"))
        #expect(table.take(first) == nil)
        #expect(table.cancel(first) == nil)
        #expect(table.take(second) == "b")
        #expect(table.take(second) == nil)
        #expect(table.count == 0)
    }

    @Test func nobodyWaitsUnderIdsThatWereNeverGivenOut() throws {
        let table = Bench<String>(countMax: 4)
        let id = try #require(table.reserve())
        #expect(table.wait(id, "a"))
        for strange in [0, 1, UInt64(UInt32.max), 1 << 63, .max, id &+ 1, id &+ 1 << 32] { #expect(table.take(strange) == nil) }
        #expect(table.take(id) == "a")
    }

    @Test func atMostSoMany() throws {
        let table = Bench<String>(countMax: 2)
        let first = try #require(table.reserve()), second = try #require(table.reserve())
        #expect(table.reserve() == nil)
        #expect(table.wait(first, "a") && table.wait(second, "b"))
        #expect(table.take(first) == "a")
        #expect(table.reserve() != nil)
    }

    @Test func cancelledBeforeItWaits() throws {
        let table = Bench<String>(countMax: 1)
        let id = try #require(table.reserve())
        #expect(table.cancel(id) == nil)
        #expect(table.count == 1)
        #expect(!table.wait(id, "a"))
        #expect(table.count == 0)
        #expect(table.reserve() != nil)
    }

    @Test func expiresAtTheDeadlineOrWhenThePeerIsSilent() throws {
        let table = Bench<String>(countMax: 8)
        let reserved = try #require(table.reserve(now: 0, deadline: 10))
        let early = try #require(table.reserve(now: 0, deadline: 50)), late = try #require(table.reserve(now: 20, deadline: 500))
        #expect(table.wait(early, "early") && table.wait(late, "late"))
        #expect(table.takeExpired(now: 49).isEmpty)
        #expect(table.takeExpired(now: 50).map(\.waiter) == ["early"])
        #expect(table.takeExpired(now: 60, sentBefore: 20).isEmpty)
        #expect(table.takeExpired(now: 60, sentBefore: 21).map(\.waiter) == ["late"])
        // Who does not wait yet is not forgotten.
        #expect(table.count == 1 && table.wait(reserved, "reserved"))
        #expect(table.takeAll() == ["reserved"])
        #expect(table.count == 0 && table.takeAll().isEmpty)
    }

    private enum Place { case reserved, cancelled, waiting(Int) }

    @Test(arguments: Seeds.chosen(1...50)) func behavesLikeAModel(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let table = Bench<Int>(countMax: 16)
        var model: [UInt64: (place: Place, deadline: Int64)] = [:]
        var gone: [UInt64] = []
        var now: Int64 = 0
        for step in 0..<3000 {
            let known = model.keys.sorted().randomElement(using: &random)
            switch random.next() % 8 {
            case 0, 1, 2:
                let deadline = now + Int64(random.next() % 50)
                let id = table.reserve(now: now, deadline: deadline)
                #expect((id == nil) == (model.count == 16), "PEERCACHE_SEED=\(seed), step \(step)")
                guard let id else { continue }
                #expect(id != 0 && model[id] == nil && !gone.contains(id), "PEERCACHE_SEED=\(seed), step \(step)")
                model[id] = (.reserved, deadline)
            case 3, 4:
                guard let known, let (place, deadline) = model[known] else { continue }
                switch place {
                case .reserved:
                    #expect(table.wait(known, step))
                    model[known] = (.waiting(step), deadline)
                case .cancelled:
                    #expect(!table.wait(known, step))
                    model[known] = nil
                    gone.append(known)
                case .waiting: break
                }
            case 5:
                guard let known, let (place, deadline) = model[known] else { continue }
                let taken = table.cancel(known)
                if case .waiting(let waiter) = place {
                    #expect(taken == waiter)
                    model[known] = nil
                    gone.append(known)
                } else {
                    #expect(taken == nil)
                    model[known] = (.cancelled, deadline)
                }
            case 6:
                let id = random.next() % 4 == 0 ? gone.randomElement(using: &random) : known
                guard let id else { continue }
                let taken = table.take(id)
                if case .waiting(let waiter)? = model[id]?.place {
                    #expect(taken == waiter)
                    model[id] = nil
                    gone.append(id)
                } else {
                    #expect(taken == nil)
                }
            default:
                now += Int64(random.next() % 20)
                let expired = table.takeExpired(now: now)
                let due = model.filter { if case .waiting = $0.value.place { $0.value.deadline <= now } else { false } }
                #expect(Set(expired.map(\.id)) == Set(due.keys), "PEERCACHE_SEED=\(seed), step \(step)")
                for id in due.keys { model[id] = nil }
                gone += due.keys
            }
            #expect(table.count == model.count, "PEERCACHE_SEED=\(seed), step \(step)")
        }
    }
}

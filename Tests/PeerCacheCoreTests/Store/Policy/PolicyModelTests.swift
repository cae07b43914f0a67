@testable import PeerCacheCore
import PeerCacheTesting
import Testing

/// Random operations on every policy: the lists are walked from scratch after each fiftieth, and exact LRU and S3-FIFO must choose what
/// arrays without any cleverness choose.
@Suite struct PolicyModelTests {
    @Test(arguments: PolicyKind.allCases, Seeds.chosen(1...4))
    func listsStayConsistent(kind: PolicyKind, seed: UInt64) {
        var run = PolicyRun(kind, seed: seed)
        for step in 0..<3000 {
            run.perform(step)
            if step % 50 == 0 { run.check("\(kind), step \(step); replay: PEERCACHE_SEED=\(seed)") }
        }
        run.evictAll()
    }

    @Test(arguments: Seeds.chosen(1...4))
    func exactLRUChoosesAsAnArrayDoes(seed: UInt64) {
        let cache = TestPolicy(.lru, movesOnEveryHit: true)
        var random = SeededRandom(seed: seed)
        var order: [UInt32] = []  // oldest first
        for step in 0..<4000 {
            if order.count > 60 { #expect(cache.evict() == order.removeFirst(), "replay: PEERCACHE_SEED=\(seed)") }
            if order.isEmpty || Int.random(in: 0..<3, using: &random) == 0 {
                order.append(cache.insert(key: step))
            } else {
                let handle = order.remove(at: Int.random(in: 0..<order.count, using: &random))
                cache.hit(handle)
                order.append(handle)
            }
        }
        #expect(cache.entries.handles(cache.policy.lru.list) == order.reversed())
    }

    /// Without memory there are no ghosts, so the rest can be compared exactly.
    @Test(arguments: Seeds.chosen(1...4))
    func s3FIFOChoosesAsArraysDo(seed: UInt64) {
        let cache = TestPolicy(.s3fifo)
        var model = ArraysS3FIFO()
        var random = SeededRandom(seed: seed)
        for step in 0..<8000 {
            let held = model.small + model.main
            if held.count < 80 || Int.random(in: 0..<3, using: &random) == 0 {
                if held.count >= 80 { #expect(cache.evict() == model.evict(), "replay: PEERCACHE_SEED=\(seed)") }
                let explicit = Int.random(in: 0..<10, using: &random) == 0
                let handle = cache.insert(key: step, explicit: explicit)
                if explicit { model.main.append(handle) } else { model.small.append(handle) }
            } else {
                // Some are used much more often than others.
                let handle = held[min(Int.random(in: 0..<held.count, using: &random), Int.random(in: 0..<held.count, using: &random))]
                cache.hit(handle)
                model.uses[handle] = min(3, model.uses[handle, default: 0] + 1)
            }
        }
        #expect(cache.entries.handles(cache.small) == model.small.reversed())
        #expect(cache.entries.handles(cache.main) == model.main.reversed())
    }
}

private struct PolicyRun {
    let cache: TestPolicy
    private var random: SeededRandom
    private var live: [UInt32] = []
    private var entries: PolicyTestEntries { cache.entries }

    init(_ kind: PolicyKind, seed: UInt64) {
        cache = TestPolicy(kind, seed: seed)
        random = SeededRandom(seed: seed)
    }

    mutating func perform(_ step: Int) {
        let choice = Int.random(in: 0..<100, using: &random)
        if choice < 35 || live.isEmpty { return insert(sparesOne: step % 5 == 0) }
        let pick = Int.random(in: 0..<live.count, using: &random)
        let handle = live[pick]
        switch choice {
        case ..<75: cache.hit(handle)
        case ..<82:
            cache.remove(handle)
            cache.remove(handle)  // in no list: nothing happens
            cache.hit(handle)
            live.remove(at: pick)
        case ..<90:
            let before = entries.cost(handle)
            entries.all[Int(handle)].cost = Int.random(in: 1...200, using: &random)
            cache.replaced(handle, costBefore: before, explicit: Bool.random(using: &random))
        case ..<98:
            live[pick] = entries.move(handle)
            cache.policy.moved(to: live[pick], entries)
        default: cache.policy.resize(cache.memory)
        }
    }

    private mutating func insert(sparesOne: Bool) {
        let cost = Int.random(in: 1...200, using: &random)
        let spared = sparesOne ? live.randomElement(using: &random) ?? 0 : 0
        for _ in 0..<1000 where cache.cost + cost > 5000 {
            let victim = cache.victim(incoming: cost, sparing: spared)
            #expect(victim == 0 || victim != spared)
            guard let position = live.firstIndex(of: victim) else {
                Issue.record("victim \(victim) is not live")
                return
            }
            cache.remove(victim)
            live.remove(at: position)
        }
        live.append(cache.insert(key: Int.random(in: 0..<400, using: &random), cost: cost, explicit: Bool.random(using: &random)))
    }

    func check(_ place: String) {
        let faults = cache.lists.flatMap { entries.faults($0) }
        #expect(faults.isEmpty, "\(place)")
        #expect(cache.lists.flatMap { entries.handles($0) }.sorted() == live.sorted(), "\(place)")
        #expect(cache.count == live.count && cache.cost == live.reduce(0) { $0 + entries.cost($1) }, "\(place)")
        #expect(cache.bytes == cache.memory.bytes, "\(place)")
    }

    /// One by one everything can go.
    mutating func evictAll() {
        for _ in 0..<live.count {
            let victim = cache.victim(incoming: 0)
            #expect(live.contains(victim))
            cache.remove(victim)
        }
        #expect(cache.count == 0 && cache.cost == 0 && cache.policy.oldest == 0)
        #expect(cache.victim(incoming: 0) == 0)
        cache.policy.releaseMemory(cache.memory)
        #expect(cache.memory.bytes == 0 && cache.memory.faults.isEmpty)
    }
}

/// S3-FIFO without ghosts, the oldest first.
private struct ArraysS3FIFO {
    var small: [UInt32] = []
    var main: [UInt32] = []
    var uses: [UInt32: Int] = [:]

    mutating func evict() -> UInt32 {
        while true {
            if main.isEmpty || small.count >= (small.count + main.count) / 10 {
                let handle = small.removeFirst()
                if uses[handle, default: 0] < 2 { return handle }
                uses[handle] = 0
                main.append(handle)
            } else {
                let handle = main.removeFirst()
                if uses[handle, default: 0] == 0 { return handle }
                uses[handle, default: 0] -= 1
                main.append(handle)
            }
        }
    }
}

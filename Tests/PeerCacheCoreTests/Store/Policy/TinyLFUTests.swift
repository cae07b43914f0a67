@testable import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct TinyLFUTests {
    /// A full policy of `count` entries with the keys 0..<`count`, each used `uses` times after its insert.
    private func full(_ count: Int, uses: Int, seed: UInt64 = 1, entriesExpected: Int? = nil) -> (cache: TestPolicy, handles: [UInt32]) {
        let cache = TestPolicy(.tinyLFU, seed: seed, entriesExpected: entriesExpected ?? count)
        cache.fit()
        let handles = (0..<count).map { cache.insert(key: $0) }
        for _ in 0..<uses { for handle in handles { cache.hit(handle) } }
        return (cache, handles)
    }

    /// One goes, then one comes.
    private func replace(_ key: Int, explicit: Bool, in cache: TestPolicy) -> (handle: UInt32, victim: UInt32) {
        let victim = cache.evict()
        return (cache.insert(key: key, explicit: explicit), victim)
    }

    @Test func theWindowIsAHundredthAndTheRestIsMain() {
        let (cache, _) = full(1000, uses: 0)
        #expect(cache.window.count == 10 && cache.probation.count == 990 && cache.protected.count == 0)
        let oldest = cache.probation.back
        cache.hit(oldest)
        #expect(cache.protected.front == oldest)
        for handle in cache.entries.handles(cache.probation) { cache.hit(handle) }
        #expect(cache.protected.cost <= 792 && cache.probation.count >= 198)
    }

    @Test func fillsCompeteAndExplicitWritesDoNot() {
        let (cache, handles) = full(500, uses: 3)
        // Keys used once: each is dropped when it leaves the window of five, and nothing else is.
        let fills = (0..<50).map { replace(1000 + $0, explicit: false, in: cache) }
        let lost = fills.dropFirst(5).filter { handles.contains($0.victim) }
        #expect(lost.isEmpty)
        // Explicit writes of keys that are as new take the places of entries used more often.
        let writes = (0..<50).map { replace(2000 + $0, explicit: true, in: cache) }
        let refused = writes.dropFirst(5).filter { !handles.contains($0.victim) }
        #expect(refused.isEmpty)
        // The flag counts once: on probation it is gone.
        let flagged = writes.dropLast(5).filter { cache.entries.state($0.handle) & (PolicyState.admitted | PolicyState.queueMask) != 2 }
        #expect(flagged.isEmpty)
    }

    @Test func anExplicitWriteOfAHeldKeyIsAdmittedToo() {
        let (cache, _) = full(500, uses: 3)
        let filled = replace(1000, explicit: false, in: cache).handle
        cache.replaced(filled, costBefore: 1, explicit: true)
        for number in 0..<20 { _ = replace(2000 + number, explicit: false, in: cache) }
        #expect(cache.entries.queue(filled) == 2)
    }

    @Test func whatIsUsedMoreOftenIsAdmitted() {
        let (cache, _) = full(500, uses: 1)
        let popular = replace(1000, explicit: false, in: cache).handle
        for _ in 0..<8 { cache.hit(popular) }
        for number in 0..<20 { _ = replace(2000 + number, explicit: false, in: cache) }
        #expect(cache.entries.queue(popular) == 2)
    }

    /// A candidate must outweigh all that would go for it.
    @Test func aLargeCandidateCompetesWithTheSumOfItsVictims() {
        let (cache, _) = full(500, uses: 2)
        let large = cache.entries.add(hash: spread(1000), cost: 100)
        for _ in 0..<100 { cache.evict() }
        cache.inserted(large, explicit: false)
        for _ in 0..<6 { cache.hit(large) }
        // Five would have to go, each used half as often.
        #expect(cache.evict() == large)
    }

    @Test func theSharesFollowWhatIsHeld() {
        let (cache, _) = full(2000, uses: 1)
        for _ in 0..<1000 { cache.remove(cache.victim(incoming: 0)) }
        #expect(cache.policy.tinyLFU.capacity == 1001 && (9...11).contains(cache.window.count))
        for number in 0..<500 { cache.insert(key: 3000 + number) }
        #expect(cache.policy.tinyLFU.capacity == 1500 && cache.window.count == 15)
    }

    @Test func withoutASketchEverythingIsAdmitted() {
        let cache = TestPolicy(.tinyLFU)
        for number in 0..<300 { cache.insert(key: number) }
        let fills = (0..<290).map { replace(1000 + $0, explicit: false, in: cache).handle }
        #expect(fills.allSatisfy { cache.isHeld($0) })
    }

    /// Frequent candidates that lose are let in one time in 128, when the seed says so; rare ones never.
    @Test func someFrequentLosersAreLucky() {
        /// Which of 1,000 candidates, each used so often, won against entries that are at 15.
        func winners(seed: UInt64, uses: Int) -> [Int] {
            let (cache, _) = full(200, uses: 15, seed: seed, entriesExpected: 4096)
            var winners: [Int] = []
            for number in 0..<1000 {
                let candidate = cache.window.back
                let (handle, victim) = replace(1000 + number, explicit: false, in: cache)
                if victim != candidate { winners.append(number) }
                for _ in 1..<uses { cache.hit(handle) }
            }
            return winners
        }
        let lucky = winners(seed: 3, uses: 9)
        #expect((1...30).contains(lucky.count))
        let repeats = lucky == winners(seed: 3, uses: 9), depends = lucky != winners(seed: 4, uses: 9)
        #expect(repeats && depends)
        // The two that were in the window from the start are at 15 as well.
        let rare = winners(seed: 3, uses: 5).filter { $0 > 1 }
        #expect(rare.isEmpty)
    }

    @Test(arguments: Seeds.chosen(1...5))
    func theClimberStaysInBounds(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var climber = WindowClimber()
        var shares: Set<Double> = []
        for _ in 0..<500 {
            let ratio = Double.random(in: 0...1, using: &random)
            for _ in 0..<100 { if Double.random(in: 0...1, using: &random) < ratio { climber.hit() } else { climber.missed() } }
            climber.climb()
            shares.insert(climber.share)
            #expect(climber.share >= 0.01 && climber.share <= 0.8, "replay: PEERCACHE_SEED=\(seed)")
        }
        #expect(shares.count > 20)
    }

    @Test func theClimberGoesOnWhileTheRatioRisesAndTurnsWhenItFalls() {
        var climber = WindowClimber()
        func share(afterHits hits: Int) -> Double {
            for _ in 0..<hits { climber.hit() }
            for _ in hits..<1000 { climber.missed() }
            climber.climb()
            return climber.share
        }
        #expect(share(afterHits: 500) == 0.01)  // shrinks first, and is at the bottom
        let grown = share(afterHits: 480)
        #expect(abs(grown - 0.0725) < 1e-9)
        let more = share(afterHits: 490)
        #expect(more > grown && more - grown < 0.0625)  // a smaller step
        #expect(share(afterHits: 470) < more)
        for hits in 471..<560 { _ = share(afterHits: hits) }
        #expect(climber.share == 0.01)
    }

    @Test func aLargerWindowTakesFromMain() {
        let (cache, handles) = full(1000, uses: 0)
        for _ in 0..<10 { for handle in handles { cache.hit(handle) } }
        #expect(cache.policy.tinyLFU.climber.share == 0.01)
        // No more hits: after a period the window grows, a few entries at a time.
        var key = 10_000
        while cache.policy.tinyLFU.climber.share == 0.01, key < 40_000 {
            _ = replace(key, explicit: false, in: cache)
            key += 1
        }
        #expect(cache.policy.tinyLFU.climber.share > 0.07)
        #expect(cache.window.count < 40)
        for number in 0..<20 { _ = replace(50_000 + number, explicit: false, in: cache) }
        #expect((70...73).contains(cache.window.count) && cache.count == 1000)
    }
}

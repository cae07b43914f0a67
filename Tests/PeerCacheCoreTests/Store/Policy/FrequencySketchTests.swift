@testable import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct FrequencySketchTests {
    private let sketch = TestSketch()

    @Test func countsExactlyWhenThereIsRoom() {
        sketch.resize(entries: 4096)
        for number in 0..<40 { sketch.increment(spread(number), times: number % 16) }
        let wrong = (0..<40).filter { sketch.frequency(spread($0)) != $0 % 16 }
        #expect(wrong.isEmpty)
        #expect(sketch.frequency(spread(1000)) == 0)
        sketch.removeAll()
        #expect(sketch.memory.bytes == 0 && sketch.memory.faults.isEmpty)
    }

    @Test func saturatesAtFifteen() {
        sketch.resize(entries: 512)
        sketch.increment(7, times: 100)
        #expect(sketch.frequency(7) == 15)
    }

    @Test func halvesAllAfterTenIncrementsPerWord() {
        let words = 2048
        sketch.resize(entries: words)
        sketch.increment(spread(1), times: 12)
        sketch.increment(spread(2), times: 7)
        // Others until just before the period ends. They may raise the counters of the two but never lower them.
        for number in 0..<words * 10 - 20 { sketch.increment(spread(10_000 + number)) }
        let (first, second) = (sketch.frequency(spread(1)), sketch.frequency(spread(2)))
        #expect(first >= 12 && second >= 7)
        // The last one of the period, and one for each of the four slices; few enough to hit none of the eight counters.
        for number in 0..<10 { sketch.increment(spread(90_000 + number)) }
        #expect(sketch.frequency(spread(1)) == first / 2)
        #expect(sketch.frequency(spread(2)) == second / 2)
        // Half of the increments count again: the next halving is five per word away.
        for number in 0..<words * 5 - 20 { sketch.increment(spread(100_000 + number)) }
        let later = sketch.frequency(spread(1))
        #expect(later >= first / 2)
        for number in 0..<20 { sketch.increment(spread(200_000 + number)) }
        #expect(sketch.frequency(spread(1)) == later / 2)
    }

    @Test(arguments: Seeds.chosen(1...5))
    func isNeverBelowTheCountAndRarelyAbove(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        sketch.resize(entries: 1000)
        var counts: [UInt32: Int] = [:]
        for _ in 0..<5000 {
            let hash = spread(min(Int.random(in: 0..<1000, using: &random), Int.random(in: 0..<1000, using: &random)))
            sketch.increment(hash)
            counts[hash, default: 0] += 1
        }
        let tooLow = counts.filter { sketch.frequency($0.key) < min(15, $0.value) }
        #expect(tooLow.isEmpty, "replay: PEERCACHE_SEED=\(seed)")
        let tooHigh = counts.filter { sketch.frequency($0.key) > min(15, $0.value) + 2 }
        #expect(tooHigh.count < counts.count / 10, "replay: PEERCACHE_SEED=\(seed)")
    }

    @Test func growingForgetsNothingAndShrinkingLeavesLittle() {
        sketch.resize(entries: 8)
        for number in 0..<5 { sketch.increment(spread(number), times: 9) }
        for entries in stride(from: 8, through: 70_000, by: 3000) { sketch.resize(entries: entries) }
        let tooLow = (0..<5).filter { sketch.frequency(spread($0)) < 9 }
        #expect(tooLow.isEmpty)
        sketch.resize(entries: 100)
        #expect(sketch.bytes <= 2 * LineTable.pieceBytes + 512)
    }

    @Test func withoutMemoryItKnowsNothing() {
        sketch.memory.limit = 0
        sketch.resize(entries: 100)
        sketch.increment(1)
        #expect(sketch.isEmpty && sketch.bytes == 0)
        #expect(sketch.frequency(1) == 0)
    }
}

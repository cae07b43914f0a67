@testable import PeerCacheCore
import Testing

/// Sketch and ghosts: how large, how found, what is refused.
@Suite struct PolicyMemoryTests {
    private func bytes(_ kind: PolicyKind, entries count: Int, expected: Int = 0) -> Int {
        let cache = TestPolicy(kind, entriesExpected: expected)
        for number in 0..<count {
            cache.insert(key: number)
            cache.resizeIfDue()
        }
        cache.fit()
        let bytes = cache.bytes
        #expect(bytes == cache.memory.bytes)
        cache.policy.releaseMemory(cache.memory)
        #expect(cache.bytes == 0 && cache.memory.bytes == 0 && cache.memory.faults.isEmpty)
        return bytes
    }

    @Test(arguments: [1, 100, 2047, 2049, 3000, 10_000, 62_500, 100_000])
    func sizesAreBounded(count: Int) {
        // A step of 512 bytes below a piece, a quarter of a piece above; and the directory.
        let slack = max(512, count > 2048 ? LineTable.pieceBytes / 4 : 0) + 64 + count / 500
        let sketch = bytes(.tinyLFU, entries: count)
        #expect(sketch <= 8 * count + slack && sketch >= 4 * count)
        let ghosts = bytes(.s3fifo, entries: count)
        #expect(ghosts <= 384 * count / 100 + slack && ghosts >= 192 * count / 100)
        if count >= 62_500 { #expect(Double(sketch) <= 8.4 * Double(count) && Double(ghosts) <= 3.92 * Double(count)) }
        #expect(bytes(.lru, entries: count) == 0)
        #expect(bytes(.tinyLFU, entries: 1, expected: count) >= 4 * count)
    }

    @Test(arguments: [0, 64, 600, 5000, 40_000])
    func refusedGrowthKeepsTheOldSize(limit: Int) {
        let cache = TestPolicy(.tinyLFU, memory: PolicyTestMemory(limit: limit))
        var held = 0
        for number in 0..<20_000 {
            if cache.cost >= 10_000 { cache.evict() }
            cache.insert(key: number)
            cache.resizeIfDue()
            if cache.bytes != cache.memory.bytes || cache.bytes > limit || cache.bytes < held {
                Issue.record("\(cache.bytes) bytes, \(cache.memory.bytes) allocated, \(held) before, limit \(limit)")
                break
            }
            held = cache.bytes
        }
        cache.memory.limit = .max
        cache.fit()
        #expect(cache.bytes >= 70_000)
        cache.policy.releaseMemory(cache.memory)
        #expect(cache.memory.bytes == 0 && cache.memory.faults.isEmpty)
    }

    @Test func shrinksWithTheEntries() {
        let cache = TestPolicy(.tinyLFU)
        for number in 0..<50_000 { cache.insert(key: number) }
        cache.fit()
        #expect(cache.bytes > 390_000)
        for _ in 0..<45_000 { cache.evict() }
        cache.fit()
        #expect(cache.bytes < 80_000)
    }

    @Test func everyLineIsReachedAndKeptApart() {
        let memory = PolicyTestMemory()
        var table = LineTable()
        for lines in [8, 24, 104, 256, 512, 768, 1280] {
            for _ in 0..<100 where table.isResizeDue(to: lines) { _ = table.resize(to: lines, memory) }
            #expect(table.lines == lines)
            for index in 0..<table.lines { table.line(at: index).storeBytes(of: index, as: Int.self) }
            var seen: Set<Int> = []
            for hash in 0..<UInt32(8192) { seen.insert(table.line(hash).load(as: Int.self)) }
            #expect(seen == Set(0..<lines))
        }
        table.removeAll(memory)
        #expect(memory.bytes == 0)
    }

    @Test func ghostsAreFoundOnceAndTheOldestGiveWay() {
        let ghosts = TestGhosts()
        ghosts.insert(5)  // without memory: no trace
        ghosts.resize(1500)
        #expect(!ghosts.remove(5))
        for number in 0..<500 { ghosts.insert(spread(number)) }
        let found = (0..<500).filter { ghosts.remove(spread($0)) }
        #expect(found.count > 480)
        let again = found.filter { ghosts.remove(spread($0)) }
        #expect(again.isEmpty)
        // Twenty times what fits: most of the newest hundred are there, none of the oldest.
        for number in 0..<30_000 { ghosts.insert(spread(number)) }
        let oldest = (0..<1000).filter { ghosts.remove(spread($0)) }
        #expect(oldest.isEmpty)
        let newest = (29_900..<30_000).filter { ghosts.remove(spread($0)) }
        #expect(newest.count > 90)
        #expect(!ghosts.remove(0))
    }

    @Test func ghostsOfTheSmallQueueComeBackToMain() {
        let cache = TestPolicy(.s3fifo)
        let handles = (0..<100).map { cache.insert(key: $0) }
        cache.fit()
        #expect(cache.evict() == handles[0])
        cache.remove(handles[1])  // not evicted: no ghost
        let (again, other) = (cache.insert(key: 0), cache.insert(key: 1))
        #expect(cache.entries.handles(cache.main) == [again])
        #expect(cache.small.front == other)
    }
}

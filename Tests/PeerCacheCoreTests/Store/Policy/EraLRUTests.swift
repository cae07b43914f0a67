@testable import PeerCacheCore
import Testing

@Suite struct EraLRUTests {
    /// Feeds one letter after the other to a cache of `capacity`. The log has a capital letter for a hit, a small one for a miss and `-x`
    /// for an eviction.
    private func replay(_ letters: String, capacity: Int, exact: Bool) -> String {
        let cache = TestPolicy(.lru, movesOnEveryHit: exact)
        var held: [Character: UInt32] = [:]
        var log = ""
        for letter in letters {
            if let handle = held[letter] {
                cache.hit(handle)
                log += letter.uppercased()
                continue
            }
            if cache.cost >= capacity {
                let victim = cache.evict()
                guard let name = held.first(where: { $0.value == victim })?.key else { return log + "?" }
                held[name] = nil
                log += "-\(name)"
            }
            held[letter] = cache.insert(key: Int(letter.asciiValue ?? 0))
            log += "\(letter)"
        }
        return log
    }

    @Test func evictsTheLeastRecentlyUsed() {
        #expect(replay("abcdefabc", capacity: 3, exact: true) == "abc-ad-be-cf-da-eb-fc")
        #expect(replay("abcadaebf", capacity: 3, exact: true) == "abcA-bdA-ce-db-af")
        #expect(replay("abccbad", capacity: 3, exact: true) == "abcCBA-cd")
        #expect(replay("aaabbbab", capacity: 1, exact: true) == "aAA-abBB-ba-ab")
        #expect(replay("abab", capacity: 2, exact: true) == "abAB")
    }

    /// With fewer than 32 entries every insert begins an era: a hit after an insert moves, and only hits after hits do not.
    @Test func isExactAfterEachInsertWhenSmall() {
        #expect(replay("abcadaebf", capacity: 3, exact: false) == "abcA-bdA-ce-db-af")
    }

    @Test func movesOncePerEra() {
        let cache = TestPolicy(.lru)
        let handles = (0..<73).map { cache.insert(key: $0) }
        // An era is four inserts here. Entries of the running one stay where they are.
        let current = handles.filter { cache.entries.era($0) == cache.era }
        #expect(!current.isEmpty && current.count <= 4)
        let order = cache.entries.handles(cache.policy.lru.list)
        for handle in current { cache.hit(handle) }
        #expect(cache.entries.handles(cache.policy.lru.list) == order)
        // An older one comes to the front, once.
        cache.hit(handles[0])
        #expect(cache.policy.lru.list.front == handles[0] && cache.entries.era(handles[0]) == cache.era)
        cache.hit(handles[1])
        cache.hit(handles[0])
        #expect(cache.policy.lru.list.front == handles[1])
    }

    @Test func anEraIsASixteenthOfTheEntries() {
        let cache = TestPolicy(.lru)
        for number in 0..<1600 { cache.insert(key: number) }
        let start = cache.era
        for number in 0..<1600 {
            cache.evict()
            cache.insert(key: 2000 + number)
        }
        #expect((15...17).contains(cache.era &- start))
    }

    @Test func sparesWhatItIsTold() {
        let cache = TestPolicy(.lru)
        let (older, newer) = (cache.insert(key: 0), cache.insert(key: 1))
        #expect(cache.victim(sparing: older) == newer)
        cache.remove(newer)
        #expect(cache.victim(sparing: older) == 0)
        #expect(cache.victim() == older)
    }
}

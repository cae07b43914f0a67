import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct SharerDirectoryTests {
    @Test func whoHasACopyIsToldOnceThatTheKeyChanged() {
        var directory = SharerDirectory(bytesMax: 4096)
        #expect(directory.changed(7, clock: 1, now: 0) == 0)
        #expect(directory.share(7, clock: 1, with: 0b001, until: 100, now: 0) == nil)
        #expect(directory.share(7, clock: 2, with: 0b100, until: 50, now: 0) == nil)
        #expect(directory.changed(8, clock: 3, now: 10) == 0)
        #expect(directory.changed(7, clock: 3, now: 60) == 0b101)
        #expect(directory.changed(7, clock: 4, now: 60) == 0)
    }

    /// A reader got the new content between the write and the word about it: it must hear of the next write too.
    @Test func whoGotTheNewContentAlreadyStaysASharer() {
        var directory = SharerDirectory(bytesMax: 4096)
        _ = directory.share(7, clock: 1, with: 0b01, until: 100, now: 0)
        _ = directory.share(7, clock: 5, with: 0b10, until: 100, now: 0)
        #expect(directory.changed(7, clock: 5, now: 0) == 0b11)
        #expect(directory.changed(7, clock: 6, now: 0) == 0b11)
        #expect(directory.changed(7, clock: 7, now: 0) == 0)
    }

    @Test func copiesThatAreOverNeedNoWordAndMakeRoom() {
        var directory = SharerDirectory(bytesMax: 4 * SharerDirectory.entryBytes)
        #expect(directory.capacity == 4)
        for hash in 0..<4 as Range<UInt64> { #expect(directory.share(hash, clock: 1, with: 1, until: 10, now: 0) == nil) }
        #expect(directory.changed(0, clock: 2, now: 10) == 0)
        for hash in 4..<8 as Range<UInt64> { #expect(directory.share(hash, clock: 1, with: 1, until: 30, now: 10) == nil) }
    }

    @Test func aFullSetDisplacesWhatIsOverFirstAndSaysWhoHadIt() {
        var directory = SharerDirectory(bytesMax: 4 * SharerDirectory.entryBytes)
        for (hash, until) in [(1, 40), (2, 20), (3, 30), (4, 50)] as [(UInt64, UInt64)] {
            _ = directory.share(hash, clock: 1, with: 1 << hash, until: until, now: 0)
        }
        #expect(directory.share(5, clock: 1, with: 1, until: 60, now: 0) == .init(hash: 2, sharers: 1 << 2))
        #expect(directory.share(6, clock: 1, with: 1, until: 60, now: 0) == .init(hash: 3, sharers: 1 << 3))
        #expect(directory.changed(2, clock: 2, now: 0) == 0 && directory.changed(1, clock: 2, now: 0) == 1 << 1)
        directory.removeAll()
        #expect(directory.changed(4, clock: 2, now: 0) == 0)
    }

    /// Whoever has a copy is told before it is outdated: by the change, or when the entry gave way.
    @Test(arguments: Seeds.chosen(1...20))
    func nobodyIsForgotten(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var directory = SharerDirectory(bytesMax: 16 * SharerDirectory.entryBytes)
        /// By key and sharer: the clock and the end of the newest copy that it was not told to drop.
        var copies: [UInt64: [Int: (clock: UInt64, until: UInt64)]] = [:]
        var now: UInt64 = 0
        func drop(_ hash: UInt64, _ sharers: UInt64, below clock: UInt64) {
            copies[hash] = copies[hash]?.filter { sharers >> UInt64($0.key) & 1 == 0 || $0.value.clock >= clock }
        }
        for step in 0..<5000 {
            now += UInt64.random(in: 0...2, using: &random)
            let hash = UInt64.random(in: 0..<60, using: &random)
            if Int.random(in: 0..<3, using: &random) > 0 {
                let sharer = Int.random(in: 0..<64, using: &random), until = now + UInt64.random(in: 1...40, using: &random)
                let clock = UInt64(step - Int.random(in: 0...3, using: &random) + 4)
                let displaced = directory.share(hash, clock: clock, with: 1 << UInt64(sharer), until: until, now: now)
                if let displaced { drop(displaced.hash, displaced.sharers, below: .max) }
                copies[hash, default: [:]][sharer] = (clock, until)
            } else {
                let clock = UInt64(step + 4)
                drop(hash, directory.changed(hash, clock: clock, now: now), below: clock)
                let outdated = (copies[hash] ?? [:]).filter { $0.value.clock < clock && $0.value.until > now }
                #expect(outdated.isEmpty, "seed \(seed) step \(step)")
            }
        }
    }
}

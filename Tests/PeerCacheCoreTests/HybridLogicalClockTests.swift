import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct HybridLogicalClockTests {
    @Test func readingsRiseWhenTheWallClockStandsOrGoesBack() {
        var clock = HybridLogicalClock()
        var before = clock.tick(wallMilliseconds: 1000)
        for wall: UInt64 in [1000, 1000, 900, 1001, 0] {
            let next = clock.tick(wallMilliseconds: wall)
            #expect(next > before)
            before = next
        }
    }

    @Test func aFullCounterCarriesIntoTheMilliseconds() {
        var clock = HybridLogicalClock()
        for _ in 0...70_000 { _ = clock.tick(wallMilliseconds: 5) }
        #expect(clock.last >> 16 == 6)
    }

    @Test func mintIsAboveTheGuard() {
        var clock = HybridLogicalClock()
        let theirs: UInt64 = 1400 << 16
        let minted = clock.mint(above: theirs, wallMilliseconds: 1000)
        #expect(minted == theirs + 1)
    }

    @Test func readingsTooFarAheadAreRefusedAndChangeNothing() {
        var clock = HybridLogicalClock()
        _ = clock.tick(wallMilliseconds: 1000)
        let before = clock.last
        let tooFar = clock.merge(11_001 << 16, wallMilliseconds: 1000, offsetMillisecondsMax: 10_000)
        #expect(!tooFar)
        #expect(clock.last == before)
        let allowed = clock.merge(11_000 << 16, wallMilliseconds: 1000, offsetMillisecondsMax: 10_000)
        #expect(allowed)
        #expect(clock.last == 11_000 << 16)
    }

    @Test func nothingTrapsAtTheEndsOfTheRange() {
        var clock = HybridLogicalClock()
        _ = clock.mint(above: .max, wallMilliseconds: .max)
        _ = clock.tick(wallMilliseconds: .max)
        #expect(clock.last == .max)
    }
}

import PeerCacheTesting
import Testing

/// The simulated streams against what was measured on Linux (`GOSSIP.md` §5), within 5 points.
@Suite struct StreamFiguresTests {
    private static let seed = Seeds.chosen(1...1)[0]

    private func expect(_ measured: Int, near percent: Double, _ what: String) {
        let figure = Double(measured) / 1_000
        #expect(abs(figure - percent) <= 5, "\(what): \(figure) % instead of \(percent) %, PEERCACHE_SEED=\(Self.seed)")
    }

    @Test func probesOnOneConnectionAreDelayedAsMeasured() {
        let few = StreamFigures.probes(20_000, lossPercent: 5, seed: Self.seed)
        expect(few.fast, near: 99.5, "answered within 300 ms at 5 % loss")
        #expect(few.slow <= 100, "not answered within 1 s at 5 % loss: \(few.slow) per 100,000, measured 40, PEERCACHE_SEED=\(Self.seed)")
        let many = StreamFigures.probes(20_000, lossPercent: 30, seed: Self.seed)
        expect(many.fast, near: 56, "answered within 300 ms at 30 % loss")
        expect(many.slow, near: 31, "not answered within 1 s at 30 % loss")
    }

    @Test func freshDialsAreAnsweredAsMeasured() {
        expect(StreamFigures.freshDials(4, rounds: 5_000, lossPercent: 30, seed: Self.seed), near: 88, "one of four dials")
        expect(StreamFigures.freshDials(7, rounds: 5_000, lossPercent: 30, seed: Self.seed), near: 96, "one of seven dials")
    }

    @Test func withoutLossEveryProbeIsAnsweredAtOnce() {
        let none = StreamFigures.probes(1_000, lossPercent: 0, seed: Self.seed)
        #expect(none.fast == 100_000 && none.slow == 0)
    }
}

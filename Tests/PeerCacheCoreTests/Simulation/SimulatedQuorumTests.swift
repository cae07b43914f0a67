import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct SimulatedQuorumTests {
    private static let placements = Result { try PlacementCache() }

    /// Strict caches under loss, duplicates, crashes, splits and evictions: every hit is explained by one register that may forget.
    @Test(arguments: QuorumScenario.Profile.allCases) func historiesAreLinearizable(_ profile: QuorumScenario.Profile) throws {
        let placements = try Self.placements.get()
        var figures = QuorumFigures()
        for seed in UInt64(1)...25 {
            var simulation = try SimulatedQuorum(QuorumScenario(seed: seed, profile: profile), placements: placements)
            try simulation.run()
            figures.add(simulation.figures)
            if let problem = simulation.problem { Issue.record("seed \(seed), profile \(profile): \(problem)") }
        }
        // A run in which nothing happens proves nothing.
        #expect(figures.writes > 0 && figures.hits > 0 && figures.votes > 0)
    }

    /// 35,299: some founded, a placement of the same voters came and went, and a division: all are back, and all know that nothing is older.
    /// 40,433,689: all voted, so that a voter of before forgot, but the one that was cut off did not hear of it.
    /// 70,040,995: each of four voted alone, under another placement, and all say that nothing can have come of it.
    @Test(arguments: [35_299, 40_433_689, 70_040_995] as [UInt64]) func nothingIsSilentWhenAllAreBack(_ seed: UInt64) throws {
        var simulation = try SimulatedQuorum(QuorumScenario(seed: seed, profile: .split), placements: Self.placements.get())
        try simulation.run()
        #expect(simulation.problem == nil)
        #expect(simulation.figures.silent == 0)
    }

    @Test func theCheckerKnowsARegister() {
        typealias Event = RegisterHistory.Event
        func history(_ events: Event...) -> RegisterHistory {
            var history = RegisterHistory()
            history.events = events
            return history
        }
        let write1 = Event(.write(1), start: 0, end: 10), write2 = Event(.write(2), start: 20, end: 30)
        #expect(history(write1, write2, Event(.read(2), start: 40, end: 50)).isLinearizable)
        #expect(!history(write1, write2, Event(.read(1), start: 40, end: 50)).isLinearizable)
        #expect(history(write1, write2, Event(.read(1), start: 25, end: 50)).isLinearizable)
        // New, then old.
        let long = Event(.write(2), start: 20, end: 90)
        #expect(!history(write1, long, Event(.read(2), start: 40, end: 50), Event(.read(1), start: 60, end: 70)).isLinearizable)
        // A removal is a write, and nobody knows when an unanswered one takes effect.
        let removal = Event(.write(nil), start: 20, end: 30)
        #expect(!history(write1, removal, Event(.read(1), start: 40, end: 50)).isLinearizable)
        let unknown = Event(.write(nil), start: 20, end: .max)
        #expect(history(write1, unknown, Event(.read(1), start: 40, end: 50)).isLinearizable)
        // What was never written.
        #expect(!history(write1, Event(.read(7), start: 40, end: 50)).isLinearizable)
    }
}

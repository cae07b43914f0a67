internal import PeerCacheTesting

/// One simulated history of a cache: short ones of strict caches, which must be linearizable, and deploys of fast caches. See
/// `SimulatedQuorum` and `SimulatedReplicas`.
public struct HistoryRun: Sendable {
    /// Names of all profiles; `long` is a deploy of 2,000 operations, and in `surge` several peers come and go at once, which have several
    /// caches.
    public static var profiles: [String] { strict + ["fast", "long", "surge"] }
    /// Names of the mistakes that strict histories can make, to see that they are found.
    public static var mutants: [String] { QuorumScenario.Mutant.allCases.map(\.rawValue) }

    /// What was read or left that must not be; nil: nothing.
    public let problem: String?
    /// Of all that happened.
    public let hash: UInt64
    /// How often what happened; the names are the same for all strict profiles, and for the others.
    public let counters: [(name: String, count: Int)]

    private static var strict: [String] { QuorumScenario.Profile.allCases.map(\.rawValue) }

    /// What several runs share. Safe to use from several threads.
    public struct Shared: Sendable {
        let placements: PlacementCache

        /// Nothing is known yet.
        public init() throws { placements = try PlacementCache() }
    }

    /// The profile of a seed when none is named: the strict ones in turn, and now and then one of the others, which take 200 times as long.
    public static func profile(of seed: UInt64) -> String {
        // Primes: what a scenario takes from the seed stays free. Surges take seconds each.
        if seed % 787 == 0 { return "surge" }
        if seed % 197 == 0 { return "fast" }
        return seed % 199 == 0 ? "long" : strict[Int(seed % UInt64(strict.count))]
    }

    /// - Parameters:
    ///   - profile: one of ``profiles``; others are run as `mixed`.
    ///   - mutant: one of ``mutants``, for strict profiles.
    public init(seed: UInt64, profile: String, mutant: String? = nil, shared: Shared, trace: ((String) -> Void)? = nil) throws {
        if !Self.strict.contains(profile) {
            var scenario = profile == "surge" ? SimulatedReplicas.Scenario(surge: seed) : .init(mixed: seed)
            if profile == "fast" {
                (scenario.operations, scenario.changesEvery) = (300, 50..<400)
                // An owner that loses its sources in one division after another forgets what it took in meanwhile.
                scenario.splits = false
            }
            var simulation = try SimulatedReplicas(scenario)
            simulation.trace = trace
            try simulation.run()
            let figures = simulation.figures
            (problem, hash) = (simulation.problem, simulation.hash)
            counters = [
                ("fast hits", figures.hits), ("fast loads", figures.loads), ("hits at former owners", figures.warm),
                ("joins", figures.joins), ("leaves", figures.leaves), ("fast crashes", figures.crashes), ("fast splits", figures.splits),
                ("fast losses", figures.losses), ("repairs", figures.repairs), ("moves in surges", figures.surges),
                ("newcomers apart", figures.apart), ("checks of all copies", figures.checks),
            ]
            return
        }
        let scenario = QuorumScenario(
            seed: seed, profile: QuorumScenario.Profile(rawValue: profile) ?? .mixed,
            mutant: mutant.flatMap { QuorumScenario.Mutant(rawValue: $0) })
        var simulation = try SimulatedQuorum(scenario, placements: shared.placements)
        simulation.trace = trace
        try simulation.run()
        (problem, hash) = (simulation.problem, simulation.hash)
        counters = QuorumFigures.all.map { ($0.name, simulation.figures[keyPath: $0.counter]) }
    }
}

internal import PeerCacheTesting

/// One simulated deploy: joins, leaves and, for some seeds, crashes while keys are written and read. See `SimulatedReplicas`.
public struct ReplicaRun: Sendable {
    /// Repeats it.
    public let seed: UInt64
    /// What was read or left that must not be; nil: nothing.
    public let problem: String?
    /// Reads answered by what was held.
    public let hits: Int
    /// Loader calls.
    public let loads: Int
    /// Of the hits, those that a former owner answered.
    public let warmHits: Int
    /// Peers that came.
    public let joins: Int
    /// Peers that went gracefully.
    public let leaves: Int
    /// Peers that went at once.
    public let crashes: Int
    /// Pages fetched.
    public let pages: Int
    /// Buckets repaired.
    public let repairs: Int

    /// Runs the scenario of a seed. About a quarter of a second in a release build.
    public init(seed: UInt64) throws {
        var simulation = try SimulatedReplicas(.init(mixed: seed))
        try simulation.run()
        let figures = simulation.figures
        self.seed = seed
        problem = simulation.problem
        (hits, loads, warmHits) = (figures.hits, figures.loads, figures.warm)
        (joins, leaves, crashes) = (figures.joins, figures.leaves, figures.crashes)
        (pages, repairs) = (figures.pages, figures.repairs)
    }
}

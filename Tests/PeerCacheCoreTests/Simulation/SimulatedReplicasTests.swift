import PeerCacheTesting
import Testing

/// Slots move while keys are written and read: no read is older than what was written before it began, and in the end all holders agree.
@Suite struct SimulatedReplicasTests {
    @Test(arguments: Seeds.chosen(1...3)) func deploysAndCrashes(seed: UInt64) throws { try expectNoProblem(seed) }

    /// Once each: a peer that lost a slot long ago answered for it (28; also 116, 139, 191); a slot that came back was owed for ever (41;
    /// also 25, 125); a copy stayed behind (1528); what was removed on one side of a division came back (24). Thousands of seeds take
    /// minutes in a release build: `peercache-sim --profile long`.
    @Test(arguments: [24, 28, 41, 1528] as [UInt64]) func onceBroken(seed: UInt64) throws { try expectNoProblem(seed) }

    /// Once broken: an owner that took writes while it gathered a slot forgot them when its sources went in the next division.
    @Test func divisionsThatFollowOneAnother() throws {
        var scenario = SimulatedReplicas.Scenario(mixed: 9_299)
        (scenario.operations, scenario.changesEvery, scenario.splits) = (300, 50..<400, true)
        try expectNoProblem(scenario)
    }

    /// Once broken: an owner that lost its slot while it was fetching did not count as the last owner, and an older value was read.
    @Test func joinsThatFollowOneAnother() throws {
        var scenario = SimulatedReplicas.Scenario(mixed: 10_079_899)
        (scenario.operations, scenario.changesEvery, scenario.splits) = (300, 50..<400, false)
        try expectNoProblem(scenario)
    }

    /// Both holders of a key crash one after another: what only they knew is lost, and the rest still has to agree.
    @Test func allHoldersCrash() throws {
        var scenario = SimulatedReplicas.Scenario(mixed: 2_152_225)
        (scenario.operations, scenario.changesEvery, scenario.splits) = (300, 50..<400, false)
        try expectNoProblem(scenario)
    }

    /// Once broken: a copy that had missed a write became owner and answered with what it had, when the owner before left in order.
    @Test(arguments: [29, 1_057, 1_093] as [UInt64]) func copiesThatMissedWrites(seed: UInt64) throws {
        var scenario = SimulatedReplicas.Scenario(mixed: seed)
        (scenario.operations, scenario.changesEvery, scenario.splits, scenario.losses) = (300, 50..<400, false, 40)
        try expectNoProblem(scenario)
    }

    /// Several peers come and go at once, with caches of different copies. Many seeds, and longer ones, take minutes in a release build:
    /// `peercache-sim --profile surge`.
    @Test func manyAtOnce() throws {
        var scenario = SimulatedReplicas.Scenario(surge: 9)
        scenario.operations = 200
        try expectNoProblem(scenario)
    }

    private func expectNoProblem(_ seed: UInt64) throws {
        var scenario = SimulatedReplicas.Scenario(mixed: seed)
        scenario.losses = 0
        try expectNoProblem(scenario)
    }

    private func expectNoProblem(_ scenario: SimulatedReplicas.Scenario) throws {
        var simulation = try SimulatedReplicas(scenario)
        try simulation.run()
        #expect(simulation.problem == nil, "PEERCACHE_SEED=\(scenario.seed)")
        let figures = simulation.figures
        #expect(figures.joins + figures.leaves + figures.splits > 0 && figures.pages > 0 && figures.hits > 0)
    }
}

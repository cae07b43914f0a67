import PeerCacheTesting
import Testing

/// Slots move while keys are written and read: no read is older than what was written before it began, and in the end all holders agree.
@Suite struct SimulatedReplicasTests {
    private func run(_ scenario: SimulatedReplicas.Scenario) throws -> SimulatedReplicas.Figures {
        var simulation = try SimulatedReplicas(scenario)
        try simulation.run()
        #expect(simulation.problem == nil, "PEERCACHE_SEED=\(scenario.seed) copies \(scenario.copies)")
        return simulation.figures
    }

    @Test(arguments: Seeds.chosen(1...12)) func deploys(seed: UInt64) throws {
        for copies in 1...3 {
            var scenario = SimulatedReplicas.Scenario(seed: seed)
            scenario.copies = copies
            let figures = try run(scenario)
            #expect(figures.joins + figures.leaves > 0 && figures.pages > 0 && figures.hits > 0)
        }
    }

    @Test(arguments: Seeds.chosen(1...12)) func deploysThatWaitForNobody(seed: UInt64) throws {
        for copies in 1...3 {
            var scenario = SimulatedReplicas.Scenario(seed: seed)
            scenario.copies = copies
            scenario.isGated = false
            _ = try run(scenario)
        }
    }

    @Test(arguments: Seeds.chosen(1...12)) func crashes(seed: UInt64) throws {
        for copies in 2...3 {
            var scenario = SimulatedReplicas.Scenario(seed: seed)
            scenario.copies = copies
            scenario.crashes = true
            _ = try run(scenario)
        }
    }
}

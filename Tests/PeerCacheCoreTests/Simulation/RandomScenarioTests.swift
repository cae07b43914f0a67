import PeerCacheTesting
import Testing

/// Clusters under random faults: nothing that must never happen happens, and when the network is whole everybody has one view.
@Suite struct RandomScenarioTests {
    @Test(arguments: Seeds.chosen(1...64)) func keepsThePromisesAndHeals(seed: UInt64) {
        let scenario = Scenario.random(seed: seed)
        let violations = SimulatedCluster(scenario, seed: seed).run()
        guard !violations.isEmpty else { return }
        let smallest = scenario.shrunk(seed: seed)
        Issue.record("PEERCACHE_SEED=\(seed): \(violations.prefix(4))\nfewest faults: \(smallest)")
    }

    @Test(arguments: Seeds.chosen(1...8)) func runsTwiceAlike(seed: UInt64) {
        let scenario = Scenario.random(seed: seed)
        let one = SimulatedCluster(scenario, seed: seed), other = SimulatedCluster(scenario, seed: seed)
        #expect(one.run() == other.run())
        #expect(one.trace == other.trace && one.counts == other.counts, "PEERCACHE_SEED=\(seed)")
    }
}

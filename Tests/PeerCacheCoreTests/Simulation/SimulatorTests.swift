import PeerCacheCore
import Testing

@testable import PeerCacheTesting

/// The simulator itself.
@Suite struct SimulatorTests {
    private let seed = Seeds.chosen(1...1)[0]

    @Test func queueGivesOutByTimeThenByOrder() {
        var queue = EventQueue<Int>(), random = SeededRandom(seed: seed), expected: [(Int64, Int)] = []
        for number in 0..<500 {
            let time = Int64(random.below(50))
            queue.push(number, at: time)
            expected.append((time, number))
        }
        expected.sort { $0 < $1 }
        for (time, number) in expected {
            let entry = queue.pop()
            #expect(entry?.time == time && entry?.payload == number)
        }
        #expect(queue.pop() == nil)
    }

    @Test func exponentialHasItsMeanAndTail() {
        var random = SeededRandom(seed: seed)
        let drawn = (0..<200_000).map { _ in random.exponential(mean: 1_000_000) }
        let mean = drawn.reduce(0, +) / Int64(drawn.count)
        #expect(abs(mean - 1_000_000) < 15_000, "PEERCACHE_SEED=\(seed): \(mean)")
        let beyond = drawn.count { $0 > 3_000_000 }
        #expect(abs(beyond - 9_957) < 600, "e^-3 of them: \(beyond)")
    }

    /// A stream hands up each message once and in order, whatever is lost; a message of many segments too.
    @Test(arguments: [0, 5, 30] as [UInt32]) func streamKeepsOrder(loss: UInt32) {
        let network = SimulatedNetwork(seed: seed)
        network.quality = LinkQuality(lossPercent: loss)
        network.streamTimeout = .max
        network.hosts = [SimulatedNetwork.Host(), SimulatedNetwork.Host()]
        let stream = network.makeStream(from: 0, to: SimulatedCluster.address(1))
        stream.ends[1].host = 1
        for end in 0...1 { stream.ends[end].stage = .established }
        var received: [[UInt8]] = []
        for number in 0..<200 {
            network.send(.frame([UInt8(number)]), bytes: number % 10 == 0 ? 30_000 : 60, on: stream, from: number % 2)
            while let happening = network.next(until: network.time + 20_000_000) {
                if case .delivered(.frame(let frame), _, let end) = happening { received.append(frame + [UInt8(end)]) }
            }
        }
        while let happening = network.next(until: network.time + 3_600_000_000_000) {
            if case .delivered(.frame(let frame), _, let end) = happening { received.append(frame + [UInt8(end)]) }
        }
        for end in 0...1 {
            let expected = (0..<200).filter { $0 % 2 != end }.map { UInt8($0) }
            #expect(received.filter { $0[1] == UInt8(end) }.map { $0[0] } == expected, "PEERCACHE_SEED=\(seed)")
        }
    }

    @Test func faultsGiveTheEvidenceTheyShould() {
        let evidence = { (fault: [Fault]) -> (dead: Int, inputs: Int) in
            let cluster = SimulatedCluster(Scenario(peers: 3), seed: self.seed)
            cluster.start()
            cluster.advance(by: 10_000_000_000)
            for fault in fault { #expect(cluster.apply(fault)) }
            cluster.advance(by: 1_500_000_000)
            return (cluster.counts.dead, cluster.counts.inputs)
        }
        #expect(evidence([.crash(2)]).dead == 2, "a kernel refuses: known within a second and a half")
        #expect(evidence([.loseHost(2)]).dead == 0, "silence takes longer")
        #expect(evidence([.acceptForDead(2, for: .max / 8), .crash(2)]).dead == 0, "a proxy that accepts hides it")
        #expect(evidence([.pause(2, for: 1_000_000_000)]).dead == 0)
        #expect(evidence([.reset(2)]).dead == 0)
    }

    @Test func aFaultThatFindsNobodyIsCountedAsIdle() {
        let cluster = SimulatedCluster(Scenario(peers: 2), seed: seed)
        cluster.start()
        #expect(!cluster.apply(.crash(7)) && !cluster.apply(.start(1)) && !cluster.apply(.leave(9)))
        #expect(cluster.counts.faultsIdle == 3 && cluster.counts.faultsDone == 0)
    }

    @Test func aRunThatExercisedNothingFails() {
        var scenario = Scenario(peers: 1)
        scenario.length = 1_000_000_000
        #expect(!SimulatedCluster(scenario, seed: seed).run().isEmpty)
        scenario.peers = 3
        scenario.faults = [Scenario.TimedFault(at: 0, .crash(9))]
        #expect(!SimulatedCluster(scenario, seed: seed).run().isEmpty)
    }

    @Test func twoSeedsDiffer() {
        let traces = (1...2).map { seed in
            let cluster = SimulatedCluster(Scenario(peers: 3), seed: UInt64(seed))
            cluster.start()
            cluster.advance(by: 5_000_000_000)
            return cluster.trace
        }
        #expect(traces[0] != traces[1])
    }
}

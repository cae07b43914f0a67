import PeerCacheCore
import PeerCacheTesting
import Testing

/// Whole clusters on ``GossipNetwork``. Every failure names the seed that repeats it.
@Suite struct GossipClusterTests {
    static let addresses = (1...40).map(GossipNetwork.address)

    private func cluster(_ count: Int, seed: UInt64) throws -> GossipNetwork {
        var network = GossipNetwork(seed: seed)
        for index in 0..<count { try network.start(at: Self.addresses[index], discovery: Array(Self.addresses[..<count])) }
        let took = network.advance(upTo: .seconds(10)) { $0.agrees }
        #expect(took != nil, "did not form, seed \(seed)")
        network.advance(by: .seconds(3))
        return network
    }

    @Test(arguments: [3, 5, 16], [1, 2, 3] as [UInt64]) func joinsAndAgrees(count: Int, seed: UInt64) throws {
        let network = try cluster(count, seed: seed)
        #expect(network.agrees, "seed \(seed)")
        for one in 0..<count {
            for other in 0..<one { #expect(network.streamCount(one, other) == 1, "\(one) to \(other), seed \(seed)") }
        }
        // Joining is quiet: nobody is ever declared dead, nobody had to refute.
        for process in network.processes {
            #expect(process.events.allSatisfy { if case .dead = $0 { false } else { $0 != .selfRefuted } }, "seed \(seed)")
        }
    }

    @Test(arguments: [3, 5, 16], [11, 12, 13] as [UInt64]) func everySurvivorNoticesACrashWithinASecond(count: Int, seed: UInt64) throws {
        var network = try cluster(count, seed: seed)
        network.crash(1)
        let took = network.advance(upTo: .seconds(2)) { $0.agrees }
        #expect(try #require(took, "seed \(seed)") < .seconds(1), "seed \(seed)")
        for index in network.up { #expect(network.status(of: 1, at: index) == .dead, "seed \(seed)") }
    }

    @Test(arguments: [21, 22, 23] as [UInt64]) func aRestartAtTheSameAddressIsANewMember(seed: UInt64) throws {
        var network = try cluster(5, seed: seed)
        network.crash(2)
        let successor = try network.start(at: Self.addresses[2], discovery: Self.addresses)
        let took = network.advance(upTo: .seconds(3)) { $0.agrees }
        #expect(took != nil, "seed \(seed)")
        #expect(network.status(of: 2, at: 0) == .dead && network.status(of: successor, at: 0) == .alive, "seed \(seed)")
    }

    @Test(arguments: [31, 32, 33] as [UInt64]) func halvesHealToOneView(seed: UInt64) throws {
        var network = try cluster(6, seed: seed)
        network.partition([[0, 1, 2], [3, 4, 5]])
        network.advance(by: .seconds(60))
        #expect(network.placed(0) == [0, 1, 2].map { network.processes[$0].id }.sorted(), "seed \(seed)")
        #expect(network.placed(5) == [3, 4, 5].map { network.processes[$0].id }.sorted(), "seed \(seed)")
        network.heal()
        let took = network.advance(upTo: .seconds(15)) { $0.agrees }
        #expect(took != nil, "seed \(seed)")
        // Everybody was declared dead by the other side and knows it.
        for process in network.processes { #expect(process.events.contains(.selfRefuted), "seed \(seed)") }
        network.advance(by: .seconds(30))
        #expect(network.agrees, "stays healed, seed \(seed)")
    }

    @Test(arguments: [41, 42] as [UInt64]) func aShortCutIsNoVerdict(seed: UInt64) throws {
        var network = try cluster(5, seed: seed)
        network.partition([[0, 1], [2, 3, 4]])
        network.advance(by: .seconds(4))
        network.heal()
        network.advance(by: .seconds(20))
        #expect(network.agrees, "seed \(seed)")
        for process in network.processes {
            #expect(process.events.allSatisfy { if case .dead = $0 { false } else { true } }, "seed \(seed)")
        }
    }

    @Test(arguments: [51, 52] as [UInt64]) func rollingRestart(seed: UInt64) throws {
        var network = try cluster(5, seed: seed)
        for old in 0..<5 {
            network.command(.leave, at: old)
            network.advance(by: .seconds(1))
            for other in network.up where other != old {
                #expect(network.status(of: old, at: other) == .leaving, "\(old) at \(other), seed \(seed)")
            }
            network.command(.stopped, at: old)
            network.advance(by: .milliseconds(100))
            network.crash(old)
            try network.start(at: Self.addresses[old], discovery: Array(Self.addresses[..<5]))
            let took = network.advance(upTo: .seconds(10)) { $0.agrees }
            #expect(took != nil, "step \(old), seed \(seed)")
        }
        for process in network.processes {
            #expect(process.events.allSatisfy { if case .dead = $0 { false } else { true } }, "a leave is no crash, seed \(seed)")
        }
    }

    @Test(arguments: [61, 62] as [UInt64]) func staleDiscoveryAtStartMakesNoIsland(seed: UInt64) throws {
        var network = GossipNetwork(seed: seed)
        let stale = Array(Self.addresses[30..<34])
        network.strangers = [stale[0]]
        try network.start(at: Self.addresses[0], discovery: nil)
        try network.start(at: Self.addresses[1], discovery: [])
        try network.start(at: Self.addresses[2], discovery: stale)
        network.advance(by: .seconds(20))
        #expect(network.placed(0).count == 1 && network.placed(2).count == 1, "seed \(seed)")
        for index in 0..<3 { network.setDiscovery(Array(Self.addresses[..<3]), at: index) }
        let took = network.advance(upTo: .seconds(10)) { $0.agrees }
        #expect(took != nil, "seed \(seed)")
        let warnings = network.processes[2].events.filter { $0 == .foreignPeer(stale[0], .cluster) }
        #expect(warnings.count == 1, "seed \(seed)")
    }

    /// Two pairs whose seeds name only each other, and one that names both.
    @Test(arguments: [71, 72] as [UInt64]) func islandsMergeOnContact(seed: UInt64) throws {
        var network = GossipNetwork(seed: seed)
        for index in 0..<2 { try network.start(at: Self.addresses[index], discovery: Array(Self.addresses[0..<2])) }
        for index in 2..<4 { try network.start(at: Self.addresses[index], discovery: Array(Self.addresses[2..<4])) }
        network.advance(by: .seconds(5))
        #expect(network.placed(0).count == 2, "seed \(seed)")
        try network.start(at: Self.addresses[4], discovery: Array(Self.addresses[..<4]))
        let took = network.advance(upTo: .seconds(5)) { $0.agrees }
        #expect(took != nil, "seed \(seed)")
    }

    @Test(arguments: [81, 82] as [UInt64]) func aResetOfALivePeerIsNoVerdict(seed: UInt64) throws {
        var network = try cluster(5, seed: seed)
        for other in 1..<5 { network.reset(0, other) }
        network.refusing = [Self.addresses[0]]
        network.advance(by: .milliseconds(60))
        network.refusing = []
        network.advance(by: .seconds(2))
        #expect(network.agrees, "seed \(seed)")
        for process in network.processes {
            #expect(process.events.allSatisfy { if case .dead = $0 { false } else { true } }, "seed \(seed)")
        }
        for other in 1..<5 { #expect(network.streamCount(0, other) == 1, "seed \(seed)") }
    }

    /// One pair is cut for good: whatever the two think of each other, the others keep both and nobody flaps.
    @Test(arguments: [91] as [UInt64]) func aBrokenPathBetweenTwoDoesNotFlap(seed: UInt64) throws {
        var network = try cluster(3, seed: seed)
        network.blocked = [[0, 1]]
        network.advance(by: .seconds(120))
        #expect(network.placed(2).count == 3, "seed \(seed)")
        let verdicts = network.processes[0].events.count { if case .dead = $0 { true } else { false } }
        #expect(verdicts <= 4, "seed \(seed): \(verdicts)")
        network.blocked = []
        let took = network.advance(upTo: .seconds(15)) { $0.agrees }
        #expect(took != nil, "seed \(seed)")
    }

    @Test func theSameSeedGivesTheSameEffects() throws {
        func run() throws -> [GossipNetwork.Logged] {
            var network = try cluster(5, seed: 7)
            network.crash(0)
            network.partition([[1, 2], [3, 4]])
            network.advance(by: .seconds(30))
            network.heal()
            network.advance(by: .seconds(10))
            return network.log
        }
        let first = try run(), second = try run()
        #expect(first.count > 500 && first == second)
    }
}

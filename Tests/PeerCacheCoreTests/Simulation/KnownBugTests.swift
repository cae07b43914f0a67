import PeerCacheCore
import PeerCacheTesting
import Testing

/// What went wrong in other gossip libraries (`GOSSIP.md` §15), replayed.
@Suite struct KnownBugTests {
    private static let second: Int64 = 1_000_000_000
    private let seed = Seeds.chosen(1...1)[0]
    private let second = KnownBugTests.second

    private func cluster(
        _ peers: Int, lossPercent: UInt32 = 0, configuration: GossipConfiguration = GossipConfiguration()
    ) -> SimulatedCluster {
        var scenario = Scenario(peers: peers)
        scenario.quality = LinkQuality(lossPercent: lossPercent)
        scenario.configuration = configuration
        let cluster = SimulatedCluster(scenario, seed: seed)
        cluster.start()
        cluster.advance(by: 10 * second)
        return cluster
    }

    private func expectAgreement(_ cluster: SimulatedCluster, within seconds: Int64, _ what: Comment) {
        let took = cluster.advance(upTo: seconds * second, step: 100_000_000) { $0.agrees }
        #expect(took != nil, what)
        #expect(cluster.violations.isEmpty, "PEERCACHE_SEED=\(seed): \(cluster.violations)")
    }

    @Test("hashicorp/memberlist#222: an isolated peer returns") func isolatedPeerReturns() {
        let cluster = cluster(5)
        cluster.apply(.partition([[0]], for: 600 * second))
        cluster.advance(by: 600 * second)
        expectAgreement(cluster, within: 15, "one view after the partition")
    }

    @Test("two members that advertise one address both stay, and keep what they store") func oneAddressForTwo() throws {
        let cluster = cluster(4)
        var refuted = 0, conflicts = 0
        cluster.onEvent = { _, event in
            if event == .selfRefuted { refuted += 1 }
            if case .addressConflict = event { conflicts += 1 }
        }
        let number = try #require(cluster.start(seat: 4, advertised: SimulatedCluster.address(0)))
        cluster.advance(by: 300 * second)
        #expect(refuted == 0 && cluster.wrongVerdicts.isEmpty, "PEERCACHE_SEED=\(seed): \(cluster.wrongVerdicts)")
        #expect(conflicts > 0 && cluster.holders(of: number) == 5)
        expectAgreement(cluster, within: 1, "one view")
    }

    /// It declared the others dead as they did it: nobody is left who dials of his own accord but those who look after the dead.
    @Test("whom nobody reached for some seconds is back within two", arguments: [3, 16]) func briefIsolationHeals(peers: Int) {
        let cluster = cluster(peers)
        for round in 0..<12 {
            cluster.apply(.refuseBoth(round % peers, for: 5 * second))
            cluster.apply(.reset(round % peers))
            cluster.advance(by: 5 * second)
            expectAgreement(cluster, within: 2, "round \(round)")
            cluster.advance(by: 32 * second)
        }
    }

    @Test("hashicorp/serf#605: a partition of two hours heals") func longPartitionHeals() {
        let cluster = cluster(4)
        cluster.apply(.partition([[0, 1]], for: 7_200 * second))
        cluster.advance(by: 7_200 * second)
        expectAgreement(cluster, within: 45, "one view after the partition")
    }

    @Test("grafana/mimir#6187, grafana/loki#10172: re-used addresses do not merge two clusters") func addressesOfTwoClusters() {
        let cluster = cluster(4)
        for seat in 6..<9 { cluster.apply(.startStranger(seat)) }
        cluster.advance(by: 20 * second)
        cluster.apply(.crash(1))
        cluster.apply(.startStranger(1))
        cluster.apply(.crash(7))
        cluster.apply(.start(7))
        cluster.advance(by: 20 * second)
        expectAgreement(cluster, within: 60, "each cluster by itself")
    }

    @Test("prometheus/alertmanager#2250: addresses that discovery dropped are not dialled for ever") func oldAddressesRest() {
        let cluster = cluster(3)
        cluster.apply(.loseHost(2))
        cluster.advance(by: 4_500 * second)
        let dials = cluster.counts.dials
        cluster.advance(by: 600 * second)
        #expect(cluster.counts.dials - dials <= 4)
        expectAgreement(cluster, within: 1, "two peers")
    }

    @Test("prometheus/alertmanager#1449, #1661: failed or stale discovery at start leaves no island", arguments: [0, 1, 2])
    func discoveryFailsAtStart(kind: Int) {
        let states: [DiscoveryState] = [.failing, .stale, .empty]
        let cluster = SimulatedCluster(Scenario(peers: 5), seed: seed)
        cluster.apply(.discovery(nil, states[kind], for: 30 * second))
        cluster.start()
        cluster.advance(by: 30 * second)
        expectAgreement(cluster, within: 10, "one view when discovery answers right")
    }

    @Test("cortexproject/cortex#2130, hashicorp/memberlist#157: the same name at another address is let in") func sameNameElsewhere() {
        let cluster = cluster(4)
        cluster.apply(.loseHost(1))
        cluster.start(seat: 8, name: "peer-1")
        cluster.advance(by: 2 * second)
        #expect(cluster.present.allSatisfy { cluster.view($0).placed.count { $0.name == "peer-1" } >= 1 })
        expectAgreement(cluster, within: 30, "the newcomer, and the old one gone")
    }

    @Test("caio/foca#31: restarts do not make the table grow without bound") func manyRestarts() {
        var configuration = GossipConfiguration()
        configuration.departedMax = 16
        let cluster = cluster(4, configuration: configuration)
        for _ in 0..<60 {
            cluster.apply(.restart(1, after: 100_000_000))
            cluster.advance(by: 1_500_000_000)
        }
        cluster.advance(by: 60 * second)
        for number in cluster.present { #expect(cluster.view(number).members.count <= 4 + 16) }
        expectAgreement(cluster, within: 30, "four peers")
    }

    @Test("caio/foca#15, #25: nobody is declared dead in a loop after a partition") func noLoopOfVerdicts() {
        let cluster = cluster(6)
        for _ in 0..<3 {
            cluster.apply(.partition([[0, 1, 2]], for: 60 * second))
            cluster.advance(by: 120 * second)
        }
        let dead = cluster.counts.dead, suspected = cluster.counts.suspected
        cluster.advance(by: 300 * second)
        #expect(cluster.counts.dead == dead && cluster.counts.suspected == suspected)
        #expect(cluster.view(0).members.allSatisfy { $0.record.incarnation <= 16 })
        expectAgreement(cluster, within: 1, "six peers")
    }

    @Test("quickwit-oss/chitchat#161, #155: the dead are forgotten everywhere and not told again") func theDeadAreForgotten() {
        var configuration = GossipConfiguration()
        configuration.departedHours = 1
        let cluster = cluster(3, configuration: configuration)
        cluster.apply(.clockOffset(0, milliseconds: 4_000))
        cluster.apply(.clockOffset(1, milliseconds: -4_000))
        cluster.apply(.crash(2))
        cluster.apply(.start(3))
        cluster.advance(by: 3 * 3_600 * second)
        for number in cluster.present { #expect(cluster.view(number).members.count == 3) }
        expectAgreement(cluster, within: 30, "three peers")
    }

    @Test("hashicorp/serf#216, hashicorp/consul#16601: a path that works in one direction makes nobody flap") func halfBlocked() {
        let cluster = cluster(6)
        cluster.apply(.cutOneWay(from: 1, to: 4, for: 120 * second))
        cluster.advance(by: 150 * second)
        #expect(cluster.wrongVerdicts.isEmpty && cluster.counts.dead == 0)
        expectAgreement(cluster, within: 15, "six peers")
    }

    @Test("istio/istio#60955, grafana/dskit#1034: a proxy that accepts for a dead peer hides it for seconds only") func proxyAccepts() {
        let cluster = cluster(5)
        cluster.apply(.acceptForDead(3, for: 300 * second))
        cluster.apply(.crash(3))
        expectAgreement(cluster, within: 15, "the dead one is known")
    }

    @Test("prometheus/alertmanager#1412: the largest record arrives") func largeRecordsArrive() {
        let cluster = cluster(8, lossPercent: 5)
        for seat in 0..<8 { cluster.apply(.update(seat)) }
        cluster.advance(by: 10 * second)
        for number in cluster.present { #expect(cluster.view(number).members.allSatisfy { $0.record.metadata.count == 512 }) }
        expectAgreement(cluster, within: 60, "one view")
    }

    @Test("apple/swift-distributed-actors#916: a peer that is replaced at once is seen at once") func quickReplacement() {
        let cluster = cluster(5)
        for seat in 0..<5 {
            cluster.apply(.restart(seat, after: 0))
            cluster.advance(by: 3 * second)
            #expect(cluster.agrees, "seat \(seat)")
        }
    }

    @Test("hashicorp/consul#887: slow peers are not declared dead") func slowPeers() {
        let cluster = cluster(8)
        for seat in 0..<3 { cluster.apply(.slow(seat, by: 60_000_000, for: 120 * second)) }
        cluster.advance(by: 150 * second)
        #expect(cluster.wrongVerdicts.isEmpty)
        expectAgreement(cluster, within: 30, "eight peers")
    }

    @Test("redis/redis#13789: gossip of a calm cluster costs a peer the same at any size") func costDoesNotGrow() {
        let cost = [8, 64].map { size in
            let cluster = cluster(size)
            cluster.advance(by: 30 * second)
            let bytes = cluster.counts.messageBytes
            cluster.advance(by: 60 * second)
            return (cluster.counts.messageBytes - bytes) / Int64(size)
        }
        #expect(cost[1] <= cost[0] * 3 / 2, "\(cost)")
    }

    @Test("a cloned computer draws a new identity") func clonedComputer() {
        let cluster = cluster(4)
        cluster.apply(.clone(1, to: 6))
        cluster.advance(by: 60 * second)
        #expect(cluster.counts.redrawn >= 1)
        expectAgreement(cluster, within: 60, "five peers")
        #expect(cluster.present.count == 5)
    }

    @Test("hashicorp/consul#529, hashicorp/memberlist#282: who advertises a wrong address hears of it within ten seconds")
    func wrongAddress() {
        let cluster = cluster(3)
        #expect(cluster.counts.unreachable == 0)
        cluster.start(seat: 4, advertised: SimulatedCluster.address(50_000))
        cluster.advance(by: 10 * second)
        #expect(cluster.counts.unreachable >= 1)
    }
}

import PeerCacheCore
import PeerCacheTesting
import Testing

/// Random faults for a minute, then a quiet time in which everybody must come to one view.
@Suite struct GossipChaosTests {
    @Test(arguments: (1...12) as ClosedRange<UInt64>) func heals(seed: UInt64) throws {
        let addresses = (1...8).map(GossipNetwork.address)
        var random = SeededRandom(seed: seed &* 7919)
        var network = GossipNetwork(seed: seed)
        for address in addresses[..<5] { try network.start(at: address, discovery: addresses) }
        network.advance(by: .seconds(3))
        var faults: [String] = []
        for _ in 0..<30 {
            let up = network.up
            let one = up[Int(random.next() % UInt64(up.count))], other = up[Int(random.next() % UInt64(up.count))]
            let free = addresses.filter { address in !up.contains { network.processes[$0].address == address } }
            switch random.next() % 8 {
            case 0 where up.count > 2: network.crash(one); faults.append("crash \(one)")
            case 1, 2:
                if let address = free.randomElement(using: &random) {
                    let index = try network.start(at: address, discovery: addresses)
                    faults.append("start \(index) at \(address)")
                }
            case 3 where one != other: network.reset(one, other); faults.append("reset \(one) \(other)")
            case 4: network.partition([up.filter { _ in random.next() % 2 == 0 }]); faults.append("partition \(network.sides)")
            case 5: network.heal(); network.blocked = []; network.refusing = []; faults.append("heal")
            case 6 where one != other: network.blocked.append([min(one, other), max(one, other)]); faults.append("block \(one) \(other)")
            case 7: network.refusing = [network.processes[one].address]; faults.append("refuse \(one)")
            default: break
            }
            network.advance(by: .milliseconds(Int64(random.next() % 4000)))
        }
        network.heal()
        network.blocked = []
        network.refusing = []
        let took = network.advance(upTo: .seconds(90)) { $0.agrees }
        #expect(took != nil, "seed \(seed): \(faults)")
        network.advance(by: .seconds(15))
        #expect(network.agrees, "stays, seed \(seed)")
        for (position, one) in network.up.enumerated() {
            for other in network.up[..<position] { #expect(network.streamCount(one, other) == 1, "\(one) to \(other), seed \(seed)") }
        }
    }
}

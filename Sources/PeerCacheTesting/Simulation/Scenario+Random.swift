extension Scenario {
    private static let second: Int64 = 1_000_000_000

    /// A small cluster and a dozen faults of all kinds within a minute and a half; the same seed gives the same scenario.
    package static func random(seed: UInt64) -> Scenario {
        var random = SeededRandom(seed: seed &* 0xD134_2543_DE82_EF95 &+ 7)
        var scenario = Scenario(peers: [2, 3, 3, 4, 5, 5, 7, 9, 12, 16][random.below(10)])
        scenario.quality = LinkQuality(lossPercent: [0, 0, 0, 1, 2, 5][random.below(6)])
        if random.below(4) == 0 { scenario.quality.burstsPerMillion = 2_000 }
        if random.below(5) == 0 {
            scenario.carriage = .messages
            scenario.quality.duplicatesPerMillion = 20_000
        }
        scenario.startSpread = [0, 1_000_000, second][random.below(3)]
        scenario.zones = [0, 0, 3][random.below(3)]
        var at = 5 * second
        for _ in 0..<(3 + random.below(10)) {
            at += random.duration(0...8 * second)
            scenario.faults.append(TimedFault(at: at, Fault.random(peers: scenario.peers, &random)))
        }
        scenario.length = at + 15 * second
        scenario.healLimit = 120 * second
        return scenario
    }

    /// The same without fault number `index`.
    package func without(fault index: Int) -> Scenario {
        var smaller = self
        smaller.faults.remove(at: index)
        return smaller
    }

    /// Leaves out faults one by one while the run still fails. At most one run per fault and round, three rounds.
    package func shrunk(seed: UInt64) -> Scenario {
        var smallest = self
        for _ in 0..<3 {
            let before = smallest.faults.count
            for index in smallest.faults.indices.reversed() {
                let smaller = smallest.without(fault: index)
                if !smaller.faults.isEmpty, !SimulatedCluster(smaller, seed: seed).run().isEmpty { smallest = smaller }
            }
            if smallest.faults.count == before { break }
        }
        return smallest
    }
}

extension Fault {
    static func random(peers: Int, _ random: inout SeededRandom) -> Fault {
        let seat = random.below(peers), other = (seat + 1 + random.below(max(1, peers - 1))) % peers
        let short = random.duration(50_000_000...5_000_000_000), long = random.duration(1_000_000_000...40_000_000_000)
        switch random.below(25) {
        case 0: return .crash(seat)
        case 1: return .loseHost(seat)
        case 2, 3: return .pause(seat, for: random.below(4) == 0 ? long : short)
        case 4: return .slow(seat, by: random.duration(1_000_000...50_000_000), for: long)
        case 5: return .clockOffset(seat, milliseconds: random.duration(-4_000...4_000))
        case 6, 7: return .start(peers + random.below(2))
        case 8, 9: return .restart(seat, after: random.duration(0...2_000_000_000))
        case 10: return .leave(seat)
        case 11: return .update(seat)
        case 12: return .startStranger(peers + 2)
        case 13: return peers > 1 ? .cutOneWay(from: seat, to: other, for: long) : .reset(seat)
        case 14, 15: return .partition([(0..<peers).filter { _ in random.below(2) == 0 }], for: long)
        case 16: return .lossPerMillion(UInt32(random.below(400_000)), for: long)
        case 17: return .reset(seat)
        case 18: return .refuseInbound(seat, for: short)
        case 19: return .refuseOutbound(seat, for: short)
        case 20: return .refuseBoth(seat, for: short)
        case 21: return .refuseFrom(seat, dialers: [other], for: long)
        case 22: return .acceptForDead(seat, for: long)
        case 23: return .clone(seat, to: peers + 3)
        default:
            let states: [DiscoveryState] = [.stale, .empty, .partial(1), .failing]
            return .discovery(random.below(2) == 0 ? nil : seat, states[random.below(4)], for: long)
        }
    }
}

internal import PeerCacheCore
internal import PeerCacheTesting

/// Third table of §14: profile P on streams without loss.
struct OtherScenarios {
    let options: GossipOptions
    private let second = GossipLab.second

    func cells() -> [GossipBars.Cell] {
        var cells: [GossipBars.Cell] = []
        for size in options.sizes where size <= 128 {
            for length in [2, 10, 60] as [Int64] { cells.append { paused(size, length) } }
            for minutes in [5, 120] as [Int64] where minutes == 5 || options.hoursScale >= 0.01 {
                cells.append { partition(size, minutes, "halves", Array(0..<size / 2)) }
                cells.append { partition(size, minutes, "one", [0]) }
            }
            cells.append { leave(size) }
            for state in [DiscoveryState.right, .stale, .empty, .failing] { cells.append { starts(size, state) } }
        }
        if options.sizes.contains(16) { cells.append { rollingRestart() } }
        if options.sizes.contains(1000) { cells.append { large() } }
        return cells
    }

    private func lab(_ size: Int) -> GossipLab { GossipLab(size, lossPercent: 0, Profile.p.configuration, seed: options.seed) }

    private func paused(_ size: Int, _ length: Int64) -> [GossipFigure] {
        let lab = lab(size), rounds = max(2, min(30, options.crashes / 10))
        var wrong = 0, back = 0.0
        for _ in 0..<rounds {
            let seat = lab.anySeat(), before = lab.cluster.wrongVerdicts.count
            let paused = lab.cluster.process(on: seat)
            lab.cluster.apply(.pause(seat, for: length * second))
            lab.cluster.advance(by: length * second)
            back = max(back, lab.secondsToAgree(limit: 60 * second) ?? 60)
            lab.cluster.advance(by: 35 * second)
            wrong += lab.cluster.wrongVerdicts[before...].count { length == 2 || $0.subject != paused }
        }
        let name = "other.\(size).paused-\(length)s", basis = "\(rounds) pauses"
        return [
            GossipFigure("\(name).wrong", Double(wrong), "verdicts", bar: 0, basis: basis),
            GossipFigure("\(name).back", back, "s", bar: length == 2 ? nil : 2, basis: basis),
        ]
    }

    private func partition(_ size: Int, _ minutes: Int64, _ label: String, _ side: [Int]) -> [GossipFigure] {
        let lab = lab(size)
        lab.cluster.apply(.partition([side], for: minutes * 60 * second))
        lab.cluster.advance(by: minutes * 60 * second)
        let healed = lab.secondsToAgree(limit: 300 * second, step: 100_000_000) ?? 300
        let bar = minutes == 5 ? 15.0 : 45
        return [GossipFigure("other.\(size).\(label)-\(minutes)min.healed", healed, "s", bar: bar, basis: "1 partition")]
    }

    /// Every seat gets a new process: at its address, at its neighbour's, or after a process of another cluster had the address for a while.
    private func rollingRestart() -> [GossipFigure] {
        let lab = lab(16), cluster = lab.cluster
        var seen = 0.0, ghosts = 0, replaced: [Int] = []
        let before = cluster.wrongVerdicts.count
        for seat in 0..<16 {
            if let old = cluster.process(on: seat) { replaced.append(old) }
            switch seat % 3 {
            case 0: cluster.apply(.restart(seat, after: 200_000_000))
            case 1:
                cluster.apply(.leave(seat))
                cluster.advance(by: 3 * second)
                cluster.apply(.start(seat))
            default:
                cluster.apply(.crash(seat))
                cluster.apply(.startStranger(seat))
                cluster.advance(by: 5 * second)
                cluster.apply(.crash(seat))
                cluster.apply(.start(seat))
            }
            cluster.advance(by: 201_000_000)
            let took = cluster.advance(upTo: 60 * second) { $0.placementsAgree } ?? 60 * second
            if seat % 3 == 0 { seen = max(seen, Double(took) / 1e9) }
            cluster.advance(by: 2 * second)
        }
        cluster.advance(by: 30 * second)
        for number in replaced where cluster.holders(of: number) > 0 { ghosts += 1 }
        cluster.checkTables()
        let wrong = cluster.wrongVerdicts.count - before, merges = cluster.violations.count
        return [
            GossipFigure("other.16.rolling.seen", seen, "s", bar: 1, basis: "6 restarts at the same address"),
            GossipFigure("other.16.rolling.wrong", Double(wrong), "verdicts", bar: 0, basis: "16 restarts"),
            GossipFigure("other.16.rolling.ghosts", Double(ghosts), "members", bar: 0, basis: "16 restarts"),
            GossipFigure("other.16.rolling.merges", Double(merges), "violations", bar: 0, basis: "5 strangers"),
        ]
    }

    private func starts(_ size: Int, _ state: DiscoveryState) -> [GossipFigure] {
        var scenario = Scenario(peers: size)
        scenario.configuration = Profile.p.configuration
        let cluster = SimulatedCluster(scenario, seed: options.seed)
        if state != .right { cluster.apply(.discovery(nil, state, for: 30 * second)) }
        cluster.start()
        if state != .right { cluster.advance(by: 30 * second) }
        let took = cluster.advance(upTo: 120 * second, step: 50_000_000) { $0.agrees } ?? 120 * second
        return [GossipFigure("other.\(size).start-dns-\(state)", Double(took) / 1e9, "s", bar: 10, basis: "1 start")]
    }

    private func leave(_ size: Int) -> [GossipFigure] {
        let lab = lab(size), cluster = lab.cluster, rounds = max(2, min(10, options.crashes / 30))
        var slowest = 0.0
        let suspected = cluster.counts.suspected
        for _ in 0..<rounds {
            let seat = lab.anySeat()
            guard let number = cluster.process(on: seat) else { continue }
            let id = cluster.id(number)
            cluster.apply(.leave(seat))
            let took = cluster.advance(upTo: 20 * second) { cluster in
                cluster.present.allSatisfy { cluster.view($0).member(id)?.status.isPlaced != true }
            }
            slowest = max(slowest, Double(took ?? 20 * second) / 1e9)
            cluster.advance(by: 5 * second)
            lab.refill([seat])
        }
        let suspicions = Double(cluster.counts.suspected - suspected)
        return [
            GossipFigure("other.\(size).leave.seen", slowest, "s", bar: 1, basis: "\(rounds) leave"),
            GossipFigure("other.\(size).leave.suspicions", suspicions, "suspicions", bar: 0, basis: "\(rounds) leave"),
        ]
    }

    private func large() -> [GossipFigure] {
        let clock = ContinuousClock()
        var lab: GossipLab?
        let joining = clock.measure { lab = self.lab(1000) }
        let inputs = lab?.cluster.counts.inputs ?? 0
        let minute = clock.measure { _ = lab?.quiet(seconds: 60) }
        let handled = max(1, (lab?.cluster.counts.inputs ?? 0) - inputs)
        let each = minute / .microseconds(1) / Double(handled)
        return [
            GossipFigure("other.1000.join.real", joining / .seconds(1), "s", basis: "starts within 10 s, then 30 s"),
            GossipFigure("other.1000.minute.real", minute / .seconds(1), "s", bar: 60, basis: "one thread"),
            GossipFigure("other.1000.input.real", each, "µs", basis: "\(handled) inputs, with all that is simulated"),
        ]
    }
}

internal import PeerCacheCore
internal import PeerCacheTesting

/// Second table of §14: kill -9, and what only looks like it.
struct CrashEvidence {
    let options: GossipOptions
    private var sizes: [Int] { options.sizes.filter { $0 <= 128 } }

    func cells() -> [GossipBars.Cell] {
        var cells: [GossipBars.Cell] = []
        for size in sizes { for loss in options.losses { cells.append { killed(size, loss) } } }
        cells.append { killed(2, 0) }
        if options.sizes.contains(1000), options.losses.contains(0) { cells.append { killed(1000, 0) } }
        if sizes.contains(16) { cells.append { manyAtOnce() } }
        for size in sizes {
            for loss in options.losses {
                for refused in [0, 400] as [Int64] { cells.append { resetOnly(size, loss, refused) } }
            }
        }
        for size in [16, 5] { for loss in options.losses where loss <= 5 { cells.append { refusedByMost(size, loss) } } }
        for size in sizes {
            cells.append { inboundRefused(size) }
            cells.append { ownSidecar(size) }
            cells.append { stopped(size) }
            cells.append { unreachable(size) }
        }
        return cells
    }

    private func lab(_ size: Int, _ loss: UInt32) -> GossipLab {
        GossipLab(size, lossPercent: loss, Profile.p.configuration, seed: options.seed)
    }

    // MARK: Dead

    private func killed(_ size: Int, _ loss: UInt32) -> [GossipFigure] {
        let lab = lab(size, loss), crashes = max(2, size >= 1000 ? options.crashes / 10 : options.crashes)
        var times: [Int64] = [], slowest: [Int64] = []
        for _ in 0..<crashes {
            let seat = lab.anySeat(), known = lab.lose([seat], silently: false)
            times += known
            slowest.append(known.max() ?? 0)
            lab.refill([seat])
        }
        let name = "crash.\(size).\(loss)%", basis = "\(crashes) crashes"
        let p99 = size == 2 ? 1.3 : size == 1000 ? 1 : loss == 0 ? 0.8 : loss <= 5 ? 1 : size == 3 ? 4 : 1.5
        let isUsual = size > 2 && size < 1000 && loss == 0
        let last = isUsual ? 1.0 : size == 1000 ? 1.2 : nil
        return [
            GossipFigure("\(name).p50", times.seconds(atPercent: 50), "s", bar: isUsual ? 0.7 : nil, basis: basis),
            GossipFigure("\(name).p99", times.seconds(atPercent: 99), "s", bar: p99, basis: basis),
            GossipFigure("\(name).slowest", slowest.seconds(atPercent: 99), "s", bar: last, basis: basis),
        ]
    }

    private func manyAtOnce() -> [GossipFigure] {
        let lab = lab(16, 0), rounds = max(2, options.crashes / 10)
        var withPaused: [Int64] = [], third: [Int64] = []
        for _ in 0..<rounds {
            let seats = lab.shuffledSeats()
            for seat in seats[1...5] { lab.cluster.apply(.pause(seat, for: 8 * GossipLab.second)) }
            lab.cluster.advance(by: 100_000_000)
            withPaused += lab.lose([seats[0]], silently: false)
            lab.cluster.advance(by: 12 * GossipLab.second)
            lab.refill([seats[0]])
            lab.pause(31 * GossipLab.second...33 * GossipLab.second)
            let killed = Array(lab.shuffledSeats()[..<5])
            third += lab.lose(killed, silently: false)
            lab.refill(killed)
        }
        return [
            GossipFigure("crash.16.paused-third.p99", withPaused.seconds(atPercent: 99), "s", bar: 1, basis: "\(rounds) crashes"),
            GossipFigure("crash.16.third-killed.p99", third.seconds(atPercent: 99), "s", bar: 2, basis: "\(rounds) times 5"),
        ]
    }

    // MARK: Alive

    /// Does something to one peer after the other, so rarely that each has rested for 30 s, and counts verdicts.
    private func verdicts(
        _ lab: GossipLab, runs: Int, causes: [DeathCause] = [.crashed, .silent, .replaced], _ disturb: (Int, SimulatedCluster) -> Void
    ) -> Int {
        let before = lab.cluster.wrongVerdicts.count
        let gap = max(2 * GossipLab.second, 32 * GossipLab.second / Int64(lab.size))
        var done = 0
        while done < runs {
            for seat in 0..<min(lab.size, runs - done) {
                disturb(seat, lab.cluster)
                lab.pause(gap...gap + GossipLab.second / 2)
                done += 1
            }
        }
        lab.cluster.advance(by: 10 * GossipLab.second)
        return lab.cluster.wrongVerdicts[before...].count { causes.contains($0.cause) }
    }

    private func resetOnly(_ size: Int, _ loss: UInt32, _ refused: Int64) -> [GossipFigure] {
        let runs = options.resets, lab = lab(size, loss)
        let wrong = verdicts(lab, runs: runs) { seat, cluster in
            if refused > 0 { cluster.apply(.refuseBoth(seat, for: lab.duration(1_000_000...refused * 1_000_000))) }
            cluster.apply(.reset(seat))
        }
        return [GossipFigure("alive.\(size).\(loss)%.reset-\(refused)ms", Double(wrong), "verdicts", bar: 0, basis: "\(runs) runs")]
    }

    private func refusedByMost(_ size: Int, _ loss: UInt32) -> [GossipFigure] {
        let lab = lab(size, loss), runs = max(4, options.resets / 4), before = lab.cluster.wrongVerdicts.count
        for run in 0..<runs {
            let seat = run % size, watchers = lab.watchers(of: seat), count = size == 5 ? 3 : watchers.count * 9 / 10 + 1
            lab.cluster.apply(.refuseFrom(seat, dialers: Array(watchers.prefix(count)), for: 20 * GossipLab.second))
            lab.cluster.apply(.reset(seat))
            lab.cluster.advance(by: 20 * GossipLab.second)
            lab.settle()
            lab.cluster.advance(by: 12 * GossipLab.second)
        }
        let wrong = Double(lab.cluster.wrongVerdicts.count - before) * 1000 / Double(runs)
        let bar = loss == 0 ? 0.0 : 6
        return [GossipFigure("alive.\(size).\(loss)%.refused-by-most", wrong, "per 1000", bar: bar, basis: "\(runs) runs")]
    }

    private func inboundRefused(_ size: Int) -> [GossipFigure] {
        let runs = max(4, options.resets / 10)
        let wrong = verdicts(lab(size, 0), runs: runs, causes: [.crashed]) { seat, cluster in
            cluster.apply(.refuseInbound(seat, for: 20 * GossipLab.second))
            cluster.apply(.reset(seat))
            cluster.advance(by: 20 * GossipLab.second)
        }
        return [GossipFigure("alive.\(size).inbound-refused", Double(wrong), "verdicts", bar: 0, basis: "\(runs) runs")]
    }

    /// The proxy of one observer breaks its connections and refuses for a moment: nobody may be declared dead, by that observer least.
    private func ownSidecar(_ size: Int) -> [GossipFigure] {
        let runs = max(4, options.resets / 10)
        let wrong = verdicts(lab(size, 0), runs: runs) { seat, cluster in
            cluster.apply(.refuseBoth(seat, for: 400_000_000))
            cluster.apply(.reset(seat))
        }
        return [GossipFigure("alive.\(size).own-sidecar", Double(wrong), "verdicts", bar: 0, basis: "\(runs) runs")]
    }

    private func stopped(_ size: Int) -> [GossipFigure] {
        let runs = max(4, options.resets / 10), lab = lab(size, 0)
        let wrong = verdicts(lab, runs: runs, causes: [.crashed]) { seat, cluster in
            cluster.apply(.pause(seat, for: lab.duration(100_000_000...10 * GossipLab.second)))
        }
        return [GossipFigure("alive.\(size).stopped", Double(wrong), "verdicts", bar: 0, basis: "\(runs) runs")]
    }

    private func unreachable(_ size: Int) -> [GossipFigure] {
        let runs = max(4, options.resets / 20), lab = lab(size, 0)
        var slowest = 0.0
        for run in 0..<runs {
            let length = lab.duration(GossipLab.second...5 * GossipLab.second)
            lab.cluster.apply(.refuseBoth(run % size, for: length))
            lab.cluster.apply(.reset(run % size))
            lab.cluster.advance(by: length)
            slowest = max(slowest, lab.secondsToAgree(limit: 60 * GossipLab.second) ?? 60)
            lab.pause(31 * GossipLab.second...33 * GossipLab.second)
        }
        return [GossipFigure("alive.\(size).unreachable.back", slowest, "s", bar: 2, basis: "\(runs) runs")]
    }
}

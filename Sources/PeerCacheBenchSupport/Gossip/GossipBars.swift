internal import PeerCacheCore
internal import PeerCacheTesting

/// The tables of `GOSSIP.md` §14, run in the simulator: profile P beside the rules of memberlist's LAN profile (M), in the same run.
public enum GossipBars {
    /// A part that depends on no other one.
    typealias Cell = @Sendable () -> [GossipFigure]

    /// Runs the tables and hands out the figures in order, each cell's as soon as it and those before it are done. The figures depend on
    /// the options alone, but for those in real time.
    /// - Parameter threads: cells that run at once.
    public static func run(_ options: GossipOptions, threads: Int = 1, _ report: (GossipFigure) -> Void) async {
        var cells: [Cell] = []
        for table in options.tables {
            switch table {
            case .silent: cells += SilentFailures(options: options).cells()
            case .crash: cells += CrashEvidence(options: options).cells()
            case .other: cells += OtherScenarios(options: options).cells()
            case .random: cells += randomCells(options)
            }
        }
        await withTaskGroup(of: (Int, [GossipFigure]).self) { group in
            var done: [Int: [GossipFigure]] = [:], started = 0, reported = 0
            let start = { (group: inout TaskGroup<(Int, [GossipFigure])>) in
                guard started < cells.count else { return }
                let number = started, cell = cells[number]
                started += 1
                group.addTask { (number, cell()) }
            }
            for _ in 0..<max(1, threads) { start(&group) }
            while let (number, figures) = await group.next() {
                done[number] = figures
                start(&group)
                while let next = done.removeValue(forKey: reported) {
                    for figure in next { report(figure) }
                    reported += 1
                }
            }
        }
    }

    /// Fifty scenarios each.
    private static func randomCells(_ options: GossipOptions) -> [Cell] {
        let first = options.seed, last = first + UInt64(max(1, options.scenarios)) - 1
        return stride(from: first, through: last, by: 50).map { begin in
            {
                let end = min(begin + 49, last)
                let failed = (begin...end).filter { !SimulatedCluster(.random(seed: $0), seed: $0).run().isEmpty }
                let basis = failed.isEmpty ? "seeds \(begin)…\(end)" : "PEERCACHE_SEED=\(failed)"
                return [GossipFigure("random.\(begin).failed", Double(failed.count), "runs", bar: 0, basis: basis)]
            }
        }
    }
}

/// Settings of `GOSSIP.md` §6.
enum Profile: String {
    case p, f, m

    var configuration: GossipConfiguration {
        switch self {
        case .p: GossipConfiguration(profile: .p)
        case .f: GossipConfiguration(profile: .f)
        case .m: GossipConfiguration(profile: .m)
        }
    }
}

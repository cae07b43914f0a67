internal import PeerCacheCore
internal import PeerCacheTesting

/// The tables of `GOSSIP.md` §14, run in the simulator: profile P beside the rules of memberlist's LAN profile (M), in the same run.
public enum GossipBars {
    /// Runs the tables and hands out each figure as soon as it is there. A pure function of the options but for figures in real time.
    public static func run(_ options: GossipOptions, _ report: (GossipFigure) -> Void) {
        for table in options.tables {
            switch table {
            case .silent: SilentFailures(options: options).run(report)
            case .crash: CrashEvidence(options: options).run(report)
            case .other: OtherScenarios(options: options).run(report)
            }
        }
    }
}

/// Settings of `GOSSIP.md` §6.
enum Profile: String {
    case p, f, m

    var configuration: GossipConfiguration { GossipConfiguration() }
}

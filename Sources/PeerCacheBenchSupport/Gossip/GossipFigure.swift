/// One figure of `GOSSIP.md` §14 beside its bar.
public struct GossipFigure: Sendable {
    /// Dotted: table, members, loss, what is measured.
    public var metric: String
    /// What was measured.
    public var value: Double
    /// Of the value and the bar.
    public var unit: String
    /// The most that `GOSSIP.md` §14 allows; nil: there is no bar.
    public var bar: Double?
    /// How many crashes, runs or hours the value rests on, as text.
    public var basis: String
    /// Whether the bar is met; nil: there is none.
    public var isMet: Bool? { bar.map { value <= $0 } }

    init(_ metric: String, _ value: Double, _ unit: String, bar: Double? = nil, basis: String) {
        self.metric = metric
        self.value = value
        self.unit = unit
        self.bar = bar
        self.basis = basis
    }
}

/// How much of the tables is run.
public struct GossipOptions: Sendable {
    /// A table of `GOSSIP.md` §14.
    public enum Table: String, Sendable, CaseIterable {
        /// Host or network gone.
        case silent
        /// kill -9, and what only looks like it.
        case crash
        /// Pauses, partitions, starts, leaving, size.
        case other
        /// Random faults, and whether what must never happen did.
        case random
    }
    /// Tables to run.
    public var tables = Table.allCases
    /// Sizes of clusters; of each table only those that it has.
    public var sizes = [3, 16, 128]
    /// Losses in percent.
    public var losses: [UInt32] = [0, 5, 30]
    /// Crashes per row; a twenty-fifth of them at 1,000 members.
    public var crashes = 300
    /// Virtual hours without a failure: 1 is what the bars ask for, 100 h up to 16 members, 10 h at 128, 1 h at 1,000.
    public var hoursScale = 0.1
    /// Live peers whose connections are reset, per row.
    public var resets = 1_000
    /// Random scenarios of a minute or two each.
    public var scenarios = 400
    /// The other profiles and message links beside profile P on streams.
    public var compares = true
    /// Of all rows.
    public var seed: UInt64 = 1

    /// Everything, scaled for a closing note.
    public init() {}

    /// Small clusters, few crashes: seconds.
    public static var quick: GossipOptions {
        var options = GossipOptions()
        options.sizes = [3, 16]
        options.losses = [0, 5]
        options.crashes = 10
        options.hoursScale = 0.002
        options.resets = 30
        options.scenarios = 50
        return options
    }
}

extension [Int64] {
    /// In seconds; 0 when empty. `self` need not be sorted.
    func seconds(atPercent percent: Int) -> Double {
        if isEmpty { return 0 }
        let sorted = sorted()
        let rank = Swift.max(1, (sorted.count * percent + 99) / 100)
        return Double(sorted[Swift.min(sorted.count, rank) - 1]) / 1e9
    }
}

/// How often the interesting things happened.
package struct QuorumFigures: Sendable {
    package var hits = 0, misses = 0, writes = 0, indeterminate = 0, noQuorum = 0
    package var abstained = 0, wrongPlacement = 0, writeBacks = 0, merges = 0, votes = 0, crashes = 0, splits = 0, evictions = 0
    package var expired = 0, repairs = 0, shipped = 0, fills = 0, voidLeases = 0, silent = 0

    package init() {}

    /// Every counter with its name.
    package static var all: [(name: String, counter: WritableKeyPath<QuorumFigures, Int>)] {
        [
            ("hits", \.hits), ("misses", \.misses), ("writes", \.writes), ("indeterminate", \.indeterminate), ("no quorum", \.noQuorum),
            ("abstained", \.abstained), ("wrong placement", \.wrongPlacement), ("write-backs", \.writeBacks), ("merges", \.merges),
            ("votes", \.votes), ("crashes", \.crashes), ("splits", \.splits), ("evictions", \.evictions), ("expired", \.expired),
            ("repairs among voters", \.repairs), ("shipped", \.shipped),
            ("fills", \.fills), ("void leases", \.voidLeases), ("silent", \.silent),
        ]
    }

    package mutating func add(_ other: QuorumFigures) {
        for (_, counter) in Self.all { self[keyPath: counter] += other[keyPath: counter] }
    }
}

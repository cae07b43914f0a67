import Foundation

/// One figure, measured once per round; perhaps next to a peer's figure of the same rounds.
struct Measurement {
    /// Dotted and stable, for example `rpc.get.50.global.throughput`.
    var metric: String
    var unit: String
    var values: [Double] = []
    /// What it is compared with, for example `redis GET`.
    var peer: String?
    var peerValues: [Double] = []

    /// Value divided by the peer's value of the same round.
    var ratios: [Double] { zip(values, peerValues).filter { $0.1 > 0 }.map { $0.0 / $0.1 } }
}

/// Measurements in the order in which they first came.
struct Measurements {
    private(set) var all: [Measurement] = []
    private var positions: [String: Int] = [:]

    /// Adds one round's value. A metric that is compared with several peers has a line for each.
    mutating func add(_ metric: String, _ value: Double, _ unit: String, peer: (name: String, value: Double)? = nil) {
        let line = peer.map { "\(metric) \($0.name)" } ?? metric
        let position = positions[line] ?? all.count
        if position == all.count {
            positions[line] = position
            all.append(Measurement(metric: metric, unit: unit, peer: peer?.name))
        }
        all[position].values.append(value)
        if let peer { all[position].peerValues.append(peer.value) }
    }
}

extension [Double] {
    /// NaN when empty.
    var median: Double {
        if isEmpty { return .nan }
        let sorted = sorted(), middle = count / 2
        return count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}

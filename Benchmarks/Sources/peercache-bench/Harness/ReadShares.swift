import PeerCache

/// Where reads were answered, over all peers that called.
struct ReadShares {
    private var near: UInt64 = 0, own: UInt64 = 0, peer: UInt64 = 0, absent: UInt64 = 0

    init(_ peers: [BenchPeer]) {
        for one in peers {
            guard let cache = one.peer.snapshot().caches[one.cache.name] else { continue }
            near += cache.nearHits
            own += cache.ownHits
            peer += cache.peerHits
            absent += cache.misses
        }
    }

    /// Per cent of the reads since `before`.
    func add(since before: ReadShares, _ name: String, into measurements: inout Measurements) {
        let parts: [(String, UInt64)] = [
            ("near", near - before.near), ("ownStore", own - before.own), ("peer", peer - before.peer),
            ("loader", absent - before.absent),
        ]
        let all = parts.reduce(0) { $0 + $1.1 }
        guard all > 0 else { return }
        for (part, count) in parts { measurements.add("\(name).reads.\(part)", 100 * Double(count) / Double(all), "%") }
    }
}

extension Measurements {
    /// One run of callers.
    mutating func add(_ name: String, _ result: MixedLoad.Result) {
        for (operation, figures) in [("get", result.gets), ("set", result.sets)] {
            guard let figures else { continue }
            add("\(name).\(operation).throughput", figures.throughput, "1/s")
            let percentiles = [
                ("p50", figures.p50), ("p90", figures.p90), ("p99", figures.p99), ("p99.9", figures.p999), ("max", figures.max),
            ]
            for (percentile, microseconds) in percentiles {
                if let microseconds { add("\(name).\(operation).\(percentile)", microseconds, "µs") }
            }
        }
        add("\(name).absent", Double(result.absent), "gets")
        add("\(name).failed", Double(result.failed), "operations")
    }
}

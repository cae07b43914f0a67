internal import PeerCacheCore

/// The figures of `GOSSIP.md` §5, measured on the simulated streams: they must come out as on Linux, or no table of the simulator counts.
package enum StreamFigures {
    /// Probes on one connection, one per second: pings at 0, 100 and 200 ms, whatever was answered.
    /// - Returns: answered within 300 ms, and not within 1 s, per 100,000.
    package static func probes(_ count: Int, lossPercent: UInt32, seed: UInt64) -> (fast: Int, slow: Int) {
        let network = SimulatedNetwork(seed: seed)
        network.quality = LinkQuality(lossPercent: lossPercent)
        network.streamTimeout = .max
        network.hosts = [SimulatedNetwork.Host(), SimulatedNetwork.Host()]
        let stream = network.makeStream(from: 0, to: PeerAddress(host: "10.0.0.1", port: 1))
        stream.ends[1].host = 1
        for end in 0...1 { stream.ends[end].stage = .established }
        var answeredAt = [Int64?](repeating: nil, count: count)
        for probe in 0..<count {
            for ping in 0..<3 { network.schedule(.action(probe * 3 + ping), at: Int64(probe) * second + Int64(ping) * second / 10) }
        }
        while let happening = network.next(until: Int64(count + 60) * second) {
            switch happening {
            case .timer(.action(let number)):
                network.send(.frame(bytes(of: number / 3)), bytes: 64, on: stream, from: 0)
            case .delivered(.frame(let frame), _, let end):
                if end == 1 { network.send(.frame(frame), bytes: 64, on: stream, from: 1) }
                let probe = frame.reduce(0) { $0 << 8 | Int($1) }
                if end == 0, answeredAt[probe] == nil { answeredAt[probe] = network.time - Int64(probe) * second }
            default: break
            }
        }
        let fast = answeredAt.count { ($0 ?? .max) <= 300_000_000 }, slow = answeredAt.count { ($0 ?? .max) > second }
        return (fast * 100_000 / count, slow * 100_000 / count)
    }

    /// Fresh dials 100 ms apart, handshake included.
    /// - Returns: how often one of them is answered within 1 s of the first, per 100,000.
    package static func freshDials(_ dials: Int, rounds: Int, lossPercent: UInt32, seed: UInt64) -> Int {
        let network = SimulatedNetwork(seed: seed)
        network.quality = LinkQuality(lossPercent: lossPercent)
        network.hosts = [SimulatedNetwork.Host(process: 0), SimulatedNetwork.Host(process: 1)]
        var answered = [Bool](repeating: false, count: rounds)
        var rounds: [Int: Int] = [:]  // of each stream; looked up
        for round in answered.indices {
            for dial in 0..<dials { network.schedule(.action(round), at: Int64(round) * 10 * second + Int64(dial) * second / 10) }
        }
        while let happening = network.next(until: Int64(answered.count) * 10 * second) {
            switch happening {
            case .timer(.action(let round)):
                let stream = network.makeStream(from: 0, to: PeerAddress(host: "10.0.0.1", port: 1))
                rounds[stream.number] = round
                network.dial(stream, target: 1)
            case .connected(let stream): network.send(.hello, bytes: 128, on: stream, from: 0)
            case .delivered(.hello, let stream, _): network.send(.frame([]), bytes: 128, on: stream, from: 1)
            case .delivered(.frame, let stream, _):
                if let round = rounds[stream.number], network.time - Int64(round) * 10 * second <= second { answered[round] = true }
            default: break
            }
        }
        return answered.count { $0 } * 100_000 / answered.count
    }

    private static let second: Int64 = 1_000_000_000

    private static func bytes(of probe: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: probe >> (24 - 8 * $0)) } }
}

import ArgumentParser
import Foundation
import PeerCache
import Synchronization

/// What a deploy, a crash and a new instance cost the users of a running cluster.
struct DeployCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy",
        abstract: "Restarts, kills and adds processes under load: loader calls, hit ratio, latency.",
        discussion: """
            Processes on loopback hold the keys; this process holds none and reads all of them at random. `rolling`: each process in turn \
            gets SIGTERM, and a new one starts; the next one goes when everybody is ready. `hasty`: the same with SIGKILL and without \
            waiting, for comparison. `kill`: one of them is killed. `join`: one more starts. `second`: a second one starts beside a lone one. \
            Loads are per cent of the keys held, for `join` and `second` of those that move; `drop` is how far the hit ratio of the worst second lies below one.
            """)

    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Rounds; the figures are medians.") var rounds = 1
    @Option(help: "Processes that hold keys.") var peers = 5
    @Option(help: "Keys, of about 100 bytes each.") var keys = 100_000
    @Option(help: "Reads per second.") var rate = 5_000
    @Option(help: "Of rolling,hasty,kill,join,second.") var parts = "rolling,hasty,kill,join,second"

    func validate() throws {
        guard peers >= 3, keys >= 1, rate >= 100, rounds >= 1 else { throw ValidationError("--peers 3, --keys 1, --rate 100 at least") }
    }

    func run() async throws {
        Machine.write(asJSON: json)
        var measurements = Measurements()
        for _ in 0..<rounds {
            for part in parts.split(separator: ",") {
                Report.progress("\(part)")
                try await measure(String(part), &measurements)
            }
        }
        Report.write(measurements, asJSON: json)
    }

    private func measure(_ part: String, _ measurements: inout Measurements) async throws {
        let log = LoadLog()
        var children: [DeployChild] = []
        defer { for child in children { child.killAtOnce() } }
        let first = part == "second" ? 1 : part == "join" ? peers - 1 : peers
        for _ in 0..<first {
            children.append(try DeployChild(seeds: children.first.map { [$0.address] } ?? [], log))
        }
        let peer = try CachePeer(configuration: DeployCluster.configuration(seeds: [children[0].address], weight: 0))
        let cache = DeployCluster.cache(of: peer) { log.add(1) }
        let running = Task { try await peer.run() }
        defer { running.cancel() }
        try await ready(children)
        try await fill(cache)
        try await ready(children)
        let before = log.total
        let load = DeployLoad(cache, keys: keys, rate: rate)
        let reading = Task { await load.run() }
        try await Task.sleep(for: .seconds(2))
        load.mark()
        switch part {
        case "rolling", "hasty":
            for _ in 0..<peers {
                let old = children.removeFirst()
                if part == "rolling" { old.terminate() } else { old.killAtOnce() }
                children.append(try DeployChild(seeds: children.map(\.address), log))
                if part == "rolling" { try await ready(children) } else { try await Task.sleep(for: .seconds(2)) }
            }
        case "kill":
            children.remove(at: peers / 2).killAtOnce()
        default: children.append(try DeployChild(seeds: [children[0].address], log))
        }
        try await ready(children)
        try await Task.sleep(for: .seconds(3))
        load.stop()
        await reading.value
        let base = first < children.count ? keys / children.count : keys
        measurements.add("deploy.\(part).loads", 100 * Double(log.total - before) / Double(base), "%")
        measurements.add("deploy.\(part).drop", 100 * load.worst(log), "pp")
        measurements.add("deploy.\(part).failed", Double(load.failures), "reads")
        measurements.add("deploy.\(part).p99", load.recorder.microseconds(99) / 1000, "ms")
        measurements.add("deploy.\(part).p99.firstSecond", load.firstSecond.microseconds(99) / 1000, "ms")
    }

    private func ready(_ children: [DeployChild]) async throws {
        let end = Clock.nanoseconds + 60_000_000_000
        while !children.allSatisfy({ $0.isReady(members: children.count) }) {
            guard Clock.nanoseconds < end else {
                throw ValidationError("not ready within 60 s: \(children.map(\.description).joined(separator: ", "))")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    private func fill(_ cache: Cache<Int, String>) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for start in 0..<64 {
                group.addTask { [keys] in
                    for key in stride(from: start, to: keys, by: 64) { try await cache.set(key, DeployCluster.value(key)) }
                }
            }
            try await group.waitForAll()
        }
    }
}

import ArgumentParser
import CBenchSystem
import Foundation
import NIOCore
import NIOPosix
import PeerCache
import PeerCacheBenchSupport

/// What more peers cost.
struct SizeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "size",
        abstract: "Gets in clusters of 1 to 16 peers in this process; what a quiet peer uses; time to place keys of up to 1,000 members.",
        discussion: """
            get: callers spread over all peers, keys equally often. idle: of one peer of the largest cluster, when nobody calls: per cent of \
            a core (getrusage), and bytes sent on its connections, without headers of TCP and IP (TCP_INFO). placement: milliseconds to build \
            what says who holds what, two copies. Gossip of up to 1,000 members: the command gossip.
            """)

    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Turns; the figures are medians.") var rounds = 5
    @Option(help: "Seconds per figure and turn.") var seconds = 1.0
    @Option(help: "Peers of a cluster, separated by commas.") var peers = "1,3,8,16"
    @Option(help: "Members that are placed, separated by commas.") var placed = "3,16,128,1000"
    @Option(help: "Concurrent callers.") var callers = 50
    @Option(help: "Keys.") var keys = 10_000
    @Option(help: "Seconds without callers.") var idleSeconds = 10.0

    func validate() throws {
        guard rounds >= 1, seconds > 0, callers >= 1, keys >= 1, idleSeconds > 0 else {
            throw ValidationError("all numbers must be positive")
        }
        guard try positiveNumbers(peers, "--peers").max() ?? 0 <= 64 else { throw ValidationError("--peers: 64 at most") }
        guard try positiveNumbers(placed, "--placed").max() ?? 0 <= 65_535 else { throw ValidationError("--placed: 65535 at most") }
    }

    func run() async throws {
        Machine.write(asJSON: json)
        var measurements = Measurements()
        let sizes = try positiveNumbers(peers, "--peers")
        for count in sizes {
            Report.progress("size: \(count) peers")
            var settings = BenchPeer.Settings()
            settings.secret = BenchPeer.randomSecret()
            settings.memoryMegabytes = 64
            let cluster = try await LocalCluster(peers: count, loops: 1, settings)
            do {
                try await gets(count, cluster, into: &measurements)
                if count == sizes.max() { try await idle(count, into: &measurements) }
            } catch {
                await cluster.stop()
                throw error
            }
            await cluster.stop()
        }
        for count in try positiveNumbers(placed, "--placed") {
            try PlacementSubject.build(members: count, copies: 2, seed: 0)  // the first time touches new memory
            for round in 1...rounds {
                let begin = Clock.nanoseconds
                try PlacementSubject.build(members: count, copies: 2, seed: UInt64(round))
                measurements.add("size.placement.\(count)", Double(Clock.nanoseconds - begin) / 1e6, "ms")
            }
        }
        Report.write(measurements, asJSON: json)
    }

    private func gets(_ count: Int, _ cluster: LocalCluster, into measurements: inout Measurements) async throws {
        let sequence = (0..<UInt32(keys)).shuffled()
        let load = MixedLoad(
            caches: cluster.peers.map(\.cache), keys: (0..<keys).map(Workload.key), sequence: sequence, readRatio: 1,
            value: ByteBuffer(repeating: 0x78, count: 100), seed: 1)
        try await load.caches[0].fill(load.keys, load.value)
        for _ in 0..<rounds {
            let result = await load.run(callers: callers, seconds: seconds, says: false)
            guard let gets = result.gets, result.absent == 0, result.failed == 0 else {
                throw ValidationError("\(result.absent) keys had no value, \(result.failed) gets failed: \(result.failure ?? "")")
            }
            measurements.add("size.\(count).get.throughput", gets.throughput, "1/s")
            measurements.add("size.\(count).get.p99", gets.p99, "µs")
        }
    }

    private func idle(_ count: Int, into measurements: inout Measurements) async throws {
        try await Task.sleep(for: .seconds(1))
        let begin = Clock.nanoseconds, usedBefore = Clock.processNanoseconds, sentBefore = peercache_bench_bytes_sent()
        try await Task.sleep(for: .seconds(idleSeconds))
        let elapsed = Double(Clock.nanoseconds - begin)
        let used = Double(Clock.processNanoseconds - usedBefore), sent = Double(peercache_bench_bytes_sent() - sentBefore)
        measurements.add("size.\(count).idle.cpu", 100 * used / elapsed / Double(count), "%")
        measurements.add("size.\(count).idle.sent", sent / (elapsed / 1e9) / Double(count), "B/s")
    }
}

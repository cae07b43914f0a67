import ArgumentParser
import Foundation
import PeerCache

/// A cluster in one process under load: what to expect of a configuration on this machine.
struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster",
        abstract: "Peers in this process under a load of gets and sets: throughput, latencies, and where reads were answered.",
        discussion: """
            Callers are spread over the peers, so that most gets ask another peer. A key that is not there is loaded by its owner, at no \
            cost. Near copies are off unless --near is given. reads.*: per cent of gets by who answered; loader: those that waited for it. \
            One line of progress a second goes to standard error.
            """)

    @Option(help: "Peers.") var peers = 3
    @Option(help: "Copies of each entry.") var copies = 1
    @OptionGroup var options: HarnessOptions

    func validate() throws {
        try options.check(1...64 ~= peers, "--peers", "\(peers)", "1...64")
        try options.check(1...7 ~= copies, "--copies", "\(copies)", "1...7")
    }

    func run() async throws {
        Machine.write(asJSON: options.json)
        var settings = BenchPeer.Settings()
        settings.cache = "cluster"
        settings.secret = (0..<4).map { _ in String(UInt64.random(in: .min ... .max), radix: 16) }.joined(separator: "-")
        settings.memoryMegabytes = options.memoryMegabytes(peers: peers, copies: copies)
        settings.options = CacheOptions(copies: copies, nearFor: options.near ? nil : .zero)
        let value = options.value
        let cluster = try await LocalCluster(peers: peers, loops: options.loops, settings) { _ in value }
        let load = try options.load(cluster.peers.map(\.cache))
        Report.progress("\(peers) peers run; \(options.callers) callers")
        if options.warmup > 0 { _ = await load.run(callers: options.callers, seconds: options.warmup, says: false) }
        let before = ReadShares(cluster.peers), loadsBefore = cluster.loaderCalls.total
        let result = await load.run(callers: options.callers, seconds: options.seconds, says: true)
        let loads = cluster.loaderCalls.total - loadsBefore
        var measurements = Measurements()
        measurements.add("cluster", result)
        ReadShares(cluster.peers).add(since: before, "cluster", into: &measurements)
        measurements.add("cluster.loads", Double(loads), "calls")
        await cluster.stop()
        Report.write(measurements, asJSON: options.json)
        if let failure = result.failure { Report.progress("\(result.failed) operations failed, one of them with: \(failure)") }
    }
}

import ArgumentParser
import Foundation
import NIOCore
import PeerCache

/// Gets of small and large values, next to redis-benchmark.
struct ValuesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "values",
        abstract: "Gets of values of 100 bytes to 4 MiB that another process owns, and of small ones beside large ones, next to Redis.",
        discussion: """
            throughput: megabytes of values per second, 1 MB = 1,000,000 bytes. beside: one caller gets values of 100 bytes while others get \
            the largest; for Redis, two redis-benchmarks at once. A latency of ours ends when the whole value is there, one of \
            redis-benchmark when the first bytes of the answer are: of large values compare the throughput.
            """)

    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Turns of ours and theirs; the figures are medians.") var rounds = 5
    @Option(help: "Seconds per figure and turn.") var seconds = 1.0
    @Option(help: "Bytes of a value, separated by commas, ascending.") var sizes = "100,1024,16384,262144,4194304"
    @Option(help: "Concurrent callers.") var callers = 8
    @Option(help: "Callers that get the largest values beside the one that gets small ones.") var besides = 2
    @Option(help: "Folder with what Benchmarks/Peers/build makes.") var peers = PeerProgram.folder
    @Flag(help: "Without Redis.") var noPeers = false

    func validate() throws {
        let sizes = try positiveNumbers(sizes, "--sizes")
        guard rounds >= 1, seconds > 0, 1...64 ~= callers, 1...64 ~= besides, sizes == sizes.sorted(), sizes.last ?? .max <= 8 << 20 else {
            throw ValidationError("--rounds and --seconds must be positive, --callers and --besides 1...64, --sizes ascend up to 8388608")
        }
    }

    /// 64 MiB in all, at most so many.
    private static let keysMax = 1000
    private static func keys(_ size: Int) -> Int { max(8, min(keysMax, (64 << 20) / size)) }
    private static let small = 100

    func run() async throws {
        Machine.write(peers: noPeers ? [:] : PeerProgram.versions(in: peers), asJSON: json)
        let sizes = try positiveNumbers(sizes, "--sizes")
        var servers: [Int: RedisRun] = [:]
        defer { for server in servers.values { server.stop() } }
        if !noPeers { for size in sizes { servers[size] = try RedisRun(keys: Self.keys(size), valueBytes: size) } }
        let cluster = try RpcCluster(loops: 1, memoryMegabytes: 2048)
        var measurements = Measurements()
        do {
            try await cluster.fill(keys: Self.keysMax + 100, value: ByteBuffer())
            for round in 1...rounds {
                Report.progress("values: round \(round) of \(rounds)")
                for size in sizes { try await measure(size, round, cluster, servers[size], into: &measurements) }
                if let largest = sizes.last { try await measureBeside(largest, round, cluster, servers[largest], into: &measurements) }
            }
        } catch {
            await cluster.stop()
            throw error
        }
        await cluster.stop()
        Report.write(measurements, asJSON: json)
    }

    /// A load of the cluster's first keys, filled, or of its last ones.
    private func load(_ cluster: RpcCluster, _ keys: some Sequence<String>, _ size: Int) async throws -> RpcLoad {
        let load = RpcLoad(
            cache: cluster.cache, keys: Array(keys), eventLoops: cluster.eventLoops, value: ByteBuffer(repeating: 0x78, count: size),
            seconds: seconds)
        try await load.fill()
        return load
    }

    private func measure(
        _ size: Int, _ round: Int, _ cluster: RpcCluster, _ redis: RedisRun?, into measurements: inout Measurements
    ) async throws {
        let theirs = try [redis?.result(.get, callers: callers, seconds: seconds)].compactMap { $0 }
        let ours = try await load(cluster, cluster.keys.prefix(Self.keys(size)), size).run(.get, callers: callers, round: round)
        let name = "values.get.\(size)", megabytes = Double(size) / 1_000_000
        measurements.add("\(name).throughput", ours.throughput * megabytes, "MB/s", against: theirs) { $0.throughput * megabytes }
        measurements.add("\(name).p50", ours.p50, "µs", against: theirs, \.p50)
        measurements.add("\(name).p99", ours.p99, "µs", against: theirs, \.p99)
    }

    private func measureBeside(
        _ size: Int, _ round: Int, _ cluster: RpcCluster, _ redis: RedisRun?, into measurements: inout Measurements
    ) async throws {
        let theirs = try redis.map { RivalResult(name: "redis GET", load: try beside($0)) }
        let large = try await load(cluster, cluster.keys.prefix(Self.keys(size)), size)
        let few = try await load(cluster, cluster.keys.suffix(100), Self.small)
        async let noise = large.run(.get, callers: besides, round: round)
        let ours = try await few.run(.get, callers: 1, round: round)
        _ = try await noise
        measurements.add("values.beside.\(size).p50", ours.p50, "µs", against: theirs.map { [$0] } ?? [], \.p50)
        measurements.add("values.beside.\(size).p99", ours.p99, "µs", against: theirs.map { [$0] } ?? [], \.p99)
    }

    private func beside(_ redis: RedisRun) throws -> LoadResult {
        try redis.set("small", bytes: Self.small)
        let noise = try redis.endlessGets(clients: besides)
        defer { noise.kill() }
        let result = try redis.run(["GET", "small"], clients: 1, seconds: seconds)
        guard noise.isRunning else { throw ValidationError("the redis-benchmark that gets large values ended too soon") }
        return result
    }
}

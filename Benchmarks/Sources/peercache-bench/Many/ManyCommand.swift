import ArgumentParser
import NIOCore
import PeerCache

/// Many keys of one other peer in one call, next to MGET.
struct ManyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "many",
        abstract: "getMany of keys that one other peer owns, next to redis-benchmark's MGET of as many in one connection.",
        discussion: """
            keys: keys per second of all callers together. A caller has one call under way; ours share one connection, redis-benchmark has one \
            per caller. A call of ours has keys that follow each other in the list, from a random one on; one of redis-benchmark random ones.
            """)

    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Turns of ours and theirs; the figures are medians.") var rounds = 5
    @Option(help: "Seconds per figure and turn.") var seconds = 1.0
    @Option(help: "Keys of a call, separated by commas.") var sizes = "10,100"
    @Option(help: "Concurrent callers, separated by commas.") var callers = "1,8,32"
    @Option(help: "Bytes of a value.") var valueBytes = 100
    @Option(help: "Keys.") var keys = 10_000
    @Option(help: "Folder with what Benchmarks/Peers/build makes.") var peers = PeerProgram.folder
    @Flag(help: "Without Redis.") var noPeers = false

    func validate() throws {
        guard rounds >= 1, seconds > 0, valueBytes >= 0, keys >= 1, try positiveNumbers(sizes, "--sizes").max() ?? 0 <= keys else {
            throw ValidationError("--rounds and --seconds must be positive, --value-bytes not negative, no size above --keys")
        }
        _ = try positiveNumbers(callers, "--callers")
    }

    func run() async throws {
        Machine.write(peers: noPeers ? [:] : PeerProgram.versions(in: peers), asJSON: json)
        let redis = try noPeers ? nil : RedisRun(keys: keys, valueBytes: valueBytes)
        defer { redis?.stop() }
        let cluster = try RpcCluster(loops: 1)
        var measurements = Measurements()
        do {
            let value = ByteBuffer(repeating: 0x78, count: valueBytes)
            try await cluster.fill(keys: keys, value: value, byOneOwner: true)
            let load = cluster.load(value: value, seconds: seconds)
            for round in 1...rounds {
                Report.progress("many: round \(round) of \(rounds)")
                for size in try positiveNumbers(sizes, "--sizes") {
                    for callers in try positiveNumbers(callers, "--callers") {
                        try await measure(size, callers, round, load, redis, into: &measurements)
                    }
                }
            }
        } catch {
            await cluster.stop()
            throw error
        }
        await cluster.stop()
        Report.write(measurements, asJSON: json)
    }

    private func measure(
        _ size: Int, _ callers: Int, _ round: Int, _ load: RpcLoad, _ redis: RedisRun?, into measurements: inout Measurements
    ) async throws {
        let command = ["MGET"] + Array(repeating: RedisRun.randomKey, count: size)
        let theirs = try redis.map { RivalResult(name: "redis MGET", load: try $0.run(command, clients: callers, seconds: seconds)) }
        let cache = load.cache
        let ours = try await load.repeated(callers: callers, round: round) { keys in
            guard try await cache.getMany(keys.next(size)).count == size else { throw ValidationError("filled keys had no value") }
        }.result
        let name = "many.\(size).\(callers)", rivals = theirs.map { [$0] } ?? []
        measurements.add("\(name).keys", ours.throughput * Double(size), "1/s", against: rivals) { $0.throughput * Double(size) }
        measurements.add("\(name).p50", ours.p50, "µs", against: rivals, \.p50)
        measurements.add("\(name).p99", ours.p99, "µs", against: rivals, \.p99)
    }
}

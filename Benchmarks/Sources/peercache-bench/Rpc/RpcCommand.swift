import ArgumentParser
import NIOCore

/// Gets, sets and removals of another peer's keys, next to redis-benchmark.
struct RpcCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rpc",
        abstract: "Operations on keys that another process owns, three processes on loopback, next to redis-benchmark.",
        discussion: """
            Callers run on Swift's global executor, as tasks do by default, and on the event loops of the peer's group, where a call changes \
            no thread. redis-benchmark uses the same number of clients, one connection each, no pipelining. With one caller the figures show \
            the scheduler: compare them with --pin, which binds all processes of both sides to the same cores.
            """)

    enum Security: String, CaseIterable, ExpressibleByArgument { case sharedSecret, insecure }

    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Turns of ours and theirs; the figures are medians.") var rounds = 5
    @Option(help: "Seconds per operation, executor and number of callers.") var seconds = 2.0
    @Option(help: "Concurrent callers, separated by commas.") var callers = "1,50"
    @Option(help: "Bytes of a value.") var valueBytes = 100
    @Option(help: "Keys, none of them owned by the calling process.") var keys = 10_000
    @Option(help: "Operations, separated by commas.") var operations = "get,set,remove"
    @Option(help: "Where callers run: global, eventLoop, or both separated by a comma.") var executor = "global,eventLoop"
    @Option(help: "Event loops of each process.") var loops = 1
    @Option(help: "How the processes trust each other.") var security = Security.sharedSecret
    @Option(help: "Cores for all processes of both sides, as for taskset -c.") var pin: String?
    @Flag(help: "Without redis-server.") var noRedis = false
    @Flag(help: "A strict cache of 3 copies, 2 read, 2 acked; SET waits for a replica (WAIT 1).") var strict = false

    func validate() throws {
        guard rounds >= 1, seconds > 0, loops >= 1, keys >= 1, valueBytes >= 0 else {
            throw ValidationError("--rounds, --seconds, --loops and --keys must be positive, --value-bytes not negative")
        }
        _ = try (list(callers, "--callers") { Int($0).flatMap { $0 > 0 ? $0 : nil } }, chosenOperations, chosenExecutors)
    }

    private var chosenOperations: [RpcLoad.Operation] {
        get throws { try list(operations, "--operations", RpcLoad.Operation.init) }
    }
    private var chosenExecutors: [RpcLoad.Executor] {
        get throws { try list(executor, "--executor", RpcLoad.Executor.init) }
    }

    private func list<Element>(_ text: String, _ option: String, _ element: (String) -> Element?) throws -> [Element] {
        try text.split(separator: ",").map {
            guard let element = element(String($0)) else { throw ValidationError("\(option): \"\($0)\" is not allowed") }
            return element
        }
    }

    func run() async throws {
        if let pin { try ChildProcess.pin(to: pin) }
        let redis = noRedis ? nil : try RedisRun(keys: keys, valueBytes: valueBytes, seconds: seconds)
        if redis == nil && !noRedis { Report.progress("redis-server and redis-benchmark are not installed: no comparison") }
        let waiting = strict && redis != nil ? try RedisWait(keys: keys, valueBytes: valueBytes) : nil
        defer { waiting?.stop() }
        Machine.write(peers: redis.map { ["redis": $0.version] } ?? [:], asJSON: json)

        let cluster = try RpcCluster(loops: loops, isSecured: security == .sharedSecret, isStrict: strict)
        let value = ByteBuffer(repeating: 0x78, count: valueBytes)
        try await cluster.fill(keys: keys, value: value)
        Report.progress("filled; the other peers are processes \(cluster.processIdentifiers)")
        let load = RpcLoad(cluster: cluster, value: value, seconds: seconds)
        var measurements = Measurements()
        do {
            for round in 1...rounds {
                Report.progress("round \(round) of \(rounds)")
                for callers in try list(callers, "--callers", Int.init) {
                    try await measure(round: round, callers: callers, load, redis, waiting, into: &measurements)
                }
            }
        } catch {
            await cluster.stop()
            redis?.stop()
            throw error
        }
        await cluster.stop()
        redis?.stop()
        Report.write(measurements, asJSON: json)
    }

    /// One turn of each.
    private func measure(
        round: Int, callers: Int, _ load: RpcLoad, _ redis: RedisRun?, _ waiting: RedisWait?, into measurements: inout Measurements
    ) async throws {
        let theirs = try redis?.run(clients: callers)
        let waited = try await waiting?.run(clients: callers, seconds: seconds)
        for operation in try chosenOperations {
            let peer: (name: String, result: LoadResult)? =
                switch operation {
                case .get: theirs.map { ("redis GET", $0.get) }
                case .set: waited.map { ("redis SET and WAIT 1", $0) } ?? theirs.map { ("redis SET", $0.set) }
                case .remove: nil
                }
            for executor in try chosenExecutors {
                let ours = try await load.run(operation, callers: callers, on: executor, round: round)
                let name = "rpc.\(operation).\(callers).\(executor)"
                func add(_ figure: String, _ path: KeyPath<LoadResult, Double>, _ unit: String) {
                    measurements.add("\(name).\(figure)", ours[keyPath: path], unit, peer: peer.map { ($0.name, $0.result[keyPath: path]) })
                }
                add("throughput", \.throughput, "1/s")
                add("p50", \.p50, "µs")
                add("p95", \.p95, "µs")
                add("p99", \.p99, "µs")
            }
            if operation == .remove { try await load.refill() }
        }
    }
}

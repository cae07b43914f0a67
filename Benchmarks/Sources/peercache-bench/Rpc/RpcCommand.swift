import ArgumentParser
import NIOCore

/// Gets, sets and removals of another peer's keys, next to those of other systems.
struct RpcCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rpc",
        abstract: "Operations on keys that another process owns, three processes on loopback, next to Redis, memcached and groupcache.",
        discussion: """
            Callers run on Swift's global executor, as tasks do by default, and on the event loops of the peer's group, where a call changes \
            no thread. redis-benchmark uses the same number of clients, one connection each, no pipelining; memcached is called by as many \
            goroutines with a connection each; groupcache (gets only) by as many goroutines of a peer that keeps nothing itself, with as many \
            idle connections as it wants. With one caller the figures show the scheduler: compare them with --pin, which binds all processes \
            of all sides to the same cores.
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
    @Option(help: "Other systems, of redis,memcached,groupcache; none: alone.") var against = "redis,memcached,groupcache"
    @Option(help: "Folder with the programs that Benchmarks/Peers/build makes.") var peers = PeerProgram.folder
    @Flag(help: "A strict cache of 3 copies, 2 read, 2 acked; SET waits for a replica (WAIT 1).") var strict = false

    func validate() throws {
        guard rounds >= 1, seconds > 0, loops >= 1, keys >= 1, valueBytes >= 0 else {
            throw ValidationError("--rounds, --seconds, --loops and --keys must be positive, --value-bytes not negative")
        }
        _ = try (positiveNumbers(callers, "--callers"), chosenOperations, chosenExecutors, chosenRivals)
    }

    private var chosenOperations: [RpcLoad.Operation] {
        get throws { try list(operations, "--operations", RpcLoad.Operation.init) }
    }
    private var chosenExecutors: [RpcLoad.Executor] {
        get throws { try list(executor, "--executor", RpcLoad.Executor.init) }
    }

    private enum System: String { case redis, memcached, groupcache }
    private var chosenRivals: [System] { get throws { against == "none" ? [] : try list(against, "--against", System.init) } }

    private func start(_ system: System) throws -> (any Rival)? {
        switch system {
        case .redis: try RedisRun(keys: keys, valueBytes: valueBytes)
        case .memcached: try RpcProgram(.memcached, in: peers, keys: keys, valueBytes: valueBytes)
        case .groupcache: try RpcProgram(.groupcache, in: peers, keys: keys, valueBytes: valueBytes)
        }
    }

    func run() async throws {
        if let pin { try ChildProcess.pin(to: pin) }
        let rivals = try chosenRivals.compactMap(start)
        defer { for rival in rivals { rival.stop() } }
        let waiting = try strict && rivals.contains { $0 is RedisRun } ? RedisWait(keys: keys, valueBytes: valueBytes) : nil
        defer { waiting?.stop() }
        Machine.write(peers: rivals.isEmpty ? [:] : PeerProgram.versions(in: peers), asJSON: json)

        let cluster = try RpcCluster(loops: loops, isSecured: security == .sharedSecret, kind: strict ? .strict : .fast)
        var measurements = Measurements()
        do {
            let value = ByteBuffer(repeating: 0x78, count: valueBytes)
            try await cluster.fill(keys: keys, value: value)
            Report.progress("filled; the other peers are processes \(cluster.processIdentifiers)")
            let load = cluster.load(value: value, seconds: seconds)
            for round in 1...rounds {
                for callers in try positiveNumbers(callers, "--callers") {
                    Report.progress("rpc, \(callers) callers: round \(round) of \(rounds)")
                    try await measure(round: round, callers: callers, load, rivals, waiting, into: &measurements)
                }
            }
        } catch {
            await cluster.stop()
            throw error
        }
        await cluster.stop()
        Report.write(measurements, asJSON: json)
    }

    /// One turn of each.
    private func measure(
        round: Int, callers: Int, _ load: RpcLoad, _ rivals: [any Rival], _ waiting: RedisWait?, into measurements: inout Measurements
    ) async throws {
        for operation in try chosenOperations {
            var theirs: [RivalResult] = []
            for rival in rivals {
                if let result = try rival.result(operation, callers: callers, seconds: seconds) { theirs.append(result) }
                // Others clean up behind themselves, on the same cores.
                try await Task.sleep(for: .milliseconds(200))
            }
            if operation == .set, let waited = try await waiting?.run(clients: callers, seconds: seconds) {
                theirs.append(RivalResult(name: "redis SET and WAIT 1", load: waited))
            }
            for executor in try chosenExecutors {
                let ours = try await load.run(operation, callers: callers, on: executor, round: round)
                measurements.add("rpc.\(operation).\(callers).\(executor)", ours, against: theirs)
                if operation == .remove { try await load.fill() }
            }
        }
    }
}

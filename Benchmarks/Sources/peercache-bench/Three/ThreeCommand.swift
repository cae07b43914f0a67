import ArgumentParser
import NIOCore
import NIOPosix
import PeerCache

/// Keys spread over three processes, next to a Redis Cluster of three masters.
struct ThreeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "three",
        abstract: "Three processes with all keys spread over them, next to a Redis Cluster of three masters on the same cores.",
        discussion: """
            observer: all callers in a fourth process that holds nothing, like redis-benchmark --cluster (one thread per master, one \
            connection per client, no pipelining). embedded: a third of the callers in each of the three processes, as applications run \
            peers; a third of the keys are their own. One copy of each key on both sides. Callers choose keys equally often. Callers are \
            tasks on Swift's global executor. remove and DEL mostly meet keys that are gone already.
            """)

    enum Drivers: String { case observer, embedded }

    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Turns of ours and theirs; the figures are medians.") var rounds = 5
    @Option(help: "Seconds per figure and turn.") var seconds = 1.0
    @Option(help: "Concurrent callers in all, separated by commas.") var callers = "50,200"
    @Option(help: "Bytes of a value.") var valueBytes = 100
    @Option(help: "Keys.") var keys = 10_000
    @Option(help: "Operations, separated by commas.") var operations = "get,set,remove"
    @Option(help: "Where callers are: observer, embedded, or both.") var drivers = "observer,embedded"
    @Option(help: "Event loops of each process.") var loops = 1
    @Option(help: "Folder with what Benchmarks/Peers/build makes.") var peers = PeerProgram.folder
    @Flag(help: "Without Redis.") var noPeers = false

    func validate() throws {
        guard rounds >= 1, seconds > 0, loops >= 1, keys >= 1, valueBytes >= 0 else {
            throw ValidationError("--rounds, --seconds, --loops and --keys must be positive, --value-bytes not negative")
        }
        _ = try (positiveNumbers(callers, "--callers"), chosenOperations, chosenDrivers)
    }

    private var chosenOperations: [RpcLoad.Operation] {
        get throws { try list(operations, "--operations", RpcLoad.Operation.init) }
    }
    private var chosenDrivers: [Drivers] { get throws { try list(drivers, "--drivers", Drivers.init) } }

    func run() async throws {
        Machine.write(peers: noPeers ? [:] : PeerProgram.versions(in: peers), asJSON: json)
        let redis = try noPeers ? nil : RedisRun(keys: keys, valueBytes: valueBytes, masters: 3)
        defer { redis?.stop() }
        var settings = BenchPeer.Settings.rpc(.fast)
        settings.secret = BenchPeer.randomSecret()
        let children = try RpcCluster.children(3, loops: loops, .fast, &settings)
        defer { for child in children { child.stop() } }
        settings.role = .observer
        let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
        let observer = try BenchPeer(settings, on: group)
        let running = Task { try await observer.peer.run() }
        var measurements = Measurements()
        do {
            try await waitUntil("the three processes become one cluster", seconds: 10) {
                observer.peer.readiness.isReady && observer.peer.snapshot().memberCount == 3
            }
            try await Task.sleep(for: .milliseconds(1_000))  // all place keys alike by then
            try await measure(observer, children, redis, into: &measurements)
        } catch {
            running.cancel()
            throw error
        }
        running.cancel()
        _ = try? await running.value
        Report.write(measurements, asJSON: json)
    }

    private func measure(
        _ observer: BenchPeer, _ children: [ChildProcess], _ redis: RedisRun?, into measurements: inout Measurements
    ) async throws {
        var order = RpcPeerOrder(operation: .get, callers: 0, seconds: seconds, round: 0, keys: keys, valueBytes: valueBytes)
        let load = order.load(observer)
        try await load.fill()
        for round in 1...rounds {
            for callers in try positiveNumbers(callers, "--callers") {
                Report.progress("three, \(callers) callers: round \(round) of \(rounds)")
                for operation in try chosenOperations {
                    let theirs = try [redis?.result(operation, callers: callers, seconds: seconds)].compactMap { $0 }
                    (order.operation, order.round) = (operation, round)
                    for drivers in try chosenDrivers {
                        let ours =
                            switch drivers {
                            case .observer: try await load.run(operation, callers: callers, round: round)
                            case .embedded: try embedded(order, callers: callers, children)
                            }
                        measurements.add("three.\(operation).\(callers).\(drivers)", ours, against: theirs)
                        if operation == .remove { try await load.fill() }
                    }
                }
            }
        }
    }

    /// All processes at the same time, each with its share of the callers.
    private func embedded(_ order: RpcPeerOrder, callers: Int, _ children: [ChildProcess]) throws -> LoadResult {
        for (number, child) in children.enumerated() {
            var order = order
            order.callers = max(1, (callers + number) / children.count)
            order.round += 1000 * number  // other keys in each
            try child.send(Report.encoded(order))
        }
        var all: TimedLatencies?
        for child in children {
            let answer = try child.answer(TimedLatencies.self)
            if all == nil { all = answer } else { all?.add(answer) }
        }
        guard let all else { throw ValidationError("no process answered") }
        return all.result
    }
}

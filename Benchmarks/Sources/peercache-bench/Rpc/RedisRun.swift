import ArgumentParser
import Foundation

/// redis-servers of our own, one or a cluster of several masters, and redis-benchmark against them.
final class RedisRun: Rival {
    private let servers: [ServerProcess]
    private let keys: Int
    private let valueBytes: Int
    /// Requests per second by command and clients, as last seen: how many requests fill the time.
    private var pace: [String: Double] = [:]

    /// Starts and fills the servers; nil when redis is not installed.
    init?(keys: Int, valueBytes: Int, masters: Int = 1) throws {
        guard ChildProcess.output(of: "redis-server", ["--version"]) != nil,
            ChildProcess.output(of: "redis-benchmark", ["--version"]) != nil
        else {
            Report.progress("redis-server and redis-benchmark are not installed: no comparison")
            return nil
        }
        self.keys = keys
        self.valueBytes = valueBytes
        let cluster = masters > 1 ? "--cluster-enabled yes --cluster-port OTHER" : ""
        servers = try (0..<masters).map { _ in try ServerProcess.redis(cluster) }
        if masters > 1 { try join() }
        try fill()
    }

    private var isCluster: Bool { servers.count > 1 }

    private func join() throws {
        let addresses = servers.map { "127.0.0.1:\($0.port)" }
        guard ChildProcess.output(of: "redis-cli", ["--cluster", "create"] + addresses + ["--cluster-yes"]) != nil else {
            throw ValidationError("redis-cli --cluster create failed")
        }
        for server in servers {
            for attempt in 0... {
                let info = ChildProcess.output(of: "redis-cli", ["-p", "\(server.port)", "cluster", "info"]) ?? ""
                if info.contains("cluster_state:ok") { break }
                guard attempt < 200 else { throw ValidationError("the Redis Cluster did not become ready") }
                Thread.sleep(forTimeInterval: 0.05)
            }
        }
    }

    /// Random keys, ten times as many as there are: 1 in 20,000 is left out.
    private func fill() throws { _ = try benchmark(["-t", "set", "-P", "16"], clients: 10, requests: keys * 10) }

    func name(of operation: RpcLoad.Operation) -> String? {
        let system = isCluster ? "redis cluster" : "redis"
        switch operation {
        case .get: return "\(system) GET"
        case .set: return "\(system) SET"
        case .remove: return "\(system) DEL"
        }
    }

    func run(_ operation: RpcLoad.Operation, callers: Int, seconds: Double) throws -> LoadResult {
        switch operation {
        case .get: return try run(["-t", "get"], clients: callers, seconds: seconds)
        case .set: return try run(["-t", "set"], clients: callers, seconds: seconds)
        case .remove:
            let result = try run(["DEL", isCluster ? "key:{tag}:__rand_int__" : Self.randomKey], clients: callers, seconds: seconds)
            try fill()
            return result
        }
    }

    static let randomKey = "key:__rand_int__"

    /// A test of redis-benchmark, or a command, for about the time asked for. Blocks.
    func run(_ command: [String], clients: Int, seconds: Double) throws -> LoadResult {
        let line = "\(command) \(clients)"
        let first = max(clients, min(clients == 1 ? 2_000 : 20_000, (64 << 20) / max(1, valueBytes)))
        let rate = try pace[line] ?? benchmark(command, clients: clients, requests: first).throughput
        let result = try benchmark(command, clients: clients, requests: max(clients, Int(rate * seconds)))
        pace[line] = result.throughput
        return result
    }

    /// Gets random keys until it is killed.
    func endlessGets(clients: Int) throws -> ChildProcess {
        try ChildProcess(
            "redis-benchmark", ["-p", "\(servers[0].port)", "-t", "get", "-r", "\(keys)", "-c", "\(clients)", "-n", "1000000000", "--csv"])
    }

    /// A key beside those of redis-benchmark.
    func set(_ key: String, bytes: Int) throws {
        let value = String(repeating: "x", count: bytes)
        guard ChildProcess.output(of: "redis-cli", ["-p", "\(servers[0].port)", "SET", key, value]) != nil else {
            throw ValidationError("redis-cli SET failed")
        }
    }

    func stop() { for server in servers { server.stop() } }

    private func benchmark(_ command: [String], clients: Int, requests: Int) throws -> LoadResult {
        var arguments = [
            "-p", "\(servers[0].port)", "-d", "\(valueBytes)", "-r", "\(keys)", "-c", "\(clients)", "-n", "\(requests)", "--csv",
        ]
        if isCluster { arguments.append("--cluster") }
        guard let csv = ChildProcess.output(of: "redis-benchmark", arguments + command), let result = Self.result(csv) else {
            throw ValidationError("redis-benchmark failed, or prints other columns than rps, p50, p95 and p99")
        }
        return result
    }

    /// Of the last line. Columns by their names in the header; latencies are in milliseconds.
    private static func result(_ csv: String) -> LoadResult? {
        let lines = csv.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("\"") }
            .map { $0.split(separator: ",").map { $0.trimmingPrefix("\"").dropLast() } }
        guard let header = lines.first, let row = lines.dropFirst().last, row.count == header.count else { return nil }
        func column(_ name: String) -> Double? { header.firstIndex { String($0) == name }.flatMap { Double(String(row[$0])) } }
        guard let rate = column("rps"), let p50 = column("p50_latency_ms"), let p95 = column("p95_latency_ms"),
            let p99 = column("p99_latency_ms")
        else { return nil }
        return LoadResult(
            throughput: rate, p50: p50 * 1000, p95: p95 * 1000, p99: p99 * 1000, max: column("max_latency_ms").map { $0 * 1000 })
    }
}

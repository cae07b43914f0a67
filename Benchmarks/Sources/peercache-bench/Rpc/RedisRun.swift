import ArgumentParser
import Foundation

/// A redis-server of our own, and redis-benchmark against it.
final class RedisRun {
    let version: String
    private let server: ServerProcess
    private let keys: Int
    private let valueBytes: Int
    private let seconds: Double
    /// Requests per second by clients, as last seen: how many requests fill the time.
    private var pace: [Int: Double] = [:]

    /// Starts the server; nil when redis is not installed.
    init?(keys: Int, valueBytes: Int, seconds: Double) throws {
        guard let text = ChildProcess.output(of: "redis-server", ["--version"]),
            ChildProcess.output(of: "redis-benchmark", ["--version"]) != nil
        else { return nil }
        version = text.firstMatch(of: #/v=([0-9.]+)/#).map { String($0.1) } ?? "unknown"
        self.keys = keys
        self.valueBytes = valueBytes
        self.seconds = seconds
        server = try ServerProcess.redis()
    }

    /// GET and SET with so many clients, each for about the time asked for. Blocks.
    func run(clients: Int) throws -> (get: LoadResult, set: LoadResult) {
        let rate = try pace[clients] ?? benchmark(clients: clients, requests: clients == 1 ? 5_000 : 50_000).get.throughput
        let results = try benchmark(clients: clients, requests: max(1_000, Int(rate * seconds)))
        pace[clients] = results.get.throughput
        return results
    }

    func stop() { server.stop() }

    private func benchmark(clients: Int, requests: Int) throws -> (get: LoadResult, set: LoadResult) {
        let arguments = [
            "-p", "\(server.port)", "-t", "get,set", "-d", "\(valueBytes)", "-r", "\(keys)", "-c", "\(clients)", "-n", "\(requests)",
            "--csv",
        ]
        guard let csv = ChildProcess.output(of: "redis-benchmark", arguments),
            let get = Self.result("GET", csv), let set = Self.result("SET", csv)
        else { throw ValidationError("redis-benchmark failed, or prints other columns than rps, p50, p95 and p99") }
        return (get, set)
    }

    /// Columns by their names in the header; latencies are in milliseconds.
    private static func result(_ test: String, _ csv: String) -> LoadResult? {
        let lines = csv.split(whereSeparator: \.isNewline).map { $0.split(separator: ",").map { $0.trimmingPrefix("\"").dropLast() } }
        guard let header = lines.first, let row = lines.first(where: { $0.first.map(String.init) == test }), row.count == header.count
        else { return nil }
        func column(_ name: String) -> Double? { header.firstIndex { String($0) == name }.flatMap { Double(String(row[$0])) } }
        guard let rate = column("rps"), let p50 = column("p50_latency_ms"), let p95 = column("p95_latency_ms"),
            let p99 = column("p99_latency_ms")
        else { return nil }
        return LoadResult(
            throughput: rate, p50: p50 * 1000, p95: p95 * 1000, p99: p99 * 1000, max: column("max_latency_ms").map { $0 * 1000 })
    }
}

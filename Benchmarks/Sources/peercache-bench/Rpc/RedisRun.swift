import ArgumentParser
import Foundation

/// A redis-server of our own, and redis-benchmark against it.
final class RedisRun {
    let version: String
    private let server: ChildProcess
    private let port: Int
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
        port = try Self.freePort()
        // The shell stays until its input closes, also after an interrupt, and takes the server with it.
        server = try ChildProcess(
            "/bin/sh",
            [
                "-c",
                "trap '' INT TERM HUP; redis-server --port \(port) --bind 127.0.0.1 --save '' --appendonly no >/dev/null & "
                    + "echo started; cat >/dev/null; kill -9 $!; wait",
            ])
        _ = try server.readLine()
        for _ in 0..<200 where ChildProcess.output(of: "redis-cli", ["-p", "\(port)", "ping"])?.hasPrefix("PONG") != true {
            usleep(20_000)
        }
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
            "-p", "\(port)", "-t", "get,set", "-d", "\(valueBytes)", "-r", "\(keys)", "-c", "\(clients)", "-n", "\(requests)", "--csv",
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
        return LoadResult(throughput: rate, p50: p50 * 1000, p95: p95 * 1000, p99: p99 * 1000)
    }

    /// A port that the kernel chose. Free again when this returns, and not given to anybody else soon.
    private static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isBound else { throw ValidationError("no free port on 127.0.0.1: \(String(cString: strerror(errno)))") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}

import ArgumentParser
import Foundation
import Logging
import PeerCache

/// What an instance is started with. Options and environment variables become this, checked.
struct ShopSettings {
    var host: String
    var port: Int
    var peerPort: Int
    var peers: [String]
    var database: String
    var productCount: Int
    var cluster: String
    var secret: String?
    var memoryMegabytes: Int
    var queryDelay: Duration
    var logLevel: Logger.Level
    var exitWithParent: Bool

    func peerConfiguration(logger: Logger) -> CachePeerConfiguration {
        var configuration = CachePeerConfiguration(cluster: cluster)
        configuration.bind = .init(host: host, port: peerPort)
        configuration.discovery = peers.isEmpty ? .none : .peers(peers)
        configuration.security = secret.map { .sharedSecret($0) }  // without one, the peer refuses to listen beyond loopback
        configuration.memory = .megabytes(memoryMegabytes)
        configuration.logger = logger
        return configuration
    }
}

/// The command line. A missing option is looked up in the environment, then gets its default.
struct ShopOptions: ParsableArguments {
    @Option(help: "Address for HTTP and for the cache peer. (default: 127.0.0.1)")
    var host: String?

    @Option(help: "HTTP port; 0 lets the system choose one. (default: 8080)")
    var port: Int?

    @Option(help: "Port of the cache peer; 0 lets the system choose one. (default: 7600)")
    var peerPort: Int?

    @Option(help: "Peers to ask for the cluster, comma separated: 127.0.0.1:7600,127.0.0.1:7601. (default: none)")
    var peers: String?

    @Option(help: "SQLite file; created with its products when missing. (default: shop.sqlite)")
    var database: String?

    @Option(help: "Products to create the database with, 1...1000000. (default: 20000)")
    var products: Int?

    @Option(help: "Name of the cluster; peers of another one are refused. (default: shop)")
    var cluster: String?

    @Option(help: "Secret of 16 bytes or more that all peers share; SHOP_SECRET keeps it out of the process list. (default: none)")
    var secret: String?

    @Option(name: .customLong("memory-mb"), help: "Memory of the cache in MiB. (default: 64)")
    var memoryMB: Int?

    @Option(name: .customLong("query-delay-ms"), help: "Milliseconds that every database query takes longer, 0...60000. (default: 3)")
    var queryDelayMS: Int?

    @Option(help: "trace, debug, info, notice, warning, error or critical. (default: info)")
    var logLevel: String?

    @Flag(help: "Stop when standard input ends, as it does when the parent process dies.")
    var exitWithParent = false

    func resolved() throws -> ShopSettings {
        let level = try setting(logLevel, "SHOP_LOG_LEVEL", default: "info")
        guard let logLevel = Logger.Level(rawValue: level) else {
            throw ValidationError("'\(level)' is no log level; write trace, debug, info, notice, warning, error or critical.")
        }
        let peers = try setting(peers, "SHOP_PEERS", default: "")
        let secret = try setting(secret, "SHOP_SECRET", default: "")
        return ShopSettings(
            host: try setting(host, "SHOP_HOST", default: "127.0.0.1"),
            port: try number(port, "--port", "SHOP_PORT", default: 8080, in: 0...65_535),
            peerPort: try number(peerPort, "--peer-port", "SHOP_PEER_PORT", default: 7600, in: 0...65_535),
            peers: peers.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) },
            database: try setting(database, "SHOP_DATABASE", default: "shop.sqlite"),
            productCount: try number(products, "--products", "SHOP_PRODUCTS", default: 20_000, in: 1...1_000_000),
            cluster: try setting(cluster, "SHOP_CLUSTER", default: "shop"),
            secret: secret.isEmpty ? nil : secret,
            memoryMegabytes: try number(memoryMB, "--memory-mb", "SHOP_MEMORY_MB", default: 64, in: 1...1_048_576),
            queryDelay: .milliseconds(try number(queryDelayMS, "--query-delay-ms", "SHOP_QUERY_DELAY_MS", default: 3, in: 0...60_000)),
            logLevel: logLevel,
            exitWithParent: exitWithParent)
    }

    private func setting<Value: LosslessStringConvertible>(_ option: Value?, _ variable: String, default: Value) throws -> Value {
        if let option { return option }
        guard let text = ProcessInfo.processInfo.environment[variable] else { return `default` }
        guard let value = Value(text) else { throw ValidationError("\(variable) is '\(text)'; write a number such as \(`default`).") }
        return value
    }

    private func number(_ option: Int?, _ flag: String, _ variable: String, default: Int, in range: ClosedRange<Int>) throws -> Int {
        let value = try setting(option, variable, default: `default`)
        guard range.contains(value) else {
            throw ValidationError("\(flag) (\(variable)) is \(value); write \(range.lowerBound)...\(range.upperBound).")
        }
        return value
    }
}

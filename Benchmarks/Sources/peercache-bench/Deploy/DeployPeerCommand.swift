import ArgumentParser
import Foundation
import Logging
import PeerCache
import ServiceLifecycle
import UnixSignals

/// One of the processes of ``DeployCommand``: serves a cache whose loader counts its calls, and leaves gracefully on SIGTERM.
struct DeployPeerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "deploy-peer", shouldDisplay: false)

    @Option var seed: [String] = []

    func run() async throws {
        ChildProcess.endWithStandardInput()
        let peer = try CachePeer(configuration: DeployCluster.configuration(seeds: seed))
        let cache = DeployCluster.cache(of: peer)
        let services = ServiceGroup(services: [peer], gracefulShutdownSignals: [.sigterm], logger: Logger(label: "bench"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await services.run() }
            group.addTask {
                var (isListening, last) = (false, "")
                while !Task.isCancelled {
                    if !isListening, let address = peer.address {
                        isListening = true
                        say("listens \(address)")
                    }
                    let loads = peer.snapshot().caches[cache.name]?.loads ?? 0
                    let readiness = peer.readiness
                    let reasons = readiness.reasons.joined(separator: ", ")
                    let line = "state \(readiness.isReady) \(loads) \(peer.snapshot().memberCount) \(reasons)"
                    if line != last { say(line) }
                    last = line
                    try? await Task.sleep(for: .milliseconds(50))
                }
            }
            try await group.next()
            say("state false \(peer.snapshot().caches[cache.name]?.loads ?? 0) 0")
            group.cancelAll()
        }
    }

    private func say(_ line: String) {
        print(line)
        fflush(nil)
    }
}

/// What all processes of ``DeployCommand`` have in common.
enum DeployCluster {
    static func configuration(seeds: [String], weight: Int = 1) -> CachePeerConfiguration {
        var configuration = CachePeerConfiguration(cluster: "bench")
        configuration.bind = .init(host: "127.0.0.1", port: 0)
        configuration.discovery = .peers(seeds)
        configuration.security = .sharedSecret("a secret of the benchmark, long enough")
        configuration.memory = .megabytes(128)
        configuration.identity.weight = weight
        configuration.logger.logLevel = .error
        return configuration
    }

    /// No near copies: every read shows what the cluster holds. A load takes as long as a query.
    static func cache(of peer: CachePeer, loaded: @escaping @Sendable () -> Void = {}) -> Cache<Int, String> {
        peer.cache("deploy", key: Int.self, value: String.self, options: CacheOptions(copies: 2, nearFor: .zero)) { key in
            loaded()
            try await Task.sleep(for: .milliseconds(20))
            return value(key)
        }
    }

    static func value(_ key: Int) -> String { "value of \(key), of about a hundred bytes: " + String(repeating: "x", count: 60) }
}

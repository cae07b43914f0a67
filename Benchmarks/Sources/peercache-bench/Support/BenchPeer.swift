import Logging
import NIOCore
import NIOPosix
import PeerCache

/// A peer with one cache of byte values, as the benchmarks run it.
struct BenchPeer {
    typealias Loader = @Sendable (String) async throws -> ByteBuffer?

    static let secretVariable = "PEERCACHE_BENCH_SECRET"

    struct Settings {
        var cluster = "bench"
        var cache = "rpc"
        var role = CachePeerConfiguration.Role.peer
        var seeds: [String] = []
        /// Nil: no security.
        var secret: String?
        var memoryMegabytes = 256
        /// One copy and no near copies: every get of another peer's key is one request.
        var options = CacheOptions(copies: 1, nearFor: .zero)
        /// Must be set for strict caches.
        var minimumPeers: Int?
    }

    /// Of this run.
    static func randomSecret() -> String { (0..<4).map { _ in String(UInt64.random(in: .min ... .max), radix: 16) }.joined(separator: "-") }

    let peer: CachePeer
    let cache: Cache<String, ByteBuffer>

    init(
        _ settings: Settings, on group: any EventLoopGroup, loader: Loader? = nil
    ) throws {
        var configuration = CachePeerConfiguration(cluster: settings.cluster)
        configuration.role = settings.role
        configuration.bind = .init(host: "127.0.0.1", port: 0)
        configuration.discovery = settings.seeds.isEmpty ? .none : .peers(settings.seeds)
        configuration.security = settings.secret.map { .sharedSecret($0) } ?? .insecure
        configuration.memory = .megabytes(settings.memoryMegabytes)
        configuration.leaveGrace = .zero
        configuration.eventLoopGroup = group
        configuration.logger.logLevel = .error  // standard output belongs to the figures
        configuration.minimumPeers = settings.minimumPeers
        if settings.minimumPeers != nil { configuration.strictResetAfter = .seconds(60) }  // two copies bear no lost peer
        peer = try CachePeer(configuration: configuration)
        cache = peer.cache(
            settings.cache, key: String.self, value: ByteBuffer.self, codec: .buffer, options: settings.options, loader: loader)
    }
}

extension Cache<String, ByteBuffer> {
    /// Sets all keys, a few at a time.
    func fill(_ keys: [String], _ value: ByteBuffer) async throws {
        let workers = 16
        try await withThrowingTaskGroup(of: Void.self) { group in
            for first in 0..<workers {
                group.addTask { for number in stride(from: first, to: keys.count, by: workers) { try await set(keys[number], value) } }
            }
            try await group.waitForAll()
        }
    }
}

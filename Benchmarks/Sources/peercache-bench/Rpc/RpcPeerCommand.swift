import ArgumentParser
import Foundation
import Logging
import NIOCore
import NIOPosix
import PeerCache

/// One of the other processes of ``RpcCommand``: runs a peer, prints its address, and ends when its standard input closes.
struct RpcPeerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rpc-peer", shouldDisplay: false)

    @Option var loops = 1
    @Option var memory = 256
    @Option var seed: [String] = []
    @Flag var strict = false

    func run() async throws {
        ChildProcess.endWithStandardInput()
        let secret = ProcessInfo.processInfo.environment[RpcPeer.secretVariable]
        let peer = try RpcPeer(loops: loops, memoryMegabytes: memory, seeds: seed, secret: secret, isStrict: strict)
        let running = Task { try await peer.peer.run() }
        while peer.peer.address == nil { try await Task.sleep(for: .milliseconds(5)) }
        print(peer.peer.address ?? "")
        fflush(nil)
        try await running.value
    }
}

/// A peer as all three processes run it.
struct RpcPeer {
    static let secretVariable = "PEERCACHE_BENCH_SECRET"

    let peer: CachePeer
    let cache: Cache<String, ByteBuffer>
    /// The event loops of its connections.
    let eventLoops: [any EventLoop]

    /// - Parameter secret: nil: no security.
    init(loops: Int, memoryMegabytes: Int, seeds: [String], secret: String?, isStrict: Bool = false) throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
        eventLoops = Array(group.makeIterator())
        var configuration = CachePeerConfiguration(cluster: "bench")
        configuration.bind = .init(host: "127.0.0.1", port: 0)
        configuration.discovery = .peers(seeds)
        configuration.security = secret.map { .sharedSecret($0) } ?? .insecure
        configuration.memory = .megabytes(memoryMegabytes)
        configuration.leaveGrace = .zero
        configuration.eventLoopGroup = group
        configuration.logger.logLevel = .error  // standard output belongs to the figures
        if isStrict { configuration.minimumPeers = 2 }
        peer = try CachePeer(configuration: configuration)
        // One copy and no near copies: every get of another peer's key is one request.
        let options =
            isStrict ? CacheOptions(copies: 3, readFrom: 2, ackedBy: 2) : CacheOptions(copies: 1, nearFor: .zero)
        cache = peer.cache("rpc", key: String.self, value: ByteBuffer.self, options: options)
    }
}

import ArgumentParser
import Foundation
import NIOCore
import NIOPosix
import PeerCache

/// A peer in a process of its own: prints its address, answers each ``RpcPeerOrder`` of its standard input, and ends when that closes.
struct RpcPeerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rpc-peer", shouldDisplay: false)

    @Option var loops = 1
    @Option var memory = 256
    @Option var seed: [String] = []
    @Option var kind = RpcKind.fast

    func run() async throws {
        let orders = ChildProcess.linesOfStandardInput()
        var settings = BenchPeer.Settings.rpc(kind)
        settings.memoryMegabytes = memory
        settings.seeds = seed
        settings.secret = ProcessInfo.processInfo.environment[BenchPeer.secretVariable]
        let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
        let peer = try BenchPeer(settings, on: group)
        if kind == .copies { for variant in CopiesVariant.all { _ = variant.cache(of: peer) } }
        let running = Task { try await peer.peer.run() }
        while peer.peer.address == nil { try await Task.sleep(for: .milliseconds(5)) }
        say(peer.peer.address ?? "")
        for await line in orders {
            let order = try JSONDecoder().decode(RpcPeerOrder.self, from: Data(line.utf8))
            say(Report.encoded(try await order.load(peer).timed(order.operation, callers: order.callers, round: order.round)))
        }
        try await running.value
    }

    /// Not by `print`: flushing would wait for the reader of standard input.
    private func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
}

/// What a peer's process is told to do to the cluster it is part of. It answers with ``TimedLatencies``.
struct RpcPeerOrder: Codable {
    var operation: RpcLoad.Operation
    var callers: Int
    var seconds: Double
    var round: Int
    var keys: Int
    var valueBytes: Int

    func load(_ peer: BenchPeer) -> RpcLoad {
        RpcLoad(
            cache: peer.cache, keys: (0..<keys).map(Workload.key), eventLoops: [], value: ByteBuffer(repeating: 0x78, count: valueBytes),
            seconds: seconds)
    }
}

/// What caches the processes have.
enum RpcKind: String, ExpressibleByArgument {
    /// One of one copy; one strict one; the first and all of ``CopiesVariant``.
    case fast, strict, copies
}

extension BenchPeer.Settings {
    static func rpc(_ kind: RpcKind) -> BenchPeer.Settings {
        var settings = BenchPeer.Settings()
        if kind != .fast { settings.minimumPeers = 2 }
        if kind == .strict { settings.options = CacheOptions(copies: 3, readFrom: 2, ackedBy: 2) }
        return settings
    }
}

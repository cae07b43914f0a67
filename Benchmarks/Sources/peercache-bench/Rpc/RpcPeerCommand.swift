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
        var settings = BenchPeer.Settings.rpc(isStrict: strict)
        settings.memoryMegabytes = memory
        settings.seeds = seed
        settings.secret = ProcessInfo.processInfo.environment[BenchPeer.secretVariable]
        let peer = try BenchPeer(settings, on: MultiThreadedEventLoopGroup(numberOfThreads: loops))
        let running = Task { try await peer.peer.run() }
        while peer.peer.address == nil { try await Task.sleep(for: .milliseconds(5)) }
        print(peer.peer.address ?? "")
        fflush(nil)
        try await running.value
    }
}

extension BenchPeer.Settings {
    static func rpc(isStrict: Bool) -> BenchPeer.Settings {
        var settings = BenchPeer.Settings()
        guard isStrict else { return settings }
        settings.minimumPeers = 2
        settings.options = CacheOptions(copies: 3, readFrom: 2, ackedBy: 2)
        return settings
    }
}

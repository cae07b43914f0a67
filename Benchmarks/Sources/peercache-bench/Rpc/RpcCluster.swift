import ArgumentParser
import Foundation
import NIOCore
import NIOPosix
import PeerCache

/// Three processes on loopback: two children, and this one, which also calls.
final class RpcCluster {
    private let children: [ChildProcess]
    private let running: Task<Void, any Error>
    let own: BenchPeer
    private let peer: CachePeer
    let cache: Cache<String, ByteBuffer>
    /// The event loops of this process's peer.
    let eventLoops: [any EventLoop]
    /// Keys that other peers own, filled.
    private(set) var keys: [String] = []

    var processIdentifiers: [Int32] { children.map(\.processIdentifier) }

    init(loops: Int, isSecured: Bool = true, kind: RpcKind = .fast, memoryMegabytes: Int = 256) throws {
        var settings = BenchPeer.Settings.rpc(kind)
        settings.secret = isSecured ? BenchPeer.randomSecret() : nil
        settings.memoryMegabytes = memoryMegabytes
        children = try Self.children(2, loops: loops, kind, &settings)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
        own = try BenchPeer(settings, on: group)
        peer = own.peer
        cache = own.cache
        eventLoops = Array(group.makeIterator())
        running = Task { [peer] in try await peer.run() }
    }

    /// Processes that hold keys, each listening, with the settings that a further member needs.
    static func children(_ count: Int, loops: Int, _ kind: RpcKind, _ settings: inout BenchPeer.Settings) throws -> [ChildProcess] {
        let environment = settings.secret.map { [BenchPeer.secretVariable: $0] } ?? [:]
        let arguments =
            ["rpc-peer", "--loops", "\(loops)", "--memory", "\(settings.memoryMegabytes)", "--kind", kind.rawValue]
        var children: [ChildProcess] = []
        for _ in 0..<count {
            let child = try ChildProcess.another(arguments + settings.seeds.flatMap { ["--seed", $0] }, environment: environment)
            children.append(child)
            let address = try child.readLine()
            if settings.seeds.isEmpty { settings.seeds = [address] }
        }
        return children
    }

    /// Waits until the three are one cluster, then fills `count` keys that this process does not own.
    /// - Parameter byOneOwner: and all of which one process owns.
    func fill(keys count: Int, value: ByteBuffer, byOneOwner: Bool = false) async throws {
        try await waitUntil("the three processes become one cluster", seconds: 10) {
            peer.snapshot().memberCount == 3 && peer.readiness.isReady
        }
        try await Task.sleep(for: .milliseconds(1_000))  // the others place keys alike by then
        var number = 0, chosen: String?
        while keys.count < count {
            let key = Workload.key(number)
            number += 1
            try await cache.set(key, value)
            let place = try await cache.explain(key)
            if place.isOwnedHere { continue }
            chosen = chosen ?? place.owner
            if !byOneOwner || place.owner == chosen { keys.append(key) }
        }
    }

    /// Calls from this process.
    func load(value: ByteBuffer, seconds: Double) -> RpcLoad {
        RpcLoad(cache: cache, keys: keys, eventLoops: eventLoops, value: value, seconds: seconds)
    }

    func stop() async {
        running.cancel()
        _ = try? await running.value
        for child in children { child.stop() }
    }
}

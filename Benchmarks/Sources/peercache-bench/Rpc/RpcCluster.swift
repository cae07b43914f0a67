import ArgumentParser
import Foundation
import NIOCore
import NIOPosix
import PeerCache

/// Three processes on loopback: two children, and this one, which also calls.
final class RpcCluster {
    private let children: [ChildProcess]
    private let running: Task<Void, any Error>
    private let peer: CachePeer
    let cache: Cache<String, ByteBuffer>
    /// The event loops of this process's peer.
    let eventLoops: [any EventLoop]
    /// Keys that other peers own, filled.
    private(set) var keys: [String] = []

    var processIdentifiers: [Int32] { children.map(\.processIdentifier) }

    init(loops: Int, isSecured: Bool, isStrict: Bool = false) throws {
        let strict = isStrict ? ["--strict"] : []
        let secret = isSecured ? (0..<4).map { _ in String(UInt64.random(in: .min ... .max), radix: 16) }.joined(separator: "-") : nil
        let environment = secret.map { [BenchPeer.secretVariable: $0] } ?? [:]
        let first = try ChildProcess.another(["rpc-peer", "--loops", "\(loops)"] + strict, environment: environment)
        let seed = try first.readLine()
        let second = try ChildProcess.another(["rpc-peer", "--loops", "\(loops)", "--seed", seed] + strict, environment: environment)
        _ = try second.readLine()
        children = [first, second]

        var settings = BenchPeer.Settings.rpc(isStrict: isStrict)
        settings.seeds = [seed]
        settings.secret = secret
        let group = MultiThreadedEventLoopGroup(numberOfThreads: loops)
        let own = try BenchPeer(settings, on: group)
        peer = own.peer
        cache = own.cache
        eventLoops = Array(group.makeIterator())
        running = Task { [peer] in try await peer.run() }
    }

    /// Waits until the three are one cluster, then fills `count` keys that this process does not own.
    func fill(keys count: Int, value: ByteBuffer) async throws {
        for _ in 0..<1000 where peer.snapshot().memberCount < 3 || !peer.readiness.isReady {
            try await Task.sleep(for: .milliseconds(10))
        }
        guard peer.snapshot().memberCount == 3 else { throw ValidationError("the three processes did not become one cluster") }
        try await Task.sleep(for: .milliseconds(1_000))  // the others place keys alike by then
        var number = 0
        while keys.count < count {
            // As long as redis-benchmark's keys.
            let key = "key:" + String(repeating: "0", count: 12 - String(number).count) + String(number)
            number += 1
            try await cache.set(key, value)
            if try await !cache.explain(key).isOwnedHere { keys.append(key) }
        }
    }

    func stop() async {
        running.cancel()
        _ = try? await running.value
        for child in children { child.stop() }
    }
}

import ArgumentParser
import CAllocations
import NIOCore
import NIOPosix
import PeerCache

/// Counts allocations of the hot paths and fails when one takes more than it did: counts do not depend on how busy the machine is.
///
/// Two peers live in this process, each on one event loop of its own; keys are read that the one or the other owns.
@main
struct Guard: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peercache-guard", abstract: "Counts allocations per operation, and fails when there are more than allowed.")

    private struct Path {
        var name: String
        var allowed: Double
        var counted: Double
    }

    private static let rounds = 5, operations = 2_000

    func run() async throws {
        guard peercache_process_allocations() >= 0 else { return print("allocations cannot be counted here") }
        let groups = [MultiThreadedEventLoopGroup(numberOfThreads: 1), MultiThreadedEventLoopGroup(numberOfThreads: 1)]
        let server = try Self.peer(groups[0], seeds: [])
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await server.run() }
            let client = try Self.peer(groups[1], seeds: [try await Self.address(of: server)])
            tasks.addTask { try await client.run() }
            let paths = try await Self.measure(client: client, server: server, served: groups[0].next())
            tasks.cancelAll()
            while let result = await tasks.nextResult() {
                if case .failure(let error) = result, !(error is CancellationError) { throw error }
            }
            for path in paths {
                let verdict = path.counted > path.allowed ? "MORE THAN ALLOWED" : "ok"
                print("\(path.name): \(path.counted) allocations, allowed \(path.allowed): \(verdict)")
            }
            if paths.contains(where: { $0.counted > $0.allowed }) { throw ExitCode.failure }
        }
        for group in groups { try await group.shutdownGracefully() }
    }

    private static func peer(_ group: MultiThreadedEventLoopGroup, seeds: [String]) throws -> CachePeer {
        var configuration = CachePeerConfiguration(cluster: "guard")
        configuration.bind = .init(host: "127.0.0.1", port: 0)
        configuration.discovery = seeds.isEmpty ? .none : .peers(seeds)
        configuration.security = .insecure
        configuration.eventLoopGroup = group
        return try CachePeer(configuration: configuration)
    }

    private static func address(of peer: CachePeer) async throws -> String {
        for _ in 0..<1_000 {
            if let own = peer.snapshot().members.first { return own.address }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw ValidationError("the peer does not listen")
    }

    private static func measure(client: CachePeer, server: CachePeer, served loop: any EventLoop) async throws -> [Path] {
        let options = CacheOptions(copies: 1, nearFor: .zero)
        let (far, near) = (Self.cache(client, "far", options), Self.cache(client, "near", .init(copies: 1, nearFor: .seconds(60))))
        _ = (Self.cache(server, "far", options), Self.cache(server, "near", .init(copies: 1, nearFor: .seconds(60))))
        for _ in 0..<1_000 {
            if client.readiness.isReady, server.readiness.isReady, client.snapshot().memberCount == 2 { break }
            try await Task.sleep(for: .milliseconds(10))
        }
        let value = ByteBuffer(repeating: 7, count: 100)
        var own: [Int] = [], others: [Int] = []
        for key in 0..<400 {
            try await far.set(key, value)
            try await near.set(key, value)
            _ = try await near.get(key)
            if try await far.explain(key).isOwnedHere { own.append(key) } else { others.append(key) }
        }
        guard let mine = own.first, let other = others.first else { throw ValidationError("one peer owns all keys") }

        var paths: [Path] = []
        paths.append(Path(name: "near hit", allowed: 0, counted: try await least { for _ in 0..<operations { _ = near.peek(mine) } }))
        paths.append(
            Path(name: "own-store hit", allowed: 4.5, counted: try await least { for _ in 0..<operations { _ = try await far.get(mine) } }))
        var (served, total) = (Double.infinity, Double.infinity)
        for _ in 0..<rounds {
            let (before, beforeServed) = (peercache_process_allocations(), try await loop.submit { peercache_thread_allocations() }.get())
            for _ in 0..<operations { _ = try await far.get(other) }
            let (after, afterServed) = (peercache_process_allocations(), try await loop.submit { peercache_thread_allocations() }.get())
            served = min(served, Double(afterServed - beforeServed) / Double(operations))
            total = min(total, Double(after - before) / Double(operations))
        }
        paths.append(Path(name: "served get", allowed: 3.5, counted: served))
        paths.append(Path(name: "client get", allowed: 8.5, counted: total - served))
        return paths
    }

    private static func cache(_ peer: CachePeer, _ name: String, _ options: CacheOptions) -> Cache<Int, ByteBuffer> {
        peer.cache(name, key: Int.self, value: ByteBuffer.self, options: options)
    }

    /// The fewest allocations per operation of some rounds: other threads of the process allocate now and then.
    private static func least(_ body: () async throws -> Void) async throws -> Double {
        var least = Double.infinity
        for _ in 0..<rounds {
            let before = peercache_process_allocations()
            try await body()
            least = min(least, Double(peercache_process_allocations() - before) / Double(operations))
        }
        return least
    }
}

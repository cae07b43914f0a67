import Foundation
import NIOCore
import NIOPosix
import ShopAPI
import Synchronization

/// The shops of a run, and the tasks that belong to each: its process and its traffic.
final class Shops: Sendable {
    private let settings: ShopProcess.Settings
    private let traffic: Traffic
    private let state = Mutex(State())
    private let starts: AsyncStream<ShopProcess>
    private let startsContinuation: AsyncStream<ShopProcess>.Continuation

    private struct State {
        var living: [ShopProcess] = []
        /// Made, but not taken up by `run` yet.
        var waiting: [ShopProcess] = []
        var count = 0
        var isClosed = false
    }

    init(settings: ShopProcess.Settings, traffic: Traffic) {
        self.settings = settings
        self.traffic = traffic
        (starts, startsContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(16))
    }

    /// Runs the processes that `start` makes, and their traffic. Ends when cancelled, after the last process has ended.
    func run() async {
        await withDiscardingTaskGroup { group in
            for await shop in starts {
                state.withLock { $0.waiting.removeAll { $0 === shop } }
                group.addTask { await shop.run() }
                group.addTask { await self.traffic.drive(shop) }
            }
            group.cancelAll()
            let abandoned = state.withLock { state in
                state.isClosed = true
                return state.waiting
            }
            for shop in abandoned { shop.abandon() }
        }
    }

    /// The ones that should answer, in the order in which they were started.
    var all: [ShopProcess] { state.withLock { $0.living } }

    /// Starts `count` more shops, which know each other and the living ones. Does not wait for them.
    func start(_ count: Int) async throws -> [ShopProcess] {
        let ports = try await FreePorts.reserve(count)
        let peers = all.map(\.peer) + ports.map { "127.0.0.1:\($0)" }
        return try state.withLock { state in
            guard !state.isClosed else { throw CancellationError() }
            return ports.map { port in
                state.count += 1
                let shop = ShopProcess(name: "shop-\(state.count)", peerPort: port, peers: peers, settings: settings)
                state.living.append(shop)
                state.waiting.append(shop)
                startsContinuation.yield(shop)
                return shop
            }
        }
    }

    /// No longer counts it among the living.
    func remove(_ shop: ShopProcess) {
        state.withLock { $0.living.removeAll { $0 === shop } }
    }

    /// Waits until every living shop sees exactly as many members as there are living shops, and, if wanted, says it is ready.
    /// - Returns: The time it took.
    func untilOneCluster(ready: Bool = true, timeout: Duration = .seconds(20)) async throws -> Duration {
        let shops = all
        let start = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for shop in shops {
                group.addTask { try await Self.wait(for: shop, members: shops.count, ready: ready, timeout: timeout) }
            }
            try await group.waitForAll()
        }
        return ContinuousClock.now - start
    }

    struct NoCluster: Error, CustomStringConvertible {
        var name: String
        var wanted: Int
        var seen: String
        var timeout: Duration
        var description: String { "\(name) should see \(wanted) members, but sees \(seen) after \(timeout)" }
    }

    private static func wait(for shop: ShopProcess, members: Int, ready: Bool, timeout: Duration) async throws {
        let deadline = ContinuousClock.now + timeout
        let client = ShopClient(shop)
        var seen = "nothing"
        while ContinuousClock.now < deadline {
            do {
                let statistics = try await client.statistics()
                if statistics.memberCount == members {
                    if !ready { return }
                    if await client.isReady() { return }
                }
                seen = "\(statistics.members), ready: \(statistics.isReady)"
            } catch let error as ShopProcess.EndedEarly {
                throw error
            } catch {
                seen = "\(error)"
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        throw NoCluster(name: shop.name, wanted: members, seen: seen, timeout: timeout)
    }
}

/// Ports of loopback that were free a moment ago.
enum FreePorts {
    /// The kernel chooses; all are held at once, so that they differ.
    static func reserve(_ count: Int) async throws -> [Int] {
        var channels: [any Channel] = []
        var ports: [Int] = []
        for _ in 0..<count {
            let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .bind(host: "127.0.0.1", port: 0).get()
            channels.append(channel)
            ports.append(channel.localAddress?.port ?? 0)
        }
        for channel in channels { try await channel.close() }
        return ports
    }
}

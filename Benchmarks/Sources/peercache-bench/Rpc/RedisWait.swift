import ArgumentParser
import Dispatch
import Foundation
import NIOCore
import NIOPosix

/// A redis-server with one replica, and clients that `SET` and then `WAIT` until the replica has it: what comes nearest to a strict `set`.
/// redis-benchmark cannot wait, so the clients are ours: one connection each, both commands in one write, on one event loop.
final class RedisWait {
    private let server: ServerProcess
    private let replica: ServerProcess
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let keys: Int
    private let value: String

    init(keys: Int, valueBytes: Int) throws {
        self.keys = keys
        value = String(repeating: "x", count: valueBytes)
        server = try ServerProcess.redis("--repl-diskless-sync-delay 0")
        replica = try ServerProcess.redis("--replicaof 127.0.0.1 \(server.port)")
        for _ in 0..<200 {
            let info = ChildProcess.output(of: "redis-cli", ["-p", "\(replica.port)", "info", "replication"]) ?? ""
            if info.contains("master_link_status:up") { return }
            Thread.sleep(forTimeInterval: 0.05)
        }
        throw ValidationError("the replica did not connect to its redis-server")
    }

    func stop() {
        replica.stop()
        server.stop()
        try? group.syncShutdownGracefully()
    }

    func run(clients: Int, seconds: Double) async throws -> LoadResult {
        let start = DispatchTime.now().uptimeNanoseconds, end = start + UInt64(seconds * 1e9)
        let (keys, value, port, loops) = (keys, value, server.port, group)
        let recorded = try await withThrowingTaskGroup(of: [UInt64].self) { group in
            for client in 0..<clients {
                group.addTask {
                    let handler = SetAndWait(keys: keys, value: value, seed: client, end: end)
                    let bootstrap = ClientBootstrap(group: loops).channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler.take()) }
                    }
                    let channel = try await bootstrap.connect(host: "127.0.0.1", port: port).get()
                    try await channel.closeFuture.get()
                    return try handler.result()
                }
            }
            var all: [UInt64] = []
            for try await times in group { all += times }
            return all
        }
        let elapsed = Double(DispatchTime.now().uptimeNanoseconds - start) / 1e9
        var latencies = Latencies()
        for time in recorded { latencies.record(time) }
        return latencies.result(seconds: elapsed)
    }
}

/// One client. The handler lives on its event loop; its figures are read when the connection has ended.
private final class SetAndWait: Sendable {
    private let lines: NIOLockedBox
    private let keys: Int, value: String, seed: Int, end: UInt64

    init(keys: Int, value: String, seed: Int, end: UInt64) {
        (self.keys, self.value, self.seed, self.end) = (keys, value, seed, end)
        lines = NIOLockedBox()
    }

    func take() -> Handler { Handler(keys: keys, value: value, seed: seed, end: end, box: lines) }

    func result() throws -> [UInt64] {
        guard let times = lines.times else { throw ValidationError("redis refused a SET or a WAIT") }
        return times
    }

    final class NIOLockedBox: @unchecked Sendable {  // unchecked: written before the close, read after it
        var times: [UInt64]?
    }

    final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let value: String, end: UInt64, keys: Int, box: NIOLockedBox
        private var state: UInt64
        private var replies = 0, sentAt: UInt64 = 0, hasFailed = false
        private var times: [UInt64] = []

        init(keys: Int, value: String, seed: Int, end: UInt64, box: NIOLockedBox) {
            (self.keys, self.value, self.end, self.box) = (keys, value, end, box)
            state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        }

        func channelActive(context: ChannelHandlerContext) { next(context) }

        private func next(_ context: ChannelHandlerContext) {
            sentAt = DispatchTime.now().uptimeNanoseconds
            if sentAt >= end { return context.close(promise: nil) }
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let number = String(Int(state >> 33) % keys)
            let key = "key:" + String(repeating: "0", count: 12 - number.count) + number
            let text =
                "*3\r\n$3\r\nSET\r\n$\(key.utf8.count)\r\n\(key)\r\n$\(value.utf8.count)\r\n\(value)\r\n*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$4\r\n1000\r\n"
            context.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            for byte in unwrapInboundIn(data).readableBytesView {
                if byte == UInt8(ascii: "-") { hasFailed = true }
                if byte == UInt8(ascii: "\n") { replies += 1 }
            }
            guard replies >= 2 else { return }
            replies = 0
            times.append(DispatchTime.now().uptimeNanoseconds - sentAt)
            next(context)
        }

        func channelInactive(context: ChannelHandlerContext) { box.times = hasFailed ? nil : times }
    }
}

import NIOCore
import NIOPosix
import PeerCacheCore
import PeerCacheTesting

/// A port in front of a member: delays what passes, holds it back, and cuts and half-closes connections.
final class ChaosProxy: Sendable {
    private struct State {
        var random: SeededRandom
        var listener: (any Channel)?
        /// Both ends of each connection.
        var channels: [any Channel] = []
        var target = 0
        var delayMaxMilliseconds: Int64 = 30
        var heldUntil = NIODeadline.uptimeNanoseconds(0)
    }

    private let state: Lock<State>

    init(seed: UInt64) { state = Lock(State(random: SeededRandom(seed: seed))) }

    /// Listens at a port of the kernel's choice.
    func start() async throws {
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { [self] in join($0) }
            .bind(host: "127.0.0.1", port: 0).get()
        state.withLock { $0.listener = listener }
    }

    /// Where it listens; 0 before its start.
    var port: Int { state.withLock { $0.listener?.localAddress?.port ?? 0 } }

    /// Where new connections go from now on.
    func forward(to port: Int) { state.withLock { $0.target = port } }

    func end() {
        state.withLock { $0.listener }?.close(promise: nil)
        cut()
    }

    // MARK: Faults

    func cut() { for channel in state.withLock(\.channels) { channel.close(promise: nil) } }

    /// One end of one connection hears that the other says no more.
    func halfClose() { state.withLock { $0.channels.randomElement(using: &$0.random) }?.close(mode: .output, promise: nil) }

    /// What arrives from now on passes then.
    func hold(milliseconds: Int64) { state.withLock { $0.heldUntil = .now() + .milliseconds(milliseconds) } }

    /// No fault from now on.
    func calm() {
        state.withLock {
            $0.delayMaxMilliseconds = 0
            $0.heldUntil = .uptimeNanoseconds(0)
        }
    }

    // MARK: Traffic

    /// Goes on with a second connection, to the member. A failure closes the first.
    private func join(_ inbound: any Channel) -> EventLoopFuture<Void> {
        ClientBootstrap(group: inbound.eventLoop).channelOption(.allowRemoteHalfClosure, value: true)
            .connect(host: "127.0.0.1", port: state.withLock(\.target))
            .flatMapThrowing { [self] outbound in
                for (channel, other) in [(inbound, outbound), (outbound, inbound)] {
                    state.withLock { $0.channels.append(channel) }
                    channel.closeFuture.whenComplete { [self] _ in
                        state.withLock { $0.channels.removeAll { $0 === channel } }
                    }
                    try channel.pipeline.syncOperations.addHandler(Forwarder(self, to: other))
                }
            }
    }

    /// When something that has just arrived passes.
    fileprivate func due() -> NIODeadline {
        state.withLock {
            max($0.heldUntil, .now() + .microseconds(Int64.random(in: 0...$0.delayMaxMilliseconds * 1_000, using: &$0.random)))
        }
    }
}

/// One direction of a connection.
private final class Forwarder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let proxy: ChaosProxy
    private let other: any Channel
    /// When the last piece passes: the next must not overtake it.
    private var last = NIODeadline.uptimeNanoseconds(0)

    init(_ proxy: ChaosProxy, to other: any Channel) { (self.proxy, self.other) = (proxy, other) }

    private func pass(_ context: ChannelHandlerContext, _ action: @escaping @Sendable (any Channel) -> Void) {
        last = max(last + .nanoseconds(1), proxy.due())
        context.eventLoop.scheduleTask(deadline: last) { [other] in action(other) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        pass(context) { $0.writeAndFlush(bytes, promise: nil) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { pass(context) { $0.close(mode: .output, promise: nil) } }
    }

    func channelInactive(context: ChannelHandlerContext) { pass(context) { $0.close(promise: nil) } }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

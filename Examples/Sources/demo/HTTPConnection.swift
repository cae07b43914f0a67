import NIOCore
import NIOHTTP1
import NIOPosix

/// What a request was answered with.
struct HTTPAnswer: Sendable {
    var status: Int
    var body: ByteBuffer
    /// False when the server closes the connection after this answer.
    var keepsAlive: Bool
}

enum HTTPFailure: Error, CustomStringConvertible {
    case closed
    case timedOut
    case busy

    var description: String {
        switch self {
        case .closed: "the connection was closed before the answer was complete"
        case .timedOut: "no answer in time"
        case .busy: "a second request on a connection that still waits for an answer"
        }
    }
}

/// One keep-alive connection to a port on loopback; one request at a time.
///
/// Not a general client: it must only be lean, so that the shops have the machine, and say exactly what failed.
struct HTTPConnection: Sendable {
    private let channel: any Channel

    static func open(port: Int) async throws -> HTTPConnection {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(.seconds(2))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(HTTPExchangeHandler())
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return HTTPConnection(channel: channel)
    }

    /// Whether the connection is still open; it may close at any time.
    var isOpen: Bool { channel.isActive }

    func send(
        _ method: HTTPMethod, _ path: String, body: ByteBuffer? = nil, timeout: TimeAmount = .seconds(5)
    ) async throws -> HTTPAnswer {
        let answer = channel.eventLoop.makePromise(of: HTTPAnswer.self)
        let exchange = HTTPExchange(method: method, path: path, body: body, timeout: timeout, answer: answer)
        // A write that fails before it reaches the handler, on a closed channel, must fail the answer too.
        channel.writeAndFlush(exchange).whenFailure { answer.fail($0) }
        return try await answer.futureResult.get()
    }

    func close() {
        channel.close(promise: nil)
    }
}

/// A request on its way to the handler.
private struct HTTPExchange: Sendable {
    var method: HTTPMethod
    var path: String
    var body: ByteBuffer?
    var timeout: TimeAmount
    var answer: EventLoopPromise<HTTPAnswer>
}

/// Writes the request's parts, collects the answer's, keeps the deadline.
private final class HTTPExchangeHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = HTTPExchange
    typealias OutboundOut = HTTPClientRequestPart

    private struct Pending {
        var answer: EventLoopPromise<HTTPAnswer>
        var timeout: Scheduled<Void>
        var collected = HTTPAnswer(status: 0, body: ByteBuffer(), keepsAlive: true)
    }
    private var pending: Pending?

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let exchange = unwrapOutboundIn(data)
        guard pending == nil else { promise?.fail(HTTPFailure.busy); return }
        let channel = context.channel
        let timeout = context.eventLoop.assumeIsolated().scheduleTask(in: exchange.timeout) { [weak self] in
            self?.fail(HTTPFailure.timedOut)
            channel.close(promise: nil)  // the late answer must not be taken for the next request's
        }
        pending = Pending(answer: exchange.answer, timeout: timeout)

        var head = HTTPRequestHead(version: .http1_1, method: exchange.method, uri: exchange.path)
        head.headers.add(name: "host", value: "127.0.0.1")
        if let body = exchange.body {
            head.headers.add(name: "content-type", value: "application/json")
            head.headers.add(name: "content-length", value: "\(body.readableBytes)")
        }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if let body = exchange.body { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
        context.write(wrapOutboundOut(.end(nil)), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            pending?.collected.status = Int(head.status.code)
            pending?.collected.keepsAlive = head.isKeepAlive
        case .body(var part):
            pending?.collected.body.writeBuffer(&part)
        case .end:
            guard let done = pending else { return }
            pending = nil
            done.timeout.cancel()
            done.answer.succeed(done.collected)
            if !done.collected.keepsAlive { context.close(promise: nil) }
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(HTTPFailure.closed)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(error)
        context.close(promise: nil)
    }

    private func fail(_ error: any Error) {
        guard let failed = pending else { return }
        pending = nil
        failed.timeout.cancel()
        failed.answer.fail(error)
    }
}

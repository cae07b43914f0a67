import Foundation
import NIOCore
import NIOPosix
import PeerCacheCore
import PeerCacheTransport
import Synchronization
import WireSamples

/// One connection of an attacker: shakes hands as a peer would, says hello, sends what it is given, and tells how it ended.
final class Conversation: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Outcome: Sendable, Hashable {
        /// The peer closed the connection.
        case closed
        /// The last request was answered.
        case answered(ResponseStatus)
        /// Neither, for `patience`.
        case hung
        /// The handshake was not answered as expected.
        case refused
    }

    /// A bound, far above what a healthy peer needs.
    static let patience = TimeAmount.seconds(30)

    private var handshake: DialerHandshake
    private let script: [UInt8]
    private let endsConnection: Bool
    private let lastID: UInt64
    private let outcome: EventLoopPromise<Outcome>
    private var received = ByteBuffer()
    private var splitter = FrameSplitter()
    private let decoder = WireDecoder()
    private var isShaken = false

    private init(_ handshake: DialerHandshake, script: [UInt8], endsConnection: Bool, lastID: UInt64, _ outcome: EventLoopPromise<Outcome>)
    {
        self.handshake = handshake
        self.script = script
        self.endsConnection = endsConnection
        self.lastID = lastID
        self.outcome = outcome
    }

    /// Runs a whole conversation.
    /// - Parameters:
    ///   - script: hello frame first.
    ///   - endsConnection: no answer is expected: after the script our direction is closed.
    static func run(
        with port: Int, as configuration: HandshakeConfiguration, script: [UInt8], endsConnection: Bool,
        lastID: UInt64 = HostileFrames.lastID
    ) async throws -> Outcome {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let outcome = loop.makePromise(of: Outcome.self)
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: loop)
                .channelOption(.allowRemoteHalfClosure, value: false)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let handler = Conversation(
                            DialerHandshake(configuration, expecting: nil), script: script, endsConnection: endsConnection, lastID: lastID,
                            outcome)
                        try channel.pipeline.syncOperations.addHandler(handler)
                    }
                }
                .connect(host: "127.0.0.1", port: port).get()
        } catch {
            outcome.succeed(.refused)
            throw error
        }
        let timeout = loop.scheduleTask(in: patience) { outcome.succeed(.hung) }
        let result = try await outcome.futureResult.get()
        timeout.cancel()
        channel.close(promise: nil)
        return result
    }

    func channelActive(context: ChannelHandlerContext) { write(handshake.hello, context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if !isShaken {
            received.writeBuffer(&bytes)
            guard let answer = received.readBytes(length: HandshakeSize.answer) else { return }
            do throws(HandshakeError) {
                let (finish, _) = try handshake.handle(answer: answer)
                isShaken = true
                let isWritten = context.eventLoop.makePromise(of: Void.self)
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: finish + script)), promise: isWritten)
                if endsConnection {
                    isWritten.futureResult.whenComplete { [channel = context.channel] _ in channel.close(mode: .output, promise: nil) }
                }
            } catch {
                outcome.succeed(.refused)
                return context.close(promise: nil)
            }
            bytes = received
        }
        splitter.push(bytes)
        while let frame = (try? splitter.next()) ?? nil { look(at: frame) }
    }

    private func look(at frame: ByteBuffer) {
        frame.withUnsafeReadableBytes { bytes in
            try? decoder.decode(bytes) { message in
                if case .response(let response) = message, response.id == lastID { outcome.succeed(.answered(response.status)) }
            }
        }
    }

    func channelInactive(context: ChannelHandlerContext) { outcome.succeed(.closed) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        outcome.succeed(.closed)
        context.close(promise: nil)
    }

    private func write(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
    }
}

/// Resident memory of this process in bytes, or nil where the system does not tell.
func residentBytes() -> Int? {
    #if os(Linux)
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return nil }
    let fields = text.split(separator: " ")
    return fields.count > 1 ? Int(fields[1]).map { $0 * sysconf(Int32(_SC_PAGESIZE)) } : nil
    #else
    return nil
    #endif
}

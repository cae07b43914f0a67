internal import NIOCore
internal import PeerCacheCore

/// One channel: handshake, hello, then frames. Nothing behind the handshake is looked at before it has succeeded (`SECURITY.md` SEC5).
final class PeerChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        case dialing(DialerHandshake)
        case listening(ListenerHandshake, hasAnswered: Bool)
        case hello(HandshakeResult)
        case open(PeerConnection)
        case ended
    }

    static let handshakeTimeout = TimeAmount.seconds(5)

    let id: ConnectionID
    let owner: any PeerChannelOwner
    var phase: Phase
    var handshakeBytes = ByteBuffer()
    private var splitter = FrameSplitter()
    /// Made after the handshake: it holds 64 KiB, which strangers must not make us hold.
    private lazy var decoder = WireDecoder()
    var assembly: ValueAssembly
    var evidence: Evidence?
    var timeout: Scheduled<Void>?
    private var activeNanoseconds: Int64 = 0
    private let deadline: NIODeadline
    /// The other side closes this connection because there is another one.
    private var isDuplicate = false
    var sweeper: RepeatedTask?
    /// Our last word is said: what comes is not looked at.
    var isClosing = false
    private var nextSkewReport = NIODeadline.uptimeNanoseconds(0)
    /// Far below the time between two warnings about one address.
    private static let skewReportEvery = TimeAmount.seconds(60)

    /// - Parameter deadline: of the handshake; it never takes longer than `handshakeTimeout`.
    init(id: ConnectionID, owner: any PeerChannelOwner, phase: Phase, deadline: NIODeadline = .distantFuture) {
        self.id = id
        self.deadline = deadline
        self.owner = owner
        self.phase = phase
        assembly = ValueAssembly(limits: owner.limits)
    }

    // MARK: Channel events

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        activeNanoseconds = ClusterClock.monotonicNanoseconds
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        timeout = context.eventLoop.scheduleTask(deadline: min(deadline, .now() + Self.handshakeTimeout)) {
            // The kernel of a paused process accepts: that is silence, not a refusal.
            if handler.value.evidence == nil { handler.value.evidence = .timedOut }
            channel.close(promise: nil)
        }
        if case .dialing(let handshake) = phase { write(handshake.hello, context) }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isClosing { return }
        var bytes = unwrapInboundIn(data)
        switch phase {
        case .dialing, .listening: shakeHands(&bytes, context)
        case .hello, .open: break
        case .ended: return
        }
        switch phase {
        case .open(let connection):
            connection.heard()
            readFrames(bytes, context)
        case .hello: readFrames(bytes, context)
        default: break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if case .open(let connection) = phase { connection.flush() }
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if case .open(let connection) = phase { connection.writabilityChanged() }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if evidence == nil { evidence = Evidence(error) }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        timeout?.cancel()
        sweeper?.cancel()
        let before = phase
        phase = .ended
        switch before {
        case .open(let connection):
            connection.closed()
            owner.requestHandler.closed(connection)
            let ending: Evidence = connection.hasGivenUp ? .timedOut : .closedByPeer(isDuplicate ? .duplicate : nil)
            owner.ended(id, connection, evidence ?? ending)
        case .dialing, .listening, .hello:
            // Accepted, and cut or reset before the handshake ended.
            owner.ended(id, nil, evidence == .resetByPeer ? .refused : evidence ?? .refused)
        case .ended: break
        }
        context.fireChannelInactive()
    }

    // MARK: Frames

    private func readFrames(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        splitter.push(bytes)
        do throws(WireError) {
            while let frame = try splitter.next() {
                try read(frame, context)
                if isClosing { return }
                if case .ended = phase { return }
                // A goodbye, whose sender closes as well; nothing behind it is wanted.
                if evidence != nil { return context.close(promise: nil) }
            }
        } catch {
            owner.refusedFrame(error, from: connection)
            fail(connection == nil ? .timedOut : .closedByPeer(.protocolError), saying: .protocolError, context)
        }
    }

    private func read(_ frame: ByteBuffer, _ context: ChannelHandlerContext) throws(WireError) {
        let result: Result<Void, WireError> = frame.withUnsafeReadableBytes { bytes in
            var isClockAccepted = true
            if let reading = WireDecoder.clock(of: bytes) { isClockAccepted = accepts(reading) }
            if !isClockAccepted, let connection { reportSkew(of: connection) }
            var failure: WireError?
            do throws(WireError) {
                try decoder.decode(bytes) { message in
                    guard failure == nil else { return }
                    do throws(WireError) { try handle(message, isClockAccepted: isClockAccepted, context) } catch { failure = error }
                }
            } catch { return .failure(error) }
            return failure.map { .failure($0) } ?? .success(())
        }
        try result.get()
    }

    private func accepts(_ reading: UInt64) -> Bool {
        // Of those too far apart only the one behind sees it in a frame, and it may take the other's welcome for a while. A hello is not older
        // than its connection, unless its sender is behind.
        if case .hello = phase {
            let age = max(0, ClusterClock.monotonicNanoseconds - activeNanoseconds) / 1_000_000
            if owner.clock.isAhead(of: reading, by: ClusterClock.offsetMillisecondsMax + UInt64(age)) { return false }
        }
        return owner.clock.merge(reading)
    }

    /// A clock that went wrong after the handshake: the connection stays, as nothing of it is believed (`CONTRACT.md` A2).
    private func reportSkew(of connection: PeerConnection) {
        let now = NIODeadline.now()
        guard now >= nextSkewReport else { return }
        nextSkewReport = now + Self.skewReportEvery
        owner.clockSkewed(connection.record.address)
    }

    var connection: PeerConnection? {
        if case .open(let connection) = phase { connection } else { nil }
    }

    private func handle(_ message: WireMessage, isClockAccepted: Bool, _ context: ChannelHandlerContext) throws(WireError) {
        if case .hello(let result) = phase {
            guard case .hello(let hello) = message, hello.record.id == result.peer else { throw .misplacedHello }
            return welcome(hello, as: result.role, isClockAccepted: isClockAccepted, context)
        }
        guard let connection, !isClosing else { return }
        if connection.role == .observer { try checkObserver(message) }
        switch message {
        case .hello: throw .misplacedHello
        case .request(let request): receive(request, connection)
        case .unknownRequest(let id): if id != 0 { connection.respond(WireResponse(id: id, status: .unsupported)) }
        case .response(let response): receive(response, connection)
        case .chunk(let id, let isResponse, let bytes): try receiveChunk(id, isResponse: isResponse, bytes, connection)
        case .taken(let chunks): connection.chunksTaken(chunks)
        case .cancel(let id):
            assembly.cancel(id: id)
            connection.drop(largeResponse: id)
            owner.requestHandler.cancelled(requestID: id, on: connection)
        case .invalidation(let invalidation): owner.requestHandler.invalidated(invalidation, by: connection.peer)
        case .gossip(let gossip): owner.received(gossip, on: connection)
        case .goodbye(let goodbye):
            if goodbye != .duplicate { evidence = .closedByPeer(goodbye) }
            if goodbye == .duplicate {
                isDuplicate = true
                owner.ending(connection)
            }
            connection.heardGoodbye(goodbye)
        }
    }

    /// `SECURITY.md` SEC8.
    private func checkObserver(_ message: WireMessage) throws(WireError) {
        switch message {
        case .request(let request):
            switch request.kind {
            // What is read and stored in strict caches is what a `get` or `set` of the observer comes to.
            case .get, .getMany, .set, .remove, .inspect, .readClock, .clearCache, .read, .store, .removeOlder: break
            case .apply, .claim, .pull, .compare, .seal: throw .forbidden
            }
        case .gossip(let gossip): if !GossipMachine.isObserversQuestion(gossip) { throw .forbidden }
        case .invalidation: throw .forbidden
        case .hello, .unknownRequest, .response, .chunk, .taken, .cancel, .goodbye: break
        }
    }

    // MARK: Requests and answers

    private func receive(_ request: WireRequest, _ connection: PeerConnection) {
        guard request.chunkedBytes > 0 else {
            guard request.value.count <= owner.limits.valueBytesMax || !request.kind.bringsValue else {
                return reject(request.id, .valueTooLarge, connection)
            }
            return owner.requestHandler.handle(request, on: connection)
        }
        guard request.chunkedBytes <= UInt64(owner.limits.valueBytesMax) else { return reject(request.id, .valueTooLarge, connection) }
        let begun = assembly.begin(
            id: request.id, header: .request(StoredRequest(request)), bytes: request.chunkedBytes,
            nowNanoseconds: ClusterClock.monotonicNanoseconds)
        if !begun { reject(request.id, .overloaded, connection) }
    }

    private func receive(_ wire: WireResponse, _ connection: PeerConnection) {
        guard wire.chunkedBytes > 0 else { return connection.complete(wire.id, .success(PeerResponse(wire))) }
        // Nobody waits, or not any more: it must not take the room of those for whom somebody does.
        guard connection.awaits(wire.id) else { return }
        let begun = assembly.begin(
            id: wire.id, header: .response(PeerResponse(wire).withoutContent()), bytes: wire.chunkedBytes,
            nowNanoseconds: ClusterClock.monotonicNanoseconds)
        if !begun { connection.complete(wire.id, .failure(.overloaded)) }
    }

    private func receiveChunk(
        _ id: UInt64, isResponse: Bool, _ bytes: UnsafeRawBufferPointer, _ connection: PeerConnection
    ) throws(WireError) {
        connection.tookChunk()
        guard let complete = try assembly.add(bytes, id: id, isResponse: isResponse) else { return }
        switch complete.header {
        case .request(let stored): stored.withRequest(value: complete.value) { owner.requestHandler.handle($0, on: connection) }
        case .response(var response):
            response.value = complete.value
            connection.complete(complete.id, .success(response))
        }
    }

    private func reject(_ id: UInt64, _ status: ResponseStatus, _ connection: PeerConnection) {
        if id != 0 { connection.respond(WireResponse(id: id, status: status)) }
    }
}

internal import NIOCore
internal import PeerCacheCore

/// From the first byte to the established connection.
extension PeerChannelHandler {
    func shakeHands(_ bytes: inout ByteBuffer, _ context: ChannelHandlerContext) {
        handshakeBytes.writeBuffer(&bytes)
        while true {
            switch phase {
            case .dialing(var handshake):
                if handshakeBytes.readableBytesView.starts(with: "HTTP/".utf8) { return fail(.foreign(.http), context) }
                guard let answer = handshakeBytes.readBytes(length: HandshakeSize.answer) else { return }
                do throws(HandshakeError) {
                    let (finish, result) = try handshake.handle(answer: answer)
                    if owner.hasMetItself(id, result.peer) { return fail(.foreign(.isSelf), context) }
                    succeeded(result, sending: finish, context)
                } catch {
                    return fail(.foreign(ForeignReason(error)), context)
                }
            case .listening(var handshake, hasAnswered: false):
                guard let hello = handshakeBytes.readBytes(length: HandshakeSize.hello) else { return }
                if let refusal = handshake.refusal(of: hello) { return refuse(refusal, context) }
                guard !handshake.needsAgreement || owner.mayAgree() else { return fail(.timedOut, context) }
                switch handshake.handle(hello: hello) {
                case .answer(let answer):
                    owner.answering(hello)
                    // The phase first: a write that fails ends the channel before it returns, and `.ended` must stay.
                    phase = .listening(handshake, hasAnswered: true)
                    write(answer, context)
                case let step: return refuse(step, context)
                }
            case .listening(var handshake, hasAnswered: true):
                guard let finish = handshakeBytes.readBytes(length: HandshakeSize.finish) else { return }
                do throws(HandshakeError) { succeeded(try handshake.handle(finish: finish), sending: [], context) } catch {
                    return fail(.foreign(ForeignReason(error)), context)
                }
            case .hello, .open, .ended:
                // What came behind the handshake belongs to the frames.
                bytes = handshakeBytes
                handshakeBytes = ByteBuffer()
                return
            }
        }
    }

    /// Sends the rest of the handshake and the hello frame. The phase first, as above.
    private func succeeded(_ result: HandshakeResult, sending finish: [UInt8], _ context: ChannelHandlerContext) {
        phase = .hello(result)
        var frames = OutboundFrames()
        frames.append(owner.localHello)
        var bytes = context.channel.allocator.buffer(bytes: finish)
        bytes.writeImmutableBuffer(frames.take(hlc: owner.clock.reading()))
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }

    private func refuse(_ step: ListenerStep, _ context: ChannelHandlerContext) {
        if case .refuse(let answer, _) = step { write(answer, context) }
        fail(.foreign(.secret), context)
    }

    func write(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(context.channel.allocator.buffer(bytes: bytes)), promise: nil)
    }

    private func fail(_ evidence: Evidence, _ context: ChannelHandlerContext) {
        if self.evidence == nil { self.evidence = evidence }
        context.close(promise: nil)
    }

    /// Says why before it closes. Only what has proved who it is gets that answer.
    func fail(_ evidence: Evidence, saying goodbye: Goodbye, _ context: ChannelHandlerContext) {
        if self.evidence == nil { self.evidence = evidence }
        isClosing = true
        if let connection {
            owner.ending(connection)
            return connection.close(goodbye)
        }
        var frames = OutboundFrames()
        frames.append(goodbye)
        context.channel.close(after: frames.take(hlc: owner.clock.reading()), within: owner.limits.goodbyeMax)
    }

    func welcome(_ hello: WireHello, as role: PeerRole, isClockAccepted: Bool, _ context: ChannelHandlerContext) {
        guard hello.settings == owner.localHello.settings else { return fail(.foreign(.settings), context) }
        guard isClockAccepted else {
            // Of what we dialled the evidence tells.
            if GossipMachine.isInbound(id) { owner.clockSkewed(hello.record.address) }
            return fail(.foreign(.clock), saying: .clockSkew, context)
        }
        guard role == .peer || owner.admitObserver() else { return fail(.foreign(.settings), saying: .idle, context) }
        timeout?.cancel()
        let connection = PeerConnection(
            id: id, record: hello.record, role: role, channel: context.channel, clock: owner.clock, limits: owner.limits)
        phase = .open(connection)
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        sweeper = context.eventLoop.scheduleRepeatedTask(initialDelay: .milliseconds(100), delay: .milliseconds(100)) { _ in
            let now = ClusterClock.monotonicNanoseconds
            connection.sweep(nowNanoseconds: now)
            handler.value.assembly.expire(nowNanoseconds: now)
        }
        owner.established(connection)
        connection.heard()
    }
}

internal import PeerCacheCore

/// TCP: packets of streams.
extension SimulatedNetwork {
    private static let acknowledgeDelay: Int64 = 40_000_000

    // MARK: What processes do

    func dial(_ stream: SimulatedStream, target host: Int) {
        stream.ends[1].host = host
        transmit(.syn, stream, to: 1)
        push(.synAgain(stream, wait: 1_000_000_000), at: time + 1_000_000_000)
    }

    /// Hands bytes to the kernel of this end.
    func send(_ payload: StreamPayload, bytes: Int, on stream: SimulatedStream, from end: Int) {
        let here = stream.ends[end].host, there = stream.ends[1 - end].host
        if stream.ends[end].sender.isIdle, quality.isLossless, !isCut(from: here, to: there), !isCut(from: there, to: here) {
            let count = Int64(max(1, (bytes + StreamSender.segmentBytes - 1) / StreamSender.segmentBytes))
            wireBytes += Int64(bytes + Self.recordBytes) + count * Int64(Self.headerBytes)
            settleOwed(stream, end, isSending: true)
            countPacket()
            return push(.direct(payload, stream, to: 1 - end), at: arrival(stream, 1 - end))
        }
        stream.ends[end].sender.enqueue(payload, bytes: bytes + Self.recordBytes)
        pump(stream, end)
    }

    /// A process died or its host restarted: this end answers with resets from now on, and says so once.
    func abort(_ stream: SimulatedStream, end: Int) {
        guard stream.ends[end].stage != .closed else { return }
        stream.ends[end].stage = .closed
        if stream.ends[1 - end].host >= 0 { transmit(.reset, stream, to: 1 - end) }
    }

    // MARK: Packets

    private func arrival(_ stream: SimulatedStream, _ end: Int) -> Int64 {
        let at = max(time + quality.delay(&random), stream.ends[end].lastArrival)
        stream.ends[end].lastArrival = at
        return at
    }

    private func transmit(_ packet: Packet, _ stream: SimulatedStream, to end: Int) {
        let from = stream.ends[1 - end].host, to = stream.ends[end].host
        countPacket()
        wireBytes += Int64(Self.headerBytes)
        if case .data(_, _, let bytes) = packet { wireBytes += Int64(bytes) }
        stream.ends[1 - end].receiver.acknowledgeAt = nil
        if to < 0 || loses(from: from, to: to) { return }
        let receiver = stream.ends[1 - end].receiver
        push(.packet(packet, stream, to: end, below: receiver.expected, held: receiver.held), at: arrival(stream, end))
    }

    /// Sends what the window allows and keeps the timer.
    private func pump(_ stream: SimulatedStream, _ end: Int) {
        while let (number, segment) = stream.ends[end].sender.nextToSend(time) {
            transmit(.data(number: number, segment.payload, bytes: segment.bytes), stream, to: 1 - end)
        }
        stream.ends[end].sender.arm(time)
        guard let due = stream.ends[end].sender.timer else { return stream.ends[end].timerSetFor = nil }
        if stream.ends[end].timerSetFor != due.at {
            stream.ends[end].timerSetFor = due.at
            push(.senderTimer(stream, end: end, at: due.at), at: due.at)
        }
    }

    /// Pure acknowledgements of loss-free links: they cost bytes when no data goes back within 40 ms.
    private func settleOwed(_ stream: SimulatedStream, _ end: Int, isSending: Bool) {
        if let owed = stream.ends[end].owedAt, time - owed > Self.acknowledgeDelay {
            wireBytes += Int64(Self.headerBytes)
            stream.ends[end].owedAt = nil
        }
        if isSending { stream.ends[end].owedAt = nil } else if stream.ends[end].owedAt == nil { stream.ends[end].owedAt = time }
    }

    // MARK: What comes

    func happen(_ occurrence: Occurrence) {
        switch occurrence {
        case .timer(let timer): report(.timer(timer))
        case .message(let frame, let stream, let end):
            if !hosts[stream.ends[end].host].isLost { report(.message(frame, stream, end: end)) }
        case .direct(let payload, let stream, let end):
            guard !hosts[stream.ends[end].host].isLost else { return }
            guard isOpen(stream, end) else { return refuseData(stream, end) }
            settleOwed(stream, end, isSending: false)
            report(.delivered(payload, stream, end: end))
        case .packet(let packet, let stream, let end, let below, let held):
            guard !hosts[stream.ends[end].host].isLost else { return }
            arrived(packet, stream, end, below: below, held: held)
        case .senderTimer(let stream, let end, let at):
            guard stream.ends[end].timerSetFor == at else { return }
            stream.ends[end].timerSetFor = nil
            senderTimedOut(stream, end)
        case .acknowledge(let stream, let end, let at):
            if stream.ends[end].receiver.acknowledgeAt == at { transmit(.pure, stream, to: 1 - end) }
        case .synAgain(let stream, let wait):
            guard stream.ends[0].stage == .dialling else { return }
            transmit(.syn, stream, to: 1)
            push(.synAgain(stream, wait: 2 * wait), at: time + 2 * wait)
        }
    }

    /// No socket: a reset. But a proxy that took the connection for a dead process hangs.
    private func refuseData(_ stream: SimulatedStream, _ end: Int) {
        if stream.ends[end].stage != .none { transmit(.reset, stream, to: 1 - end) }
    }

    /// Whether a socket is there that takes data.
    private func isOpen(_ stream: SimulatedStream, _ end: Int) -> Bool {
        let stage = stream.ends[end].stage
        return stage == .connected || stage == .established || stage == .dialling
    }

    private func senderTimedOut(_ stream: SimulatedStream, _ end: Int) {
        if let since = stream.ends[end].sender.stuckSince, time - since >= streamTimeout {
            let wasOpen = isOpen(stream, end)
            stream.ends[end].sender = StreamSender()
            stream.ends[end].stage = .closed
            if wasOpen { report(.expired(stream, end: end)) }
            return
        }
        if let (number, segment) = stream.ends[end].sender.timedOut(time) {
            transmit(.data(number: number, segment.payload, bytes: segment.bytes), stream, to: 1 - end)
        }
        pump(stream, end)
    }

    private func arrived(_ packet: Packet, _ stream: SimulatedStream, _ end: Int, below: Int, held: [Int]) {
        switch packet {
        case .syn: return knocked(stream)
        case .synAck:
            switch stream.ends[0].stage {
            case .dialling:
                stream.ends[0].stage = .connected
                report(.connected(stream))
            case .closed: transmit(.reset, stream, to: 1)
            default: break
            }
            return
        case .reset:
            let stage = stream.ends[end].stage
            stream.ends[end].sender = StreamSender()
            stream.ends[end].timerSetFor = nil
            guard isOpen(stream, end) else { return }
            stream.ends[end].stage = .closed
            return report(end == 0 && stage != .established ? .refused(stream) : .reset(stream, end: end))
        case .data, .pure: break
        }
        stream.ends[end].sender.acknowledged(below: below, held: held, time)
        if case .data(let number, let payload, _) = packet {
            guard isOpen(stream, end) else { return refuseData(stream, end) }
            let (ready, isUrgent) = stream.ends[end].receiver.receive(number, payload)
            for payload in ready { report(.delivered(payload, stream, end: end)) }
            if isUrgent {
                transmit(.pure, stream, to: 1 - end)
            } else if stream.ends[end].receiver.acknowledgeAt == nil {
                let at = time + Self.acknowledgeDelay
                stream.ends[end].receiver.acknowledgeAt = at
                push(.acknowledge(stream, end: end, at: at), at: at)
            }
        }
        pump(stream, end)
    }

    /// A dial reaches a kernel.
    private func knocked(_ stream: SimulatedStream) {
        let here = stream.ends[1].host, from = stream.ends[0].host
        switch stream.ends[1].stage {
        case .none:
            let host = hosts[here]
            if host.refusesInbound || host.refusedHosts.contains(from) { return transmit(.reset, stream, to: 0) }
            guard host.process >= 0 else {
                return host.acceptsForDead ? transmit(.synAck, stream, to: 0) : transmit(.reset, stream, to: 0)
            }
            stream.ends[1].stage = .connected
            stream.ends[1].process = host.process
            transmit(.synAck, stream, to: 0)
        case .connected: transmit(.synAck, stream, to: 0)
        default: break
        }
    }
}

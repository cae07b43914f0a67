internal import PeerCacheCore

/// What the shell does around a machine: connections, codec, clock, timer.
extension SimulatedCluster {
    // MARK: To the machine

    func input(_ input: GossipMachine.Input, to peer: SimulatedPeer) {
        let now = Instant(nanoseconds: time, hlc: peer.clock.reading(wallMilliseconds: wallMilliseconds(peer.seat)))
        counts.inputs += 1
        noteSpin(of: peer)
        var wanted: [GossipMachine.Effect] = []
        swap(&wanted, &effects)
        peer.machine.handle(input, now: now, into: &wanted)
        for effect in wanted { perform(effect, by: peer) }
        wanted.removeAll(keepingCapacity: true)
        swap(&wanted, &effects)
        peer.deadline = peer.machine.nextDeadline?.nanoseconds
        setTimer(of: peer)
        checkTable(of: peer)
    }

    private func noteSpin(of peer: SimulatedPeer) {
        if peer.lastInputAt != time { (peer.lastInputAt, peer.inputsNow) = (time, 0) }
        peer.inputsNow += 1
        if peer.inputsNow == 100_000 { violate("peer \(peer.number) took 100,000 inputs at one time") }
    }

    private func setTimer(of peer: SimulatedPeer) {
        guard var deadline = peer.deadline else { return }
        // A machine that wants its tick in the past again and again would stop the time.
        if deadline <= time, peer.inputsNow > 1_000 { deadline = time + 1_000_000 }
        if let wakesAt = peer.wakesAt, wakesAt <= deadline { return }
        peer.wakesAt = max(deadline, time)
        network.schedule(.wake(process: peer.number, at: max(deadline, time)), at: deadline)
    }

    private func wake(_ peer: SimulatedPeer, at: Int64) {
        guard peer.isUp, peer.wakesAt == at else { return }
        peer.wakesAt = nil
        if peer.isPaused { return }
        if let deadline = peer.deadline, deadline <= time { input(.tick, to: peer) } else { setTimer(of: peer) }
    }

    // MARK: From the network

    func take(_ happening: SimulatedNetwork.Happening) {
        switch happening {
        case .connected(let stream): gate(.connected(stream), peers[stream.ends[0].process])
        case .refused(let stream): endDial(stream, .refused)
        case .delivered(let payload, let stream, let end):
            gate(.delivered(payload, stream, end: end), peers[stream.ends[end].process])
        case .message(let frame, let stream, let end): gate(.message(frame, stream, end: end), peers[stream.ends[end].process])
        case .reset(let stream, let end): endConnection(stream, end, .resetByPeer)
        case .expired(let stream, let end):
            if stream.ends[0].stage != .established, end == 0, peers[stream.ends[0].process].dials[stream.ends[0].connection] != nil {
                endDial(stream, .timedOut)
            } else {
                endConnection(stream, end, .timedOut)
            }
        case .timer(let timer): take(timer)
        }
    }

    private func take(_ timer: SimulatedNetwork.Timer) {
        switch timer {
        case .wake(let process, let at): wake(peers[process], at: at)
        case .dialLimit(let stream):
            guard peers[stream.ends[0].process].dials[stream.ends[0].connection] === stream else { return }
            network.abort(stream, end: 0)
            endDial(stream, .timedOut)
        case .refusedHere(let stream):
            stream.ends[0].stage = .closed
            endDial(stream, .refused)
        case .resume(let process, let generation):
            if peers[process].pauseGeneration == generation { resume(peers[process]) }
        case .slow(let process):
            let peer = peers[process]
            if peer.isUp, !peer.isPaused, !peer.held.isEmpty { handle(peer.held.removeFirst(), at: peer) }
        case .discovered(let process): gate(.discovered, peers[process])
        case .action(let number): act(number)
        }
    }

    private func endDial(_ stream: SimulatedStream, _ evidence: GossipMachine.Evidence) {
        let peer = peers[stream.ends[0].process]
        guard peer.dials.removeValue(forKey: stream.ends[0].connection) != nil else { return }
        gate(.evidence(stream.ends[0].connection, evidence), peer)
    }

    private func endConnection(_ stream: SimulatedStream, _ end: Int, _ evidence: GossipMachine.Evidence) {
        let process = stream.ends[end].process
        guard process >= 0 else { return }
        let peer = peers[process], connection = stream.ends[end].connection
        peer.handshakes[stream.number] = nil
        guard peer.connections[connection]?.stream === stream else { return }
        gate(.evidence(connection, evidence), peer)
    }

    // MARK: The process takes its time

    func gate(_ held: SimulatedPeer.Held, _ peer: SimulatedPeer) {
        guard peer.isUp else { return }
        if peer.isPaused { return peer.held.append(held) }
        guard peer.slowness > 0 || !peer.held.isEmpty else { return handle(held, at: peer) }
        peer.held.append(held)
        peer.busyUntil = max(time, peer.busyUntil) + random.duration(0...max(1, peer.slowness))
        network.schedule(.slow(process: peer.number), at: peer.busyUntil)
    }

    /// Old timers and what the kernel kept come together; which is first, chance decides.
    func resume(_ peer: SimulatedPeer) {
        guard peer.isUp, peer.isPaused else { return }
        peer.isPaused = false
        let ticksFirst = random.next() & 1 == 0
        if ticksFirst, let deadline = peer.deadline, deadline <= time { input(.tick, to: peer) }
        let held = peer.held
        peer.held.removeAll()
        for item in held { handle(item, at: peer) }
        peer.wakesAt = nil
        setTimer(of: peer)
    }

    private func handle(_ held: SimulatedPeer.Held, at peer: SimulatedPeer) {
        switch held {
        case .connected(let stream):
            guard stream.ends[0].stage == .connected else { return }
            network.send(.hello, bytes: 128, on: stream, from: 0)
        case .delivered(let payload, let stream, let end): delivered(payload, stream, end, at: peer)
        case .message(let frame, let stream, let end):
            if stream.ends[end].stage == .established { take(frame, stream, end, at: peer) }
        case .evidence(let connection, let evidence):
            if let (stream, end) = peer.connections[connection] {
                peer.forget(connection, of: peers[stream.ends[1 - end].process].id)
                stream.ends[end].stage = .closed
            }
            mix(.evidence, evidence.code, connection, peer)
            input(.connection(connection, evidence), to: peer)
        case .discovered:
            let answer = discover(for: peer)
            input(.discovered(answer ?? [], failed: answer == nil), to: peer)
        case .command(let command): input(.command(command), to: peer)
        }
    }

    private func delivered(_ payload: StreamPayload, _ stream: SimulatedStream, _ end: Int, at peer: SimulatedPeer) {
        guard stream.ends[end].stage != .closed else { return }
        switch payload {
        case .hello:
            let dialer = peers[stream.ends[0].process]
            let answer = answer(to: dialer, by: peer)
            peer.handshakes[stream.number] = stream
            network.send(.answer(answer), bytes: 200, on: stream, from: 1)
            if case .foreign = answer {
                stream.ends[1].stage = .closed
                peer.handshakes[stream.number] = nil
            }
        case .answer(let answer):
            let connection = stream.ends[0].connection
            guard peer.dials.removeValue(forKey: connection) != nil else { return }
            switch answer {
            case .foreign(let reason):
                stream.ends[0].stage = .closed
                mix(.evidence, UInt64(reason.rawValue) + 16, connection, peer)
                input(.connection(connection, .foreign(reason)), to: peer)
            case .accepted(let record):
                network.send(.finish(peer.machine.me), bytes: 200, on: stream, from: 0)
                establish(stream, 0, record, at: peer)
            }
        case .finish(let record):
            peer.handshakes[stream.number] = nil
            peer.accepted += 1
            stream.ends[1].connection = GossipMachine.inbound(peer.accepted)
            establish(stream, 1, record, at: peer)
        case .frame(let frame): take(frame, stream, end, at: peer)
        case .end(let goodbye):
            let connection = stream.ends[end].connection
            stream.ends[end].stage = .closed
            peer.handshakes[stream.number] = nil
            if end == 0, peer.dials.removeValue(forKey: connection) != nil {
                input(.connection(connection, .refused), to: peer)
            } else if peer.connections[connection]?.stream === stream {
                peer.forget(connection, of: peers[stream.ends[1 - end].process].id)
                mix(.evidence, goodbye.map { UInt64($0.rawValue) + 32 } ?? 48, connection, peer)
                input(.connection(connection, .closedByPeer(goodbye)), to: peer)
            }
        }
    }

    private func answer(to dialer: SimulatedPeer, by peer: SimulatedPeer) -> HandshakeAnswer {
        if dialer.isStranger != peer.isStranger { return .foreign(.cluster) }
        if dialer === peer { return .foreign(.isSelf) }
        let theirs = dialer.clock.reading(wallMilliseconds: wallMilliseconds(dialer.seat)) >> 16
        let mine = peer.clock.reading(wallMilliseconds: wallMilliseconds(peer.seat)) >> 16
        if max(theirs, mine) - min(theirs, mine) > 10_000 { return .foreign(.clock) }
        return .accepted(peer.machine.me)
    }

    private func establish(_ stream: SimulatedStream, _ end: Int, _ record: MemberRecord, at peer: SimulatedPeer) {
        let connection = stream.ends[end].connection
        stream.ends[end].stage = .established
        peer.connections[connection] = (stream, end)
        peer.byPeer[record.id, default: []].append(connection)
        mix(.evidence, 0, connection, peer)
        onEstablished?(peer.number, stream.ends[1 - end].process, end == 1)
        input(.connection(connection, .established(record)), to: peer)
    }

    private func take(_ frame: [UInt8], _ stream: SimulatedStream, _ end: Int, at peer: SimulatedPeer) {
        let sender = peers[stream.ends[1 - end].process].id, connection = stream.ends[end].connection
        let messages = frame.withUnsafeBytes { decoded(UnsafeRawBufferPointer(rebasing: $0.dropFirst(4)), for: peer) }
        if messages.isEmpty { violate("a frame of peer \(stream.ends[1 - end].process) was refused") }
        for message in messages where peer.isUp { input(.message(message, from: sender, on: connection), to: peer) }
    }

    /// Merges the frame's clock first, as the shell does. Empty: the codec refused the frame.
    private func decoded(_ frame: UnsafeRawBufferPointer, for peer: SimulatedPeer) -> [GossipMessage] {
        if let clock = WireDecoder.clock(of: frame) {
            _ = peer.clock.merge(clock, wallMilliseconds: wallMilliseconds(peer.seat), offsetMillisecondsMax: 10_000)
        }
        var messages: [GossipMessage] = []
        do {
            try decoder.decode(frame) { if case .gossip(let message) = $0 { messages.append(message) } }
        } catch { messages.removeAll() }
        return messages
    }
}

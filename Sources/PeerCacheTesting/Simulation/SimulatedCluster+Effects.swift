internal import PeerCacheCore

/// What a machine wants done.
extension SimulatedCluster {
    func perform(_ effect: GossipMachine.Effect, by peer: SimulatedPeer) {
        switch effect {
        case .dial(let id, let address, _, let limit): dial(id, address, limit.nanosecondsSaturating, by: peer)
        case .send(let message, let to, let connection): send(message, to, connection, by: peer)
        case .close(let id, let goodbye):
            mix(.close, UInt64(goodbye.rawValue), id, peer)
            close(id, goodbye, by: peer)
        case .resolve: network.schedule(.discovered(process: peer.number), at: time + 500_000)
        case .event(let event): note(event, by: peer)
        case .trace(let trace): onTrace?(peer.number, trace)
        }
    }

    private func dial(_ id: ConnectionID, _ address: PeerAddress, _ limit: Int64, by peer: SimulatedPeer) {
        mix(.dial, publicHash(address.host), id, peer)
        let stream = network.makeStream(from: peer.seat, to: address)
        stream.ends[0].process = peer.number
        stream.ends[0].connection = id
        if peer.dials.updateValue(stream, forKey: id) != nil { violate("peer \(peer.number) used connection \(id) twice") }
        counts.dials += 1
        counts.dialsMax = max(counts.dialsMax, peer.dials.count)
        network.schedule(.dialLimit(stream), at: time + limit)
        if network.hosts[peer.seat].refusesOutbound { return network.schedule(.refusedHere(stream), at: time + 200_000) }
        // Without a host at the address nobody answers.
        if let seat = seats[address] { network.dial(stream, target: seat) }
    }

    private func send(_ message: GossipMessage, _ to: PeerID, _ connection: ConnectionID?, by peer: SimulatedPeer) {
        let frame = encoded(message, by: peer), bytes = frame.count - 4
        counts.messages += 1
        counts.messageBytes += Int64(bytes + SimulatedNetwork.messageOverhead)
        counts.largestMessage = max(counts.largestMessage, bytes)
        mix(.send, frame.withUnsafeBytes { publicHash($0) }, connection ?? 0, peer)
        let chosen = connection.flatMap { peer.connections[$0] } ?? peer.byPeer[to]?.last.flatMap { peer.connections[$0] }
        guard let (stream, end) = chosen else { return counts.unsent += 1 }
        if scenario.carriage == .messages, message.isSmall {
            network.sendMessage(frame, stream, to: 1 - end)
        } else {
            network.send(.frame(frame), bytes: bytes, on: stream, from: end)
        }
    }

    private func encoded(_ message: GossipMessage, by peer: SimulatedPeer) -> [UInt8] {
        var frame = [UInt8](repeating: 0, count: WireEncoder.headerBytes)
        WireEncoder.gossip(message) { count, write in
            let start = frame.count
            frame.append(contentsOf: repeatElement(0, count: count))
            frame.withUnsafeMutableBytes { bytes in
                if let base = bytes.baseAddress { write(base + start) }
            }
        }
        let hlc = peer.clock.reading(wallMilliseconds: wallMilliseconds(peer.seat)), count = frame.count
        frame.withUnsafeMutableBytes { bytes in
            if let base = bytes.baseAddress { WireEncoder.writeHeader(into: base, frameBytes: count, hlc: hlc) }
        }
        return frame
    }

    private func close(_ id: ConnectionID, _ goodbye: Goodbye, by peer: SimulatedPeer) {
        if let stream = peer.dials.removeValue(forKey: id) { return network.abort(stream, end: 0) }
        guard let (stream, end) = peer.connections[id] else { return }
        peer.forget(id, of: peers[stream.ends[1 - end].process].id)
        network.send(.end(goodbye), bytes: 8, on: stream, from: end)
        stream.ends[end].stage = .closed
    }

    // MARK: Discovery

    /// Nil: it failed.
    func discover(for peer: SimulatedPeer) -> [PeerAddress]? {
        let right = { self.network.hosts.indices.filter { self.network.hosts[$0].process >= 0 }.map(Self.address) }
        switch discovery[peer.seat] {
        case .right: return right()
        case .stale: return staleAnswers[peer.seat]
        case .empty: return []
        case .partial(let count): return Array(right().prefix(count))
        case .failing: return nil
        }
    }

    // MARK: Trace

    enum Traced: UInt64 { case evidence = 1, dial, send, close, table }

    func mix(_ kind: Traced, _ value: UInt64, _ connection: ConnectionID, _ peer: SimulatedPeer) {
        var hash = trace
        for word in [kind.rawValue, value, connection, UInt64(peer.number), UInt64(time)] {
            hash = (hash ^ word) &* 0x9E37_79B9_7F4A_7C15
            hash ^= hash >> 29
        }
        trace = hash
    }
}

extension GossipMessage {
    /// Whether it goes alone where links carry messages; tables go on streams.
    var isSmall: Bool { !isTable }
}

extension GossipMachine.Evidence {
    /// For the trace.
    var code: UInt64 {
        switch self {
        case .established: 0
        case .refused: 1
        case .foreign(let reason): UInt64(reason.rawValue) + 16
        case .resetByPeer: 2
        case .closedByPeer(let goodbye): goodbye.map { UInt64($0.rawValue) + 32 } ?? 48
        case .timedOut: 3
        }
    }
}

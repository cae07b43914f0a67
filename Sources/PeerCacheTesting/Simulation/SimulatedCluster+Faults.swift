internal import PeerCacheCore

/// What goes wrong.
extension SimulatedCluster {
    /// Time after a disturbance in which verdicts about the seat are excused: they may have been on their way.
    static let excusedAfter: Int64 = 30_000_000_000

    /// Does it now; what has a duration is undone by itself. False: there was nobody to do it to.
    @discardableResult package func apply(_ fault: Fault) -> Bool {
        let isDone = perform(fault)
        if isDone { counts.faultsDone += 1 } else { counts.faultsIdle += 1 }
        return isDone
    }

    private func perform(_ fault: Fault) -> Bool {
        switch fault {
        case .crash(let seat): return crash(seat: seat)
        case .loseHost(let seat): return loseHost(seat: seat)
        case .pause(let seat, let duration): return pause(seat, duration)
        case .slow(let seat, let slowness, let duration): return slow(seat, slowness, duration)
        case .clockOffset(let seat, let milliseconds):
            guard seat < network.hosts.count else { return false }
            network.hosts[seat].clockOffset = milliseconds
            if abs(milliseconds) > 5_000 { disturb(seat, for: .max / 4) }
            return true
        case .start(let seat): return start(seat: seat) != nil
        case .startStranger(let seat): return start(seat: seat, isStranger: true) != nil
        case .restart(let seat, let pause):
            guard crash(seat: seat) else { return false }
            after(pause) { $0.start(seat: seat) }
            return true
        case .clone(let seat, let other):
            // Alone, the two would meet but each other, which looks like meeting oneself at a second address.
            guard let number = process(on: seat), present.count > 1 else { return false }
            // Whoever meets the other one draws a new identity; the old one is dead.
            for seat in [seat, other] { disturb(seat, for: Self.excusedAfter) }
            return start(seat: other, cloneOf: number) != nil
        case .leave(let seat): return leave(seat: seat)
        case .update(let seat):
            guard let number = process(on: seat) else { return false }
            let metadata = (0..<512).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            gate(.command(.update(metadata: metadata, weight: nil)), peers[number])
            return true
        case .cutOneWay(let from, let to, let duration):
            guard from != to, max(from, to) < network.hosts.count else { return false }
            network.cuts.insert(SimulatedNetwork.pair(from, to))
            if isSmall { for seat in [from, to] { disturb(seat, for: duration) } }
            return undo(after: duration) { $0.network.cuts.remove(SimulatedNetwork.pair(from, to)) }
        case .partition(let groups, let duration): return partition(groups, duration)
        case .lossPerMillion(let loss, let duration):
            network.quality.lossPerMillion = loss
            for seat in disturbedUntil.indices { disturb(seat, for: duration) }
            return undo(after: duration) { $0.network.quality.lossPerMillion = $0.scenario.quality.lossPerMillion }
        default: return performAtProxy(fault)
        }
    }

    private func performAtProxy(_ fault: Fault) -> Bool {
        switch fault {
        // Of two, each is the only observer: its own broken path looks like the other's end.
        case .refuseInbound(_, let duration) where scenario.peers == 2, .refuseOutbound(_, let duration) where scenario.peers == 2,
            .refuseBoth(_, let duration) where scenario.peers == 2:
            for seat in disturbedUntil.indices { disturb(seat, for: duration) }
        case .refuseInbound(let seat, let duration), .refuseBoth(let seat, let duration): disturb(seat, for: duration)
        case .refuseFrom(let seat, _, let duration): if isSmall { disturb(seat, for: duration) }
        default: break
        }
        switch fault {
        case .reset(let seat): return reset(seat)
        case .refuseInbound(let seat, let duration):
            return refuse(seat, duration, { $0.refusesInbound = true }, { $0.refusesInbound = false })
        case .refuseOutbound(let seat, let duration):
            return refuse(seat, duration, { $0.refusesOutbound = true }, { $0.refusesOutbound = false })
        case .refuseBoth(let seat, let duration):
            return refuse(
                seat, duration, { ($0.refusesInbound, $0.refusesOutbound) = (true, true) },
                { ($0.refusesInbound, $0.refusesOutbound) = (false, false) })
        case .refuseFrom(let seat, let dialers, let duration):
            return refuse(seat, duration, { $0.refusedHosts = dialers }, { $0.refusedHosts = [] })
        case .acceptForDead(let seat, let duration):
            return refuse(seat, duration, { $0.acceptsForDead = true }, { $0.acceptsForDead = false })
        case .discovery(let seat, let state, let duration): return setDiscovery(seat, state, duration)
        default: return false
        }
    }

    private func undo(after duration: Int64, _ change: @escaping (SimulatedCluster) -> Void) -> Bool {
        after(duration, change)
        return true
    }

    /// So few peers that one who is cut off from a member is a large part of those who could speak for it.
    private var isSmall: Bool { scenario.peers < 5 }

    /// What happens now or soon to a seat is its own fault.
    func disturb(_ seat: Int, for duration: Int64) {
        guard seat < disturbedUntil.count else { return }
        disturbedUntil[seat] = max(disturbedUntil[seat], time + duration + Self.excusedAfter)
    }

    // MARK: Processes

    /// kill -9: sockets are closed by the kernel, which keeps trying to say so, and data for them is reset.
    @discardableResult package func crash(seat: Int) -> Bool {
        guard let number = process(on: seat) else { return false }
        end(peers[number], isSilent: false)
        return true
    }

    /// The host and all on it is gone.
    @discardableResult package func loseHost(seat: Int) -> Bool {
        guard let number = process(on: seat) else { return false }
        end(peers[number], isSilent: true)
        network.hosts[seat].isLost = true
        return true
    }

    func end(_ peer: SimulatedPeer, isSilent: Bool) {
        peer.isUp = false
        peer.held.removeAll()
        network.hosts[peer.seat].process = -1
        let open = peer.openConnections.compactMap { peer.connections[$0] }
        let dials = peer.dials.keys.sorted().compactMap { peer.dials[$0] }.map { (stream: $0, end: 0) }
        let handshakes = peer.handshakes.keys.sorted().compactMap { peer.handshakes[$0] }.map { (stream: $0, end: 1) }
        for (stream, end) in open + dials + handshakes {
            if isSilent {
                stream.ends[end].sender = StreamSender()
                stream.ends[end].timerSetFor = nil
            } else if stream.ends[end].stage != .dialling {
                network.send(.end(nil), bytes: 0, on: stream, from: end)
            }
            stream.ends[end].stage = .closed
        }
        peer.connections.removeAll()
        peer.dials.removeAll()
        peer.handshakes.removeAll()
        peer.byPeer.removeAll()
    }

    private func pause(_ seat: Int, _ duration: Int64) -> Bool {
        guard let number = process(on: seat), !peers[number].isPaused else { return false }
        let peer = peers[number]
        peer.isPaused = true
        peer.pauseGeneration += 1
        disturb(seat, for: duration)
        network.schedule(.resume(process: number, generation: peer.pauseGeneration), at: time + duration)
        return true
    }

    private func slow(_ seat: Int, _ slowness: Int64, _ duration: Int64) -> Bool {
        guard let number = process(on: seat) else { return false }
        peers[number].slowness = slowness
        disturb(seat, for: duration)
        return undo(after: duration) { $0.peers[number].slowness = 0 }
    }

    /// Announces, hands over for half a second, stops, and the process ends a second later.
    private func leave(seat: Int) -> Bool {
        guard let number = process(on: seat), !peers[number].hasLeft else { return false }
        peers[number].hasLeft = true
        peers[number].leftAt = time
        gate(.command(.leave), peers[number])
        after(500_000_000) { $0.gate(.command(.stopped), $0.peers[number]) }
        return undo(after: 1_500_000_000) { if $0.peers[number].isUp { $0.end($0.peers[number], isSilent: false) } }
    }

    // MARK: Paths

    private func partition(_ groups: [[Int]], _ duration: Int64) -> Bool {
        var sides = [Int](repeating: 0, count: network.hosts.count)
        for (side, group) in groups.enumerated() { for seat in group where seat < sides.count { sides[seat] = side + 1 } }
        network.sides = sides
        for seat in sides.indices { disturb(seat, for: duration) }
        return undo(after: duration) { if $0.network.sides == sides { $0.network.sides = [] } }
    }

    /// All connections of the seat break at both ends.
    private func reset(_ seat: Int) -> Bool {
        guard let number = process(on: seat) else { return false }
        let peer = peers[number]
        disturb(seat, for: 0)
        for connection in peer.openConnections {
            guard let (stream, end) = peer.connections[connection] else { continue }
            network.abort(stream, end: end)
            gate(.evidence(connection, .resetByPeer), peer)
        }
        return true
    }

    private func refuse(
        _ seat: Int, _ duration: Int64, _ change: (inout SimulatedNetwork.Host) -> Void,
        _ restore: @escaping (inout SimulatedNetwork.Host) -> Void
    ) -> Bool {
        guard seat < network.hosts.count else { return false }
        change(&network.hosts[seat])
        return undo(after: duration) { restore(&$0.network.hosts[seat]) }
    }

    private func setDiscovery(_ seat: Int?, _ state: DiscoveryState, _ duration: Int64) -> Bool {
        let chosen = seat.map { [$0] } ?? Array(discovery.indices)
        for seat in chosen where seat < discovery.count {
            let answer = network.hosts.indices.filter { network.hosts[$0].process >= 0 }.map(Self.address)
            // Nobody was there: addresses of a time before.
            staleAnswers[seat] = answer.isEmpty ? (0..<3).map { Self.address(60_000 + $0) } : answer
            discovery[seat] = state
        }
        return undo(after: duration) { cluster in
            for seat in chosen where seat < cluster.discovery.count { cluster.discovery[seat] = .right }
        }
    }

    // MARK: Healing

    /// Makes whole what is broken. What crashed stays away.
    package func heal() {
        network.cuts = []
        network.sides = []
        network.quality.lossPerMillion = 0
        network.quality.burstsPerMillion = 0
        for seat in network.hosts.indices {
            network.hosts[seat].refusesInbound = false
            network.hosts[seat].refusesOutbound = false
            network.hosts[seat].refusedHosts = []
            network.hosts[seat].acceptsForDead = false
            network.hosts[seat].clockOffset = 0
            discovery[seat] = .right
        }
        for peer in peers where peer.isUp {
            peer.slowness = 0
            resume(peer)
        }
    }
}

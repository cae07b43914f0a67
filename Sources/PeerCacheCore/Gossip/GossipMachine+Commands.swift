extension GossipMachine {
    mutating func perform(_ command: Command) {
        switch command {
        case .join:
            guard stage == .idle else { return }
            stage = .joined
            (joinedAt, resolveAt) = (now, now)
            if configuration.retriesTheDead { retryAt = now + random.around(configuration.retryEvery) }
        case .leave:
            guard stage == .idle || stage == .joined else { return }
            stage = .leaving
            resolveAt = nil
            retryAt = nil
            raiseIncarnation(above: me.incarnation)
            tellAll(me.id)
        case .update(let metadata, let weight): update(metadata: metadata, weight: weight)
        case .sync(let peer): exchange(with: peer)
        case .connect(let peer): dialSoon(peer)
        case .stopped: stop()
        }
    }

    private mutating func update(metadata: [UInt8]?, weight: UInt16?) {
        var changed = me
        changed.metadata = metadata ?? me.metadata
        changed.weight = weight ?? me.weight
        guard changed != me else { return }
        // The last incarnation is kept for nobody: a peer that changed its record four billion times needs a new id.
        guard changed.incarnation < .max else { return effects.append(.trace(.recordRefused(me.id, .identity))) }
        if let problem = changed.problem { return effects.append(.trace(.recordRefused(me.id, problem))) }
        changed.hlc = max(now.hlc, me.hlc &+ 1)
        me = changed
        raiseIncarnation(above: me.incarnation, withRecord: true)
    }

    private mutating func stop() {
        setOwnStatus(.left, withRecord: false)
        settleTable()
        tellAll(me.id)
        for connection in connections.keys { effects.append(.close(connection, .leaving)) }
        stage = .stopped
        links = SortedMap()
        connections = SortedMap()
        dials = SortedMap()
        places = SortedMap()
        cases = SortedMap()
        queue = BroadcastQueue()
        timers = TimerQueue()
        (probe, syncs) = (nil, [])
    }

    /// A stopped machine answers nothing; a dial or an accept that was still on its way ends here.
    mutating func refuseAfterStop(_ input: Input) {
        if case .connection(let id, .established) = input { effects.append(.close(id, .leaving)) }
    }
}

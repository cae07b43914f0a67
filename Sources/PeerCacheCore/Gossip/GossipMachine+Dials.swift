extension GossipMachine {
    /// A dial that may start: whom, and from when on.
    struct NextDial {
        enum Kind { case member(PeerID), place(PeerAddress) }
        var kind: Kind
        var at: Instant
    }
    /// How much longer than its limit a dial may stay unreported.
    private static let reportGrace = Duration.seconds(5)

    /// The most urgent dial that the limits allow now, or nil. Members go before candidates; candidates in the order of (time, rank).
    func nextDial() -> NextDial? {
        guard stage == .joined || stage == .leaving, dials.count < configuration.dialsMax else { return nil }
        var next: NextDial?
        for (peer, link) in zip(links.keys, links.values) {
            guard let at = link.dialAt, !link.isDialling, link.open.isEmpty || link.isDoubted, next.map({ at < $0.at }) ?? true,
                let member = members[peer], member.status.isPresent, canDial(member.record.address)
            else { continue }
            next = NextDial(kind: .member(peer), at: at)
        }
        guard stage == .joined, candidateDials < configuration.candidateDialsMax else { return next }
        if let next, next.at <= now { return next }
        var rank: UInt64 = 0
        for (address, place) in zip(places.keys, places.values) where !place.isKnown && !place.isDialling {
            if let next, next.at < place.dialAt || next.at == place.dialAt && rank <= place.rank { continue }
            guard canDial(address) else { continue }
            next = NextDial(kind: .place(address), at: place.dialAt)
            rank = place.rank
        }
        return next
    }

    private var candidateDials: Int {
        dials.values.reduce(0) { count, dial in
            if case .candidate = dial.target { count + 1 } else { count }
        }
    }

    /// One dial per address at a time; never one at which we met ourselves. The address that we advertise is no such proof: it may be wrong.
    func canDial(_ address: PeerAddress) -> Bool {
        !dials.values.contains { $0.address == address } && !ownAddresses.contains(address)
    }

    mutating func startDials() {
        while let next = nextDial(), next.at <= now {
            switch next.kind {
            case .member(let peer):
                guard let address = members[peer]?.record.address else { return }
                links[peer]?.isDialling = true
                dial(address, .member(peer), expecting: peer)
            case .place(let address):
                places[address]?.isDialling = true
                dial(address, .candidate, expecting: nil)
            }
        }
    }

    mutating func dial(_ address: PeerAddress, _ target: Dial.Target, expecting peer: PeerID?) {
        lastDial += 1
        dials[lastDial] = Dial(address: address, target: target, expiresAt: now + configuration.dialLimit + Self.reportGrace)
        effects.append(.dial(lastDial, address, expecting: peer, limit: configuration.dialLimit))
    }

    mutating func expireDials() {
        let overdue = zip(dials.keys, dials.values).filter { $0.1.expiresAt <= now }
        for (id, dial) in overdue {
            dials[id] = nil
            failed(dial, .timedOut)
        }
    }

    /// A dial ended with a handshake.
    mutating func settleDial(_ dial: Dial, answeredBy peer: PeerID) {
        if case .member(let expected) = dial.target { links[expected]?.isDialling = false }
        guard var place = places[dial.address] else { return }
        place.isDialling = false
        place.answered = peer
        place.backoff = configuration.backoffMin
        place.dialAt = now
        places[dial.address] = place
        placesChanged = true
    }

    /// Keeps the address of a dial from being tried again at once.
    mutating func postpone(_ dial: Dial?, atLeast pause: Duration) {
        guard let dial, var place = places[dial.address] else { return }
        place.isDialling = false
        place.dialAt = now + max(pause, place.backoff) + random.duration(upTo: place.backoff / 4)
        place.backoff = min(configuration.backoffMax, place.backoff * 2)
        places[dial.address] = place
    }

    /// A dial ended without a handshake.
    mutating func failed(_ dial: Dial, _ evidence: Evidence) {
        postpone(dial, atLeast: .zero)
        var isRejection = false, rest: Duration?
        switch evidence {
        case .refused: isRejection = true
        case .foreign(.isSelf):
            if case .member(let peer) = dial.target { links[peer]?.isDialling = false }
            return meetMyself(at: dial.address)
        case .foreign(let reason):
            meetForeigner(at: dial.address, reason)
            isRejection = reason == .cluster || reason == .secret  // the others speak of the process, not of its absence
            rest = isRejection ? nil : configuration.foreignRest
        default: break
        }
        guard case .member(let peer) = dial.target, var link = links[peer] else { return }
        link.isDialling = false
        link.hasFailed = true
        link.dialAt = now + (rest ?? link.backoff + random.duration(upTo: link.backoff / 4))
        link.backoff = min(configuration.backoffMax, link.backoff * 2)
        links[peer] = link
        if isRejection { rejected(peer) }
    }
}

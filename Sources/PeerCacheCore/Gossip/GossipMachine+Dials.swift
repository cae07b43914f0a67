extension GossipMachine {
    /// How much longer than its limit a dial may stay unreported.
    private static let reportGrace = Duration.seconds(5)
    /// Fresh dials in flight to one member.
    private static let freshDialsInFlightMax = 7
    /// A member is either reached or dead within a few tries.
    private static let memberBackoffMax = Duration.seconds(1)

    // MARK: Members

    /// Wants a connection to the member by then. An earlier wish stays.
    mutating func dial(_ peer: PeerID, in wait: Duration) {
        let rest = members[peer].flatMap { clockRest(of: $0.record.address) }
        let at = max(now + wait, rest ?? now)
        let isSet = links.change(peer) { link in
            if let earlier = link.dialAt, earlier <= at { return false }
            link.dialAt = at
            return true
        }
        if isSet == true { timers.add(.dial(peer), at: at.nanoseconds) }
    }

    /// At once, unless a dial is on its way or waits for its time.
    mutating func dialSoon(_ peer: PeerID) {
        if links.change(peer, { $0.dials == 0 && $0.dialAt == nil }) == true { dial(peer, in: .zero) }
    }

    mutating func dialIsDue(_ peer: PeerID) {
        guard let link = links[peer], let due = link.dialAt, due <= now else { return }
        links.change(peer) { $0.dialAt = nil }
        guard let address = addressToDial(peer) else { return }
        guard dials.count < configuration.dialsMax else {
            if !dialQueue.contains(peer) { dialQueue.append(peer) }
            return
        }
        startDial(to: address, .member(peer), expecting: peer, limit: configuration.dialLimit)
    }

    /// Nil: the member needs no dial, or must not have one now.
    private func addressToDial(_ peer: PeerID) -> PeerAddress? {
        guard stage == .joined || stage == .leaving, let link = links[peer], link.open.isEmpty, link.dials == 0,
            let member = members[peer], member.status.isPresent, canDial(member.record.address)
        else { return nil }
        return member.record.address
    }

    /// A connection that takes over from those that are stuck, and whose handshake is an answer.
    mutating func dialFresh(_ peer: PeerID) {
        guard configuration.freshDialsMax > 0, let member = members[peer], let link = links[peer], canDial(member.record.address),
            link.dials < Self.freshDialsInFlightMax, dials.count < configuration.dialsMax
        else { return }
        startDial(to: member.record.address, .fresh(peer), expecting: peer, limit: configuration.dialLimit)
    }

    /// Not one at which we met ourselves just now, nor one whose clock is wrong. The address that we advertise is no such proof: it may be
    /// wrong.
    func canDial(_ address: PeerAddress) -> Bool { (ownAddresses[address].map { $0 <= now } ?? true) && clockRest(of: address) == nil }

    mutating func startDial(to address: PeerAddress, _ target: Dial.Target, expecting peer: PeerID?, limit: Duration) {
        lastDial += 1
        dials[lastDial] = Dial(address: address, target: target, startedAt: now)
        if let member = target.member { links.change(member) { $0.dials += 1 } }
        after(limit + Self.reportGrace, .dialOverdue(lastDial))
        effects.append(.dial(lastDial, address, expecting: peer, limit: limit))
    }

    // MARK: Their ends

    /// Whatever it came to: its place is free.
    mutating func endDial(_ id: ConnectionID, _ dial: Dial) {
        dials[id] = nil
        if let member = dial.target.member { links.change(member) { $0.dials = max(0, $0.dials - 1) } }
        places.change(dial.address) { ($0.isDialling, $0.isTried) = (false, true) }
        while dials.count < configuration.dialsMax, !dialQueue.isEmpty {
            let next = dialQueue.removeFirst()
            // Whoever was reached or left meanwhile would waste the place.
            if addressToDial(next) != nil { return self.dial(next, in: .zero) }
        }
    }

    /// The shell must have reported by now: the dial counts as timed out, so that a lost report does not hold its place for ever.
    mutating func dialIsOverdue(_ id: ConnectionID) {
        guard let dial = dials[id] else { return }
        endDial(id, dial)
        failed(dial, .timedOut)
    }

    /// A dial ended with a handshake.
    mutating func settlePlace(_ dial: Dial, answeredBy peer: PeerID) {
        places.change(dial.address) { place in
            place.answered = peer
            place.backoff = configuration.backoffMin
            place.dialAt = now
            placesChanged = true
        }
    }

    /// Keeps the address of a dial from being tried again at once.
    mutating func postpone(_ dial: Dial?, atLeast pause: Duration) {
        guard let dial, let place = places[dial.address] else { return }
        let jitter = random.duration(upTo: place.backoff / 4)
        places.change(dial.address) { place in
            place.dialAt = now + max(pause, place.backoff) + jitter
            place.backoff = min(configuration.backoffMax, place.backoff * 2)
        }
    }

    /// A dial ended without a handshake.
    mutating func failed(_ dial: Dial, _ evidence: Evidence) {
        postpone(dial, atLeast: .zero)
        var isRejection = false, rest: Duration?
        switch evidence {
        case .refused: isRejection = true
        case .foreign(.isSelf):
            meetMyself(at: dial.address)
            return dialPlaces()
        case .foreign(let reason):
            meetForeigner(at: dial.address, reason)
            isRejection = reason == .cluster || reason == .secret  // the others speak of the process, not of its absence
            rest = isRejection ? nil : configuration.foreignRest
        default: break
        }
        switch dial.target {
        case .candidate: dialPlaces()
        case .deadMember, .twin: break
        case .dialBack(let peer): dialBackFailed(peer, dial.address)
        case .evidence(let peer): if isRejection { rejected(peer) }
        case .member(let peer), .fresh(let peer):
            guard let link = links[peer], let member = members[peer] else { return }
            if isRejection { rejected(peer) }
            guard case .member = dial.target, link.open.isEmpty, member.status.isPresent, keepsConnection(to: peer) else { return }
            let jitter = random.duration(upTo: link.backoff / 4)
            links.change(peer) { $0.backoff = min(configuration.backoffMax, Self.memberBackoffMax, $0.backoff * 2) }
            self.dial(peer, in: rest ?? link.backoff + jitter)
        }
    }

    // MARK: Addresses that discovery named

    private var candidateDials: Int {
        dials.values.reduce(0) { count, dial in
            if case .candidate = dial.target { count + 1 } else { count }
        }
    }

    /// Starts dials to addresses at which nobody is known, in the order of (time, rank), and plans the next. O(places).
    mutating func dialPlaces() {
        guard stage == .joined, !places.isEmpty else { return }
        var room = min(configuration.candidateDialsMax - candidateDials, configuration.dialsMax - dials.count)
        while room > 0, let address = nextPlace(), let place = places[address], place.dialAt <= now {
            room -= 1
            places.change(address) { $0.isDialling = true }
            startDial(to: address, .candidate, expecting: nil, limit: configuration.dialLimit)
        }
        if room > 0, let address = nextPlace(), let place = places[address] { wakePlaces(at: place.dialAt) }
        if let rested = ownAddresses.values.filter({ $0 > now }).min() { wakePlaces(at: rested) }
    }

    private mutating func wakePlaces(at time: Instant) { placesAt = placesAt.map { min($0, time) } ?? time }

    private func nextPlace() -> PeerAddress? {
        var best: (at: Instant, rank: UInt64, address: PeerAddress)?
        for (address, place) in zip(places.keys, places.values) where !place.isKnown && !place.isDialling && canDial(address) {
            let at = max(place.dialAt, now)
            if let best, best.at < at || best.at == at && best.rank <= place.rank { continue }
            best = (at, place.rank, address)
        }
        return best?.address
    }
}

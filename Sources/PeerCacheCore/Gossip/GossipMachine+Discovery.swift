extension GossipMachine {
    private static let seekTwinEvery = Duration.seconds(1)
    /// At the start, until discovery has answered once.
    private static let resolveEveryUnanswered = Duration.seconds(1)

    mutating func resolve() {
        effects.append(.resolve)
        resolveAt = now + random.around(resolvePeriod)
    }

    private var resolvePeriod: Duration {
        if !hadContact { return configuration.resolveEveryAlone }
        return places.values.contains { !$0.isKnown } ? configuration.resolveEveryPartial : configuration.resolveEvery
    }

    /// A failed or empty answer keeps the last one: DNS that is down for a while must not make an island. One that failed in part has addresses,
    /// and there may be others.
    mutating func discovered(_ addresses: [PeerAddress], failed: Bool) {
        nameUnknownSince = nil
        if !failed { hasDiscovered = true }
        if !hasDiscovered, !hadContact, now - joinedAt < Self.searchMax {
            resolveAt = resolveAt.map { min($0, now + random.around(Self.resolveEveryUnanswered)) }
        }
        guard stage == .joined, !addresses.isEmpty else { return }
        var answer = SortedMap<PeerAddress, Place>()
        var dropped = 0
        for address in addresses where answer[address] == nil && address.port > 0 && !address.host.isEmpty {
            guard answer.count < configuration.candidatesMax else {
                dropped += 1
                continue
            }
            answer[address] = places[address] ?? newPlace(at: address)
        }
        if dropped > 0 { effects.append(.trace(.candidatesDropped(dropped))) }
        guard !answer.isEmpty else { return }
        places = answer
        refreshPlaces()
        dialPlaces()
        // Strangers in the answer: ask again sooner than the calm period says.
        let sooner = now + random.around(resolvePeriod)
        if let due = resolveAt, sooner < due { resolveAt = sooner }
    }

    private func newPlace(at address: PeerAddress) -> Place {
        let rank = publicHash("\(me.id) \(address)")
        return Place(dialAt: max(now, foreign[address]?.restUntil ?? now), backoff: configuration.backoffMin, rank: rank)
    }

    /// Marks the addresses at which a present member or this peer is. O(members + candidates).
    mutating func refreshPlaces() {
        guard !places.isEmpty else { return }
        var taken = Set(ownAddresses.keys.filter { !canDial($0) })  // asked for membership, never iterated
        for member in members.values where member.status.isPresent { taken.insert(member.record.address) }
        let members = members
        places.updateAll { address, place in
            place.isKnown = taken.contains(address) || place.answered.flatMap { members[$0]?.status.isPresent } ?? false
        }
    }

    /// An address of ours: it rests, but not for ever, as a proxy may lead elsewhere the next time. Members that claimed it are gone, if
    /// they do not talk to us.
    mutating func meetMyself(at address: PeerAddress) {
        if !ownAddresses.contains(address), ownAddresses.count >= Self.ownAddressesMax, let first = ownAddresses.values.min() {
            ownAddresses.removeAll { _, until in until <= first }
        }
        ownAddresses[address] = now + configuration.foreignRest
        placesChanged = true
        meet(me.id, at: address)
    }

    /// Another process with our origin tag, and mostly with our id: one of the two was cloned, or restored from a snapshot. The later one gives
    /// the id up; of two that began alike whoever dialled, and if both did, both.
    mutating func meetTwin(_ record: MemberRecord, on id: ConnectionID) {
        let isLater = record.hlc < me.hlc || record.hlc == me.hlc && !Self.isInbound(id)
        if isLater, stage == .idle || stage == .joined, mayWarn(.duplicate) { emit(.duplicateIdentity) }
        effects.append(.close(id, .protocolError))
    }

    mutating func suspectTwin() { if mayWarn(.duplicateSuspected) { emit(.duplicateSuspected) } }

    /// Looks for a process with our origin tag where somebody says that it is. What others say is no proof; its handshake will be one.
    mutating func seekTwin(_ record: MemberRecord?) {
        suspectTwin()
        guard stage == .joined, let record, maySeekTwin, dials.count < configuration.dialsMax, canDial(record.address) else { return }
        twinSoughtAt = now
        startDial(to: record.address, .twin, expecting: record.id, limit: configuration.dialLimit)
    }

    var maySeekTwin: Bool { twinSoughtAt.map { now - $0 >= Self.seekTwinEvery } ?? true }

    /// Not of this cluster: rests, and warns at most once per `warningEvery`.
    mutating func meetForeigner(at address: PeerAddress, _ reason: ForeignReason) {
        let restUntil = now + configuration.foreignRest
        if let place = places[address] { places[address]?.dialAt = max(place.dialAt, restUntil) }
        if let known = foreign[address], now - known.warnedAt < configuration.warningEvery {
            foreign.change(address) { ($0.restUntil, $0.reason) = (restUntil, reason) }
            return
        }
        if foreign.count >= configuration.candidatesMax {
            foreign.removeAll { _, place in now - place.warnedAt >= configuration.warningEvery }
            // Full of fresh ones: no room to remember the warning, so none is given.
            if foreign.count >= configuration.candidatesMax { return }
        }
        foreign[address] = ForeignPlace(restUntil: restUntil, warnedAt: now, reason: reason)
        emit(reason == .clock ? .clockSkew(address) : .foreignPeer(address, reason))
    }

    /// It has ended the connection because our clocks are too far apart.
    mutating func refusedForClock(by member: Member) {
        let restUntil = now + configuration.foreignRest
        places.updateAll { _, place in
            if place.answered == member.record.id { place.dialAt = max(place.dialAt, restUntil) }
        }
        meetForeigner(at: member.record.address, .clock)
    }

    /// When a member may be dialled again whose clock and ours are too far apart: until then every handshake would end the same. Of the other
    /// reasons some are evidence, which is looked for.
    func clockRest(of address: PeerAddress) -> Instant? {
        guard let place = foreign[address], place.reason == .clock, place.restUntil > now else { return nil }
        return place.restUntil
    }
}

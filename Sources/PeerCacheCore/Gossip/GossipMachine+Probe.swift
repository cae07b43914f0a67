/// One member is probed per period (`GOSSIP.md` §6.1): directly, then through others and over fresh connections.
extension GossipMachine {
    private static let relaysMax = 256

    /// The period as our health and the network have it.
    private var period: Duration {
        let usual = configuration.period * (1 + healthScore), wanted = relaysAt, planned = scaled(configuration.relaysAt)
        if wanted <= planned { return usual }
        return usual * (wanted.nanosecondsSaturating / 1_000) / max(1, planned.nanosecondsSaturating / 1_000)
    }

    /// The wait before others are asked: three round trips on a slow network.
    private var relaysAt: Duration { max(scaled(configuration.relaysAt), .nanoseconds(min(roundTrip, 10_000_000_000) * 3)) }

    mutating func startPeriod() {
        endProbe()
        probeAt = now + period
        keepHouse()
        if configuration.isObserver { return observe() }
        guard let target = nextTarget() else { return }
        sequence &+= 1
        probe = Probe(target: target, sequence: sequence, startedAt: now, endsAt: now + period)
        stepAt = now
        stepProbe()
    }

    /// The next one of the lap that is present; a new lap is shuffled. O(members) once per lap.
    private mutating func nextTarget() -> PeerID? {
        for _ in 0..<2 {
            while lapPosition < lap.count {
                let target = lap[lapPosition]
                lapPosition += 1
                if let member = members[target], member.status.isPresent { return target }
            }
            lap = probed().shuffled(using: &random)
            lapPosition = 0
        }
        return nil
    }

    /// Everybody, or in a large cluster those whom this peer watches.
    private mutating func probed() -> [PeerID] {
        if members.count - departedCount > configuration.fullMeshMax { return watchedByMe() }
        return members.values.filter { $0.status.isPresent && $0.record.id != me.id }.map(\.record.id)
    }

    /// A newcomer comes somewhere into what is left of the lap.
    mutating func addToLap(_ id: PeerID) {
        guard members.count - departedCount <= configuration.fullMeshMax, !configuration.isObserver else { return }
        let left = lap.count - lapPosition
        lap.insert(id, at: lapPosition + random.below(left + 1))
    }

    // MARK: Steps

    /// Direct pings, then relays and the first fresh dial at once, then more fresh dials.
    mutating func stepProbe() {
        stepAt = nil
        guard let current = probe, !current.isAnswered, links.contains(current.target) else { return }
        let pings = configuration.pingsAt.count
        if current.step < pings {
            ping(current.target, current.sequence)
        } else {
            if current.step == pings { askRelays() }
            if current.step - pings < configuration.freshDialsMax { dialFresh(current.target) }
        }
        probe?.step += 1
        guard let next = stepTime(current.step + 1) else { return }
        let at = current.startedAt + next
        if at < current.endsAt { stepAt = max(at, now) }
    }

    /// When a step is due, from the start of the probe; nil: there is no such step.
    private func stepTime(_ step: Int) -> Duration? {
        let pings = configuration.pingsAt.count
        if step < pings { return scaled(configuration.pingsAt[step]) }
        let later = step - pings
        if later > 0, later >= configuration.freshDialsMax { return nil }
        return relaysAt + scaled(configuration.freshDialEvery) * later
    }

    private mutating func ping(_ target: PeerID, _ sequence: UInt64) {
        // Without challenges a suspect must hear of it by the pings that it gets anyway.
        var claims = takeClaims()
        if configuration.pushesMax == 0, let member = members[target], member.status == .suspect {
            claims.insert(MemberClaim(member, accuser: me.id.originTag, withRecord: false), at: 0)
        }
        post(.ping(sequence: sequence, placement: digest, claims: claims), to: target)
    }

    private mutating func askRelays() {
        guard let current = probe else { return }
        let chosen = randomMembers(configuration.relays, except: [current.target]) { $0.status == .alive }
        probe?.relays = chosen.count
        for peer in chosen { post(.relay(sequence: current.sequence, target: current.target, claims: takeClaims()), to: peer) }
    }

    /// The period is over.
    private mutating func endProbe() {
        guard let ended = probe else { return }
        probe = nil
        stepAt = nil
        guard !ended.isAnswered, let member = members[ended.target], member.status.isPresent else { return }
        // Relays that do not even say no: it is we who are slow or cut off. A single one may be so itself.
        let missing = ended.relays == 1 ? 0 : ended.relays - ended.nacks
        changeHealth(by: ended.relays > 0 ? max(0, missing) : 1)
        trace(.probeFailed(ended.target))
        if now < judgesAt { return }
        suspect(member)
    }

    // MARK: Answers

    /// An ack: of our probe's target or of a relay that heard it, of a target to us as a relay, or of a suspect that we challenged.
    mutating func answered(_ sequence: UInt64, by peer: PeerID) {
        if let current = probe, current.sequence == sequence { probeSucceeded(measured: current.step == 1 && current.target == peer) }
        if let relay = relays[sequence], relay.target == peer {
            relays[sequence] = nil
            post(.ack(sequence: relay.sequence, placement: digest, claims: takeClaims()), to: relay.asker)
        }
        if links.change(peer, { $0.suspicion?.sequence == sequence }) == true { lift(peer) }
        answerOfCase(peer, sequence)
    }

    mutating func probeSucceeded(measured: Bool) {
        guard let current = probe, !current.isAnswered else { return }
        probe?.isAnswered = true
        stepAt = nil
        changeHealth(by: -1)
        if measured { noteRoundTrip((now - current.startedAt).nanosecondsSaturating) }
    }

    /// Lower quartile by steps of 1/16: three steps down weigh as much as one up.
    private mutating func noteRoundTrip(_ sample: Int64) {
        if roundTrip == 0 { return roundTrip = max(1, sample) }
        let step = max(4, roundTrip / 16)
        roundTrip = sample > roundTrip ? roundTrip + step / 4 : max(1, roundTrip - step * 3 / 4)
    }

    // MARK: For others

    mutating func relay(_ asked: UInt64, to target: PeerID, for asker: PeerID) {
        guard target != me.id, members[target]?.status.isPresent == true, relays.count < Self.relaysMax else {
            return post(.nack(sequence: asked, claims: takeClaims()), to: asker)
        }
        sequence &+= 1
        relays[sequence] = Relay(asker: asker, sequence: asked, target: target)
        ping(target, sequence)
        after(configuration.nackAfter, .relayNack(sequence))
        after(max(configuration.period, configuration.nackAfter * 2), .relayOver(sequence))
    }

    mutating func sendNack(_ sequence: UInt64) {
        guard let relay = relays[sequence] else { return }
        post(.nack(sequence: relay.sequence, claims: takeClaims()), to: relay.asker)
    }

    mutating func nacked(_ sequence: UInt64) {
        if let current = probe, current.sequence == sequence, !current.isAnswered { probe?.nacks = min(current.relays, current.nacks + 1) }
    }
}

extension GossipMachine {
    /// Due timers that one turn runs: more than a machine of `membersMax` members has; what is left comes with the next tick.
    private static let timersPerTurn = 100_000

    func earliestDeadline() -> Instant? {
        var earliest = Int64.max
        for time in [probeAt, stepAt, gossipAt, flushAt, secondFlushAt] { if let time { earliest = min(earliest, time.nanoseconds) } }
        for time in [resolveAt, retryAt, syncAt, placesAt] { if let time { earliest = min(earliest, time.nanoseconds) } }
        if let time = timers.earliest { earliest = min(earliest, time) }
        return earliest == .max ? nil : Instant(nanoseconds: earliest)
    }

    private func isDue(_ time: Instant?) -> Bool { time.map { $0 <= now } ?? false }

    /// Runs what is due, whatever the input was.
    mutating func runTimers() {
        if isDue(resolveAt) { resolve() }
        if isDue(retryAt) { retryDeadMember() }
        if isDue(syncAt) { syncWithSomebody() }
        if isDue(placesAt) {
            placesAt = nil
            refreshPlaces()
            dialPlaces()
        }
        for _ in 0..<Self.timersPerTurn {
            guard let task = timers.popDue(at: now.nanoseconds) else { break }
            run(task)
        }
        if isDue(stepAt) { stepProbe() }
        if isDue(probeAt) { startPeriod() }
    }

    private mutating func run(_ task: Task) {
        switch task {
        case .suspicion(let peer, let generation): suspicionRanOut(peer, generation)
        case .push(let peer, let generation): push(peer, generation)
        case .challenge(let peer, let generation): verify(peer, generation)
        case .dial(let peer): dialIsDue(peer)
        case .dialOverdue(let id): dialIsOverdue(id)
        case .relayNack(let sequence): sendNack(sequence)
        case .relayOver(let sequence): relays[sequence] = nil
        case .caseDial(let peer, let generation): dialForCase(peer, generation)
        case .caseReview(let peer, let generation): reviewCase(peer, generation)
        }
    }

    mutating func after(_ duration: Duration, _ task: Task) { timers.add(task, at: (now + duration).nanoseconds) }

    mutating func nextGeneration() -> UInt64 {
        generation &+= 1
        return generation
    }

    /// A wait, as long as our health asks for.
    func scaled(_ duration: Duration) -> Duration { configuration.healthScalesEveryWait ? duration * (1 + healthScore) : duration }

    mutating func changeHealth(by change: Int) { healthScore = max(0, min(7, healthScore + change)) }

    /// Own lateness (`GOSSIP.md` §6.6): what was not heard meanwhile proves nothing, so everything that waits goes on waiting as long as it
    /// would have.
    mutating func stoodStill(for lateness: Duration) {
        trace(.stoodStill(lateness))
        changeHealth(by: 1)
        timers.delayAll(by: lateness.nanosecondsSaturating)
        probeAt = probeAt.map { $0 + lateness }
        stepAt = stepAt.map { $0 + lateness }
        if var current = probe {
            current.startedAt = current.startedAt + lateness
            current.endsAt = current.endsAt + lateness
            probe = current
        }
        links.updateAll { _, link in
            link.heardAt = min(now, link.heardAt + lateness)
            for index in link.open.indices {
                link.open[index].heardAt = min(now, link.open[index].heardAt + lateness)
                link.open[index].askedAt = link.open[index].askedAt.map { min(now, $0 + lateness) }
            }
            if let started = link.suspicion?.startedAt { link.suspicion?.startedAt = started + lateness }
        }
        delayCases(by: lateness)
        votesAt = now + .seconds(1)
        guard lateness > .seconds(2) else { return }
        judgesAt = now + .seconds(1)
        if let peer = randomMembers(1, except: []).first { sendDigest(to: peer) }
    }
}

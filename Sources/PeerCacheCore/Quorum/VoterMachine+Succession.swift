/// Asking those that voted before, and whether what they say is enough.
extension VoterMachine {
    // MARK: Asking

    /// What is known of slots has changed: whoever was asked has to hear of it, and answers of before do not count.
    mutating func listsChanged(_ slots: SlotSet) {
        if slots.isEmpty { return }
        told.updateAll { _, told in told.sealed.subtract(slots) }
        for id in calls.keys {  // each entry by itself: the order does not matter
            guard case .seal(let peer, var asked) = calls[id] else { continue }
            asked.subtract(slots)
            calls[id] = .seal(peer, asked)
        }
        stopFetching(slots)
        for slot in slots.slots {
            for peer in recipients(slot) { toAsk.insert(slot, for: peer) }
        }
    }

    mutating func reconsider(_ slot: Slot, _ effects: inout [Effect]) {
        for peer in recipients(slot) { toAsk.insert(slot, for: peer) }
        evaluate(slot, &effects)
    }

    /// The voters of the slot and of its open lists; who knows none asks everybody.
    private func recipients(_ slot: Slot) -> [PeerID] {
        let open = lists[slot.index].lists
        if open.isEmpty { return present }
        let others = voters(slot) + open.flatMap(\.voters)
        return present.filter { others.contains($0) }
    }

    /// Whoever could not vote yet when it answered may do so now.
    mutating func askAgain() {
        guard silentCount > 0, askAgainAt.map({ $0 <= now }) ?? true else { return }
        askAgainAt = now + configuration.askAgainEvery
        guard calls.isEmpty else { return }
        timesAsked += 1
        for slot in silent.slots where sourcesLeft[slot.index] == 0 {
            // If nobody who was asked knows enough, perhaps others do.
            for peer in timesAsked % 8 == 0 ? present : recipients(slot) { toAsk.insert(slot, for: peer) }
        }
    }

    mutating func ask(_ effects: inout [Effect]) {
        for peer in toAsk.keys {
            guard retryAt[peer].map({ $0 <= now }) ?? true, var slots = toAsk[peer] else { continue }
            slots.subtract(voting)
            let all = slots.intersection(mine).slots
            for start in stride(from: 0, to: all.count, by: Seal.slotsMax) {
                let part = all[start..<min(all.count, start + Seal.slotsMax)]
                var groups = ListGroups()
                for slot in part { for list in lists[slot.index].lists { groups.add(list, slot) } }
                let set = SlotSet(part)
                let seal = Seal(placement: placement.digest, slots: set, lists: groups.lists, since: since)
                call(.seal(seal), .seal(peer, set), peer, &effects)
            }
            toAsk[peer] = nil
            retryAt[peer] = nil
        }
    }

    // MARK: Answers

    mutating func sealAnswered(by peer: PeerID, _ slots: SlotSet, _ answer: Answer, _ effects: inout [Effect]) {
        guard case .sealed(let answer) = answer else {
            if case .disagrees = answer { effects.append(.synchronize(peer)) }
            for slot in slots.slots where !voting.contains(slot) { toAsk.insert(slot, for: peer) }
            retryAt[peer] = now + configuration.retryAfter
            return
        }
        var founded = answer.voting
        founded.subtract(answer.founding)
        founded.formUnion(answer.founded)
        self.founded.formUnion(founded.intersection(slots))
        note(answer, of: peer, slots, &effects)
        for slot in slots.slots where mine.contains(slot) && !voting.contains(slot) { evaluate(slot, &effects) }
    }

    private mutating func note(_ answer: SealAnswer, of peer: PeerID, _ slots: SlotSet, _ effects: inout [Effect]) {
        var told = self.told[peer] ?? Told()
        told.sealed.formUnion(slots)
        told.since = max(told.since, answer.since)
        told.voting.formUnion(answer.voting.intersection(slots))
        told.founding.formUnion(answer.founding.intersection(slots))
        told.empty.formUnion(answer.empty.intersection(slots))
        told.note(answer.forgotten, of: slots)
        for open in answer.lists where open.list.entered > 0 {
            told.note(open)
            guard let latest = open.list.votedAt.max() else { continue }
            for slot in open.slots where slots.contains(slot) {
                latestVotes[slot.index] = max(latestVotes[slot.index], latest)
            }
        }
        self.told[peer] = told
        leastSince = self.told.values.reduce(.max) { $1.since > 0 ? min($0, $1.since) : $0 }
        var changed = SlotSet()
        for open in answer.lists {
            for slot in open.slots where slots.contains(slot) && !voting.contains(slot) {
                if lists[slot.index].lists.count < configuration.listsMax || lists[slot.index][open.list.voters] != nil {
                    listed.insert(slot)
                    if lists[slot.index].hear(open.list) { changed.insert(slot) }
                } else {
                    self.told.change(peer) { $0.sealed.remove(slot) }
                    toAsk.insert(slot, for: peer)
                    retryAt[peer] = now + configuration.retryAfter
                }
            }
        }
        listsChanged(changed)
    }

    // MARK: Voting

    /// Votes on the slot, or fetches what it takes, if enough peers have answered.
    mutating func evaluate(_ slot: Slot, _ effects: inout [Effect]) {
        guard mine.contains(slot), !voting.contains(slot), sourcesLeft[slot.index] == 0 else { return }
        if configuration.mutant == .votesAtOnce { return vote(slot) }
        let all = voters(slot)
        if configuration.mutant == .placementCheckOnly {
            let sealed = all.filter { told[$0]?.sealed.contains(slot) == true }
            return sealed.count + 1 >= scheme.votersMin ? fetch(slot, from: sealed, &effects) : ()
        }
        guard hasGathered || all.allSatisfy({ $0 == me || told[$0]?.sealed.contains(slot) == true || !present.contains($0) }) else {
            return
        }
        fetchesAll.insert(slot)
        let voters = all.filter { told[$0]?.voting.contains(slot) == true }
        if voters.count >= scheme.readFrom {
            let chosen = Array(voters.prefix(scheme.readFrom))
            if chosen.allSatisfy({ told[$0]?.founding.contains(slot) == true }) { founding.insert(slot) } else { founding.remove(slot) }
            return fetch(slot, from: chosen, &effects)
        }
        founding.remove(slot)
        guard mayBeEnough(slot) else { return }
        dateVotes(slot)
        switch verdict(slot) {
        case .wait: return
        case .fetch(let peers, let isAll):
            if !isAll { fetchesAll.remove(slot) }
            return fetch(slot, from: peers, &effects)
        case .nobodyVoted: break
        }
        // Whoever votes found the same.
        if !voters.isEmpty, founded.contains(slot) { return fetch(slot, from: voters, &effects) }
        // All that are there say that no former list can have completed anything. Who voted before did so alone, and tells where.
        guard !founded.contains(slot) || !lists[slot.index].isEmpty, present.count + 1 >= configuration.minimumPeers,
            present.allSatisfy({ told[$0]?.sealed.contains(slot) == true })
        else { return }
        effects += [.forget(slot), .adopt(slot)]
        founding.insert(slot)
        vote(slot)
    }

    private var hasGathered: Bool { now - enteredAt >= configuration.gatherFor }

    /// Votes without those that have not answered.
    mutating func goOn(_ effects: inout [Effect]) {
        guard !hasGoneOn, hasGathered else { return }
        hasGoneOn = true
        for slot in silent.slots { evaluate(slot, &effects) }
    }

    mutating func vote(_ slot: Slot) {
        voting.insert(slot)
        votedAt = now.hlc
        if fetchesAll.contains(slot) { knowing.insert(slot) }
        if !founding.contains(slot) { founded.insert(slot) }
        toAsk.updateAll { _, slots in slots.remove(slot) }
    }

    /// The voters of a slot are gone for good: after a while it begins anew, if the application says so.
    mutating func resetSilent(_ effects: inout [Effect]) {
        guard let resetAfter = configuration.resetAfter, silentCount > 0, now - enteredAt >= resetAfter,
            present.count + 1 >= configuration.minimumPeers
        else { return }
        for slot in silent.slots where sourcesLeft[slot.index] == 0 {
            guard told.count + 1 >= configuration.minimumPeers else { continue }
            effects.append(.reset(slot))
            vote(slot)
        }
    }
}

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
        for slot in silent.slots where sourcesLeft[slot.index] == 0 {
            for peer in recipients(slot) { toAsk.insert(slot, for: peer) }
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
                call(.seal(Seal(placement: placement.digest, slots: set, lists: groups.lists)), .seal(peer, set), peer, &effects)
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
        told.voting.formUnion(answer.voting.intersection(slots))
        told.founding.formUnion(answer.founding.intersection(slots))
        told.empty.formUnion(answer.empty.intersection(slots))
        told.times.removeAll { $0.slots == slots }
        told.times.append((slots, answer.forgotten, answer.blank))
        for open in answer.lists where open.list.entered > 0 { told.note(open) }
        self.told[peer] = told
        var changed = SlotSet()
        for open in answer.lists {
            var list = open.list
            (list.hasVoted, list.entered) = (false, 0)  // said of the other
            for slot in open.slots where slots.contains(slot) && !voting.contains(slot) {
                if lists[slot.index].lists.count < configuration.listsMax || lists[slot.index][list.voters] != nil {
                    listed.insert(slot)
                    if lists[slot.index].insert(list) { changed.insert(slot) }
                } else {
                    self.told.change(peer) { $0.sealed.remove(slot) }
                    toAsk.insert(slot, for: peer)
                    retryAt[peer] = now + configuration.retryAfter
                }
            }
        }
        listsChanged(changed)
    }

    // MARK: Enough?

    private enum Standing { case none, closes, speaks }

    /// Whether a peer counts for a list: it has left it, and knows what it knew there or before. Whoever forgot the slot speaks only of lists
    /// that it has been in since, by its own clock.
    private func standing(_ peer: PeerID, _ list: VoterList, _ slot: Slot) -> (standing: Standing, hasVoted: Bool) {
        func standing(_ forgottenAt: UInt64, _ blankUntil: UInt64, _ entered: UInt64) -> Standing {
            if forgottenAt > entered { return .none }
            return blankUntil <= entered || list.isFirst ? .speaks : .closes
        }
        if peer == me {
            let own = standing(forgottenAt[slot.index], blankUntil[slot.index], list.entered)
            return (held.contains(slot) || own == .none ? own : .closes, list.hasVoted)
        }
        guard let told = told[peer], told.sealed.contains(slot) else { return (.none, false) }
        let times = told.times(slot)
        let own = told.named.first { $0.list.voters == list.voters && $0.slots.contains(slot) }?.list
        return (standing(times.forgotten, times.blank, own?.entered ?? 0), own?.hasVoted ?? false)
    }

    /// Votes on the slot, or fetches what it takes, if enough peers have answered.
    mutating func evaluate(_ slot: Slot, _ effects: inout [Effect]) {
        guard mine.contains(slot), !voting.contains(slot), sourcesLeft[slot.index] == 0 else { return }
        if configuration.mutant == .votesAtOnce { return vote(slot) }
        if configuration.mutant == .placementCheckOnly {
            let sealed = self.voters(slot).filter { told[$0]?.sealed.contains(slot) == true }
            return sealed.count + 1 >= scheme.votersMin ? fetch(slot, from: sealed, &effects) : ()
        }
        let all = voters(slot)
        guard hasToldEnough || all.allSatisfy({ $0 == me || told[$0]?.sealed.contains(slot) == true || !present.contains($0) }) else {
            return
        }
        let voters = all.filter { told[$0]?.voting.contains(slot) == true }
        if voters.count >= scheme.readFrom {
            let chosen = Array(voters.prefix(scheme.readFrom))
            if chosen.allSatisfy({ told[$0]?.founding.contains(slot) == true }) { founding.insert(slot) } else { founding.remove(slot) }
            return fetch(slot, from: chosen, &effects)
        }
        founding.remove(slot)
        var from: [PeerID] = []
        var isOpen = false
        for list in lists[slot.index].lists {
            let quorum =
                configuration.mutant == .sealQuorumIsR ? min(scheme.readFrom, list.voters.count) : scheme.sealQuorum(of: list.voters.count)
            let standings = list.voters.map { (peer: $0, standing: standing($0, list, slot)) }
            let speakers = standings.filter { $0.standing.standing == .speaks }.map(\.peer)
            if speakers.count >= quorum {
                isOpen = true
                if !speakers.contains(me) {
                    for peer in speakers.prefix(quorum) where !from.contains(peer) && told[peer]?.empty.contains(slot) != true {
                        from.append(peer)
                    }
                }
            } else if standings.count(where: { $0.standing.standing != .none && !$0.standing.hasVoted }) < quorum {
                return
            }  // else: nobody can have voted there, and nobody will
        }
        if isOpen { return fetch(slot, from: from, &effects) }
        // Nobody has voted under a former placement, and all that are there say so.
        guard !founded.contains(slot) || configuration.mutant == .foundsTwice, present.count + 1 >= configuration.minimumPeers,
            present.allSatisfy({ told[$0]?.sealed.contains(slot) == true })
        else { return }
        effects += [.forget(slot), .adopt(slot)]
        founding.insert(slot)
        vote(slot)
    }

    private var hasToldEnough: Bool { now - enteredAt >= configuration.tellFor }

    /// Votes without those that have not answered.
    mutating func goOn(_ effects: inout [Effect]) {
        guard !hasGoneOn, hasToldEnough else { return }
        hasGoneOn = true
        for slot in silent.slots { evaluate(slot, &effects) }
    }

    mutating func vote(_ slot: Slot) {
        voting.insert(slot)
        if !founding.contains(slot) { founded.insert(slot) }
        blankUntil[slot.index] = 0
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

    // MARK: What was lost

    /// Asks the voters of slots that this peer knew whether they vote: then nobody needs it any more.
    mutating func query(_ effects: inout [Effect]) {
        guard queryAt.map({ $0 <= now }) ?? true else { return }
        queryAt = now + configuration.queryEvery
        var wanted = SortedMap<PeerID, SlotSet>()
        var lost = held
        lost.formUnion(listed)
        lost.subtract(mine)
        for slot in lost.slots {
            let voters = voters(slot)
            let silent = voters.filter { told[$0]?.voting.contains(slot) != true }
            if silent.isEmpty, !voters.isEmpty { forget(slot, &effects) }
            for peer in silent where present.contains(peer) { wanted.insert(slot, for: peer) }
        }
        for (peer, slots) in zip(wanted.keys, wanted.values) {
            let all = slots.slots
            for start in stride(from: 0, to: all.count, by: Seal.slotsMax) {
                let part = SlotSet(all[start..<min(all.count, start + Seal.slotsMax)])
                call(.seal(Seal(placement: placement.digest, slots: part, isQuery: true)), .query(peer, part), peer, &effects)
            }
        }
    }

    mutating func queryAnswered(by peer: PeerID, _ slots: SlotSet, _ answer: Answer) {
        guard case .sealed(let answer) = answer else { return }
        if told[peer] == nil { told[peer] = Told() }
        told.change(peer) { $0.voting.formUnion(answer.voting.intersection(slots)) }
    }

    private mutating func forget(_ slot: Slot, _ effects: inout [Effect]) {
        lists[slot.index] = OpenLists()
        listed.remove(slot)
        founded.insert(slot)
        guard held.contains(slot) else { return }
        held.remove(slot)
        forgottenAt[slot.index] = now.hlc
        effects.append(.forget(slot))
    }
}

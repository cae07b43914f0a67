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
        told.times.removeAll { $0.slots == slots }
        told.times.append((slots, answer.forgotten))
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

    // MARK: Enough?

    private enum Verdict {
        case wait
        /// No former list can have completed anything.
        case nobodyVoted
        /// Enough have left every list that matters; none: this peer's share of what they know is here.
        case fetch([PeerID], isAll: Bool)
    }

    /// Who voted under one placement, and the clocks at which they did, as far as they are known. The last vote of each is told apart.
    private struct Voted {
        let placement: UInt64
        var voters: [PeerID] = []
        var timed: [(peer: PeerID, at: UInt64, isLast: Bool)] = []
    }

    /// What is known of the voters of one list.
    private struct Standings {
        /// They have left it, and still have what they had there.
        var left: [PeerID] = []
        /// Of these, how many never voted there.
        var idle = 0
        /// Of these, who voted, by placement.
        var voted: [Voted] = []
        /// How many have left it and forgotten what they had there, because all voters of a later list voted.
        var forgot = 0
    }

    private func standings(of list: VoterList, _ slot: Slot) -> Standings {
        var standings = Standings()
        for peer in list.voters {
            let own: VoterList?, forgottenAt: UInt64
            if peer == me {
                (own, forgottenAt) = (list, self.forgottenAt[slot.index])
            } else {
                guard let told = told[peer], told.sealed.contains(slot) else { continue }
                own = told.named.first { $0.list.voters == list.voters && $0.slots.contains(slot) }?.list
                forgottenAt = told.forgottenAt(slot)
            }
            guard forgottenAt <= own?.entered ?? 0 else {
                // Whoever forgets drops the list; what still names it says a later time than it was (``SlotTimes``).
                if own?.entered ?? 0 == 0 { standings.forgot += 1 }
                continue
            }
            standings.left.append(peer)
            guard let own, !own.voted.isEmpty else {
                standings.idle += 1
                continue
            }
            let isTimed = own.votedAt.count == own.voted.count
            for (vote, placement) in own.voted.enumerated() {
                let position = standings.voted.firstIndex { $0.placement == placement } ?? standings.voted.count
                if position == standings.voted.count { standings.voted.append(Voted(placement: placement)) }
                standings.voted[position].voters.append(peer)
                guard isTimed, own.votedAt[vote] > 0 else { continue }
                standings.voted[position].timed.append((peer, own.votedAt[vote], vote == own.voted.count - 1))
            }
        }
        return standings
    }

    /// Whether enough voters of each former list have left it, and from whom to learn what they knew.
    ///
    /// Any Q of a list know all that was completed there. If Q voted under one of its placements they also know, together, all that came
    /// before it; else the lists that those voters closed must be asked themselves: whoever did not vote may know nothing of them.
    ///
    /// Whoever has forgotten saw all vote in a later list. What it took part in is known there, and to whoever came after. It names that list,
    /// so that those are asked too.
    ///
    /// Lists in which somebody voted follow one another. Of Q that voted in one, some were asked to leave it by whoever voted in a later one,
    /// and tell of that, too, or of what came then; its clock can only be later (``dateVotes(_:)``). So what is earlier came before.
    ///
    /// Who of them voted elsewhere since may name nothing of what came between any more: it knew that when it voted. So where earlier votes
    /// are timed, Q that voted there are asked for all they know, whoever else is.
    private func verdict(_ slot: Slot) -> Verdict {
        let verdict = verdict(slot, byEarlierVotes: false)
        if case .wait = verdict { return self.verdict(slot, byEarlierVotes: true) }
        return verdict
    }

    private func verdict(_ slot: Slot, byEarlierVotes: Bool) -> Verdict {
        let open = lists[slot.index].lists
        let standings = open.map { self.standings(of: $0, slot) }
        var closed: [UInt64] = [], latest: UInt64 = 0, witnesses: [PeerID] = []
        for (list, standings) in zip(open, standings) {
            for voted in standings.voted where voted.voters.count >= quorum(list) {
                closed.append(voted.placement)
                let timed = voted.timed.filter { byEarlierVotes || $0.isLast }
                guard timed.count >= quorum(list), let at = timed.map(\.at).min(), at > latest else { continue }
                (latest, witnesses) = (at, timed.prefix(quorum(list)).map(\.peer))
            }
        }
        let mayKeep = scheme.sealQuorum(of: voters(slot).count)
        var (from, isAll, isOpen) = ([PeerID](), true, false)
        for (list, standings) in zip(open, standings) {
            let quorum = quorum(list)
            if standings.idle >= quorum || (list.since != 0 && list.since < latest) { continue }
            if !list.closers.isEmpty {
                if configuration.mutant == .nonVotersSpeak || list.closers.allSatisfy({ closed.contains($0) }) { continue }
            }
            guard standings.left.count + standings.forgot >= quorum else { return .wait }
            isOpen = true
            let settled = standings.voted.lazy.map(\.voters).filter { $0.count >= quorum }
            for peers in settled.isEmpty ? [standings.left] : Array(settled) {
                // Fewer than Q of a list could be all that are asked of a smaller one later.
                if peers.contains(me), scheme.sealQuorum(of: list.voters.count) <= mayKeep {
                    isAll = false
                    continue
                }
                for peer in peers.prefix(quorum) where peer != me && !from.contains(peer) && told[peer]?.empty.contains(slot) != true {
                    from.append(peer)
                }
            }
        }
        if byEarlierVotes {
            for peer in witnesses where peer != me && !from.contains(peer) && told[peer]?.empty.contains(slot) != true { from.append(peer) }
            isOpen = isOpen || !witnesses.isEmpty
        }
        return isOpen ? .fetch(from, isAll: isAll) : .nobodyVoted
    }

    /// Whoever answered before this peer knew of a vote counts only when it has heard of that vote's clock, and is asked again. It may have taken
    /// this placement before others voted elsewhere, and be the only one that is left to tell that this peer voted after them.
    private mutating func dateVotes(_ slot: Slot) {
        let latest = lists[slot.index].lists.reduce(latestVotes[slot.index]) { max($0, $1.votedAt.max() ?? 0) }
        since = max(since, latest)
        // This is asked for each slot of each answer.
        guard leastSince < latest else { return }
        for peer in present {
            guard let told = told[peer], told.sealed.contains(slot), told.since > 0, told.since < latest else { continue }
            self.told.change(peer) { $0.sealed.remove(slot) }
            toAsk.insert(slot, for: peer)
        }
    }

    /// Whether the answers can be enough. Cheap: asked for each slot of each answer.
    private func mayBeEnough(_ slot: Slot) -> Bool {
        let latest = lists[slot.index].lists.reduce(0) { max($0, $1.since) }
        return lists[slot.index].lists.allSatisfy { list in
            !list.closers.isEmpty || (list.since != 0 && list.since < latest)
                || list.voters.count { $0 == me || told[$0]?.sealed.contains(slot) == true } >= quorum(list)
        }
    }

    private func quorum(_ list: VoterList) -> Int {
        configuration.mutant == .sealQuorumIsR ? min(scheme.readFrom, list.voters.count) : scheme.sealQuorum(of: list.voters.count)
    }

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

    // MARK: What was lost

    /// Asks the voters of slots that this peer knew, or votes on before others, whether they vote: then nobody needs what came before.
    mutating func query(_ effects: inout [Effect]) {
        guard queryAt.map({ $0 <= now }) ?? true else { return }
        queryAt = now + configuration.queryEvery
        timesQueried += 1
        var wanted = SortedMap<PeerID, SlotSet>()
        var lost = held
        lost.formUnion(listed)
        // Nobody waits for this peer to drop lists of slots that it votes on.
        lost.subtract(timesQueried % 4 == 0 ? silent : mine)
        lost.subtract(left)
        for slot in lost.slots {
            let voters = voters(slot)
            let silent = voters.filter { $0 != me && told[$0]?.voting.contains(slot) != true }
            if silent.isEmpty, !voters.isEmpty {
                if voting.contains(slot) { close(slot) } else { forget(slot, &effects) }
            }
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

    /// All vote: whoever is asked later has left this list, or one that came after.
    private mutating func close(_ slot: Slot) {
        lists[slot.index] = OpenLists()
        listed.remove(slot)
    }

    /// What this peer had is known to those that vote now. It names their list until it sees all vote in a later one, or votes itself: whoever
    /// asks it finds them, and who came after them.
    private mutating func forget(_ slot: Slot, _ effects: inout [Effect]) {
        close(slot)
        if configuration.mutant != .forgetsSuccessors {
            lists[slot.index] = OpenLists([VoterList(voters: voters(slot), since: since)])
            listed.insert(slot)
        }
        left.insert(slot)
        founded.insert(slot)
        guard held.contains(slot) else { return }
        held.remove(slot)
        forgottenAt[slot.index] = now.hlc
        effects.append(.forget(slot))
    }
}

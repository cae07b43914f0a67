/// Whether what those say that voted before is enough, and from whom to learn what they knew.
extension VoterMachine {
    enum Verdict {
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
    func verdict(_ slot: Slot) -> Verdict {
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
    mutating func dateVotes(_ slot: Slot) {
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
    func mayBeEnough(_ slot: Slot) -> Bool {
        let latest = lists[slot.index].lists.reduce(0) { max($0, $1.since) }
        return lists[slot.index].lists.allSatisfy { list in
            !list.closers.isEmpty || (list.since != 0 && list.since < latest)
                || list.voters.count { $0 == me || told[$0]?.sealed.contains(slot) == true } >= quorum(list)
        }
    }

    private func quorum(_ list: VoterList) -> Int {
        configuration.mutant == .sealQuorumIsR ? min(scheme.readFrom, list.voters.count) : scheme.sealQuorum(of: list.voters.count)
    }
}

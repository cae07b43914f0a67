/// Whoever becomes owner asks the former owners first: from their answers on they answer for the slot no more, and the clock of this peer
/// is above every stamp that they minted (`CONTRACT.md` §5.3, I38). The answers also tell who holds what.
extension ReplicaMachine {
    enum Asking: Hashable, Sendable {
        case at(Instant)
        case asked(CallID)
    }

    struct Claim: Sendable {
        var digest: UInt64
        var slots: SlotSet
        var since: Instant
        /// Those that have not answered.
        var waiting = SortedMap<PeerID, Asking>()
        /// Nobody has answered since the slots were looked at.
        var isSettled = false
        /// Somebody who is there did not answer in all the time.
        var isUnanswered = false
    }

    /// Adds slots to the claim under way, under the placement of now.
    mutating func beginClaim(_ slots: SlotSet, _ effects: inout [Effect]) {
        var slots = slots
        if let claim {
            // What is left of it goes on, as answers under the former placement say nothing any more.
            slots.formUnion(SlotSet(claim.slots.slots.filter { claiming.contains($0) || isWaiting($0) }))
            self.claim = nil
            for late in unheard.values { slots.formUnion(late.intersection(wanted)) }
        }
        if slots.isEmpty { return }
        toClaim.subtract(slots)
        var claim = Claim(digest: placement.digest, slots: slots, since: now)
        for peer in recipients(of: slots) { claim.waiting[peer] = .at(now) }
        self.claim = claim
    }

    /// Not complete, and nobody is being asked for it.
    private func isWaiting(_ slot: Slot) -> Bool {
        wanted.contains(slot) && contents[slot.index] != .complete && sourcesLeft[slot.index] == 0
    }

    /// In a large cluster those in whose lists the slots were or are.
    private func recipients(of slots: SlotSet) -> [PeerID] {
        if present.count <= Self.smallCluster { return present }
        var members = Set<UInt16>()  // asked for membership, never iterated
        for slot in slots.slots { for index in placement.peerIndices(of: slot, copies: Placement.ranksMax) { members.insert(index) } }
        return present.filter { peer in placement.index(of: peer).map { members.contains(UInt16(clamping: $0)) } ?? true }
    }

    mutating func claimAnswered(_ id: CallID, by peer: PeerID, _ answer: Answer, _ effects: inout [Effect]) {
        // An answer to an earlier claim says nothing of this one's slots.
        guard let slots = claim?.slots, claim?.waiting[peer] == .asked(id) else { return }
        switch answer {
        case .claimed(let answer):
            var merged = known[peer] ?? ClaimAnswer()
            merged.forget(slots)
            merged.add(answer.restricted(to: slots))
            known[peer] = merged
            for missed in answer.restricted(to: slots).missed { heardOfMisses(missed, &effects) }
            claim?.waiting[peer] = nil
            claim?.isSettled = false
            heardLate(peer, &effects)
        case .disagrees:
            effects.append(.synchronize(peer))
            claim?.waiting[peer] = .at(now + configuration.claimEvery)
        default: claim?.waiting[peer] = .at(now + configuration.claimEvery)
        }
    }

    /// Others' pages have been asked for already, and perhaps taken in. What it took in as owner after them counts as well.
    private mutating func heardLate(_ peer: PeerID, _ effects: inout [Effect]) {
        guard let late = unheard[peer], let answer = known[peer] else { return }
        unheard[peer] = nil
        let queued = SlotSet(sources[peer]?.rest ?? [])
        for slot in late.intersection(wanted).slots where !queued.contains(slot) && sourcesLeft[slot.index] < .max {
            guard answer.partial.contains(slot) || (answer.isWhole(slot) && isLastOwner(peer, of: slot)) else { continue }
            contents[slot.index] = .regaining
            sourcesLeft[slot.index] += 1
            enqueue(slot, from: peer)
            effects.append(.serve(slot, serving(slot)))
        }
    }

    /// None of the others that hold all that there is was owner after it, or with it.
    private func isLastOwner(_ peer: PeerID, of slot: Slot) -> Bool {
        let since = known[peer]?.owned(slot) ?? 0
        return zip(known.keys, known.values).allSatisfy { $0 == peer || !$1.isWhole(slot) || $1.owned(slot) < since }
    }

    mutating func advanceClaim(_ effects: inout [Effect]) {
        guard var claim else { return claimLacking(&effects) }
        let isOver = now - claim.since >= configuration.claimFor
        claim.waiting.removeAll { peer, _ in !present.contains(peer) }
        if isOver, !claim.waiting.isEmpty {
            claim.waiting = SortedMap()
            claim.isUnanswered = true
        }
        for (peer, next) in zip(claim.waiting.keys, claim.waiting.values) {
            guard case .at(let time) = next, time <= now else { continue }
            claim.waiting[peer] = .asked(ask(.claim(claim.slots, placement: claim.digest), .claim(peer), peer, &effects))
        }
        let isComplete = claim.waiting.isEmpty
        self.claim = claim
        guard isComplete || (now - claim.since >= configuration.claimTimeout && !claim.isSettled) else { return }
        self.claim?.isSettled = true
        var chosen = SlotSet()
        for slot in claim.slots.slots {
            let hadSources = sourcesLeft[slot.index] > 0
            settle(slot, isLast: isComplete, isUnanswered: claim.isUnanswered, &effects)
            if !hadSources, sourcesLeft[slot.index] > 0 { chosen.insert(slot) }
        }
        if isComplete { return (self.claim, unheard) = (nil, SortedMap()) }
        for peer in claim.waiting.keys {
            var others = chosen
            others.subtract(SlotSet(sources[peer]?.rest ?? []))
            unheard.insert(others, for: peer)
        }
    }

    /// The former owners have answered, or had the time to.
    private mutating func settle(_ slot: Slot, isLast: Bool, isUnanswered: Bool, _ effects: inout [Effect]) {
        let wasClaiming = claiming.contains(slot)
        claiming.remove(slot)
        // Answers of before this peer heard that it missed something do not say who has that.
        if isWaiting(slot), !toClaim.contains(slot) { chooseSources(slot, isLast: isLast, isUnanswered: isUnanswered, &effects) }
        if wasClaiming {
            effects.append(.serve(slot, serving(slot)))
            // From now on it takes writes, whatever it still has to fetch.
            if placement.owner(of: slot) == me, contents[slot.index] != .absent { owned.insert(slot, since: now.hlc) }
            checkCopies(of: slot)
        }
    }

    /// An owner that holds all that there is compares it with the copies soon.
    mutating func checkCopies(of slot: Slot) {
        guard placement.owner(of: slot) == me, contents[slot.index] == .complete, !claiming.contains(slot) else { return }
        for peer in placement.peers(of: slot, copies: copiesMax) { check(slot, at: peer) }
    }
}

/// Writes that an owner could not send to a copy. The copy is told of their slots: from then on what it holds of them is doubtful, until it has
/// fetched them anew. So it never answers with what such a write replaced, whoever owns the slot next and whoever is gone by then. Until the
/// copy knows, claims tell it (`CONTRACT.md` §5.1, §10).
extension ReplicaMachine {
    // MARK: As owner

    /// A holder has missed a write. If it is a voter of strict caches the slot is compared soon. O(log members).
    package mutating func markDirty(_ slot: Slot, at peer: PeerID) {
        guard peer != me, present.contains(peer) else { return }
        missed.insert(slot, for: peer)
        check(slot, at: peer)
    }

    /// Holders, and the slots of which they missed a write and do not know it yet.
    var untold: SortedMap<PeerID, SlotSet> {
        var untold = missed
        for call in calls.values {  // each by itself: the order does not matter
            if case .missed(let peer, let slots) = call { untold.insert(slots, for: peer) }
        }
        return untold
    }

    /// What a claimer must know, its own first: there may not be room for all.
    func untold(of slots: SlotSet, to asker: PeerID) -> [MissedWrites] {
        let untold = untold
        var told: [MissedWrites] = []
        for (peer, missed) in zip(untold.keys, untold.values) {
            let missed = MissedWrites(peer: peer, slots: missed.intersection(slots))
            if !missed.slots.isEmpty { told.insert(missed, at: peer == asker ? 0 : told.count) }
        }
        return Array(told.prefix(MissedWrites.countMax))
    }

    mutating func tellOfMisses(_ effects: inout [Effect]) {
        guard !missed.isEmpty, tellAt.map({ $0 <= now }) ?? true else { return }
        tellAt = now + configuration.retryAfter
        for peer in missed.keys {
            // Also one that is no copy any more: it may be asked for what it still keeps.
            guard let slots = missed[peer] else { continue }
            missed[peer] = nil
            _ = ask(.missed(slots, placement: placement.digest), .missed(peer, slots), peer, &effects)
        }
    }

    mutating func missesTold(to peer: PeerID, _ slots: SlotSet, _ answer: Answer) {
        if case .claimed = answer { return tellsAnswered += 1 }
        for slot in slots.slots { markDirty(slot, at: peer) }
    }

    // MARK: As copy

    /// Another peer wrote to these slots what this one may not have.
    mutating func heardOfMisses(_ slots: SlotSet, _ effects: inout [Effect]) {
        doubt(slots, &effects)
        toClaim.formUnion(slots.intersection(wanted))
    }

    /// A former owner says with its answer to a claim which copies missed something.
    mutating func heardOfMisses(_ missed: MissedWrites, _ effects: inout [Effect]) {
        // The claim that is under way chooses sources for them.
        if missed.peer == me { return doubt(missed.slots, &effects) }
        for slot in missed.slots.slots where placement.owner(of: slot) == me { markDirty(slot, at: missed.peer) }
    }

    /// What is held of these slots may be outdated, and what was fetched of them does not count.
    private mutating func doubt(_ slots: SlotSet, _ effects: inout [Effect]) {
        stopFetching(slots)
        offered.updateAll { _, offered in offered.subtract(slots) }
        for slot in slots.slots where contents[slot.index] != .absent {
            contents[slot.index] = .regaining
            lacking.insert(slot)
            askedAgain.remove(slot)
            gatheringSince[slot.index] = now.hlc
            effects.append(.serve(slot, serving(slot)))
        }
    }

    /// One claim after another, and not for each of many misses: those that come now do not hold up what is under way.
    mutating func claimLacking(_ effects: inout [Effect]) {
        guard !toClaim.isEmpty, claimLackingAt.map({ $0 <= now }) ?? true else { return }
        claimLackingAt = now + configuration.retryAfter
        let slots = toClaim.intersection(wanted)
        toClaim = SlotSet()
        beginClaim(slots, &effects)
        if claim != nil { advanceClaim(&effects) }
    }
}

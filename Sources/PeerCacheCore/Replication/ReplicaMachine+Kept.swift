/// Keeping lost slots until their new owner has them.
extension ReplicaMachine {
    /// Slots that this peer does not hold any more, for all or for some caches.
    struct Kept: Sendable {
        var since: Instant
        /// There is a new owner, who is asked whether it has them.
        var isOwed: Bool
        var slots = SlotSet()
    }

    /// Slots that are kept for others. What is still fetched of them is taken in for all caches: their new owners are told that all is here.
    package var keptForOthers: SlotSet { kept.reduce(into: unneeded) { $0.formUnion($1.slots) } }

    /// Whether caches of all numbers of copies have this peer in the slot's list.
    package func isHolderForAll(_ slot: Slot) -> Bool { rank(slot, placement, placement.index(of: me)) < copies.first ?? 0 }

    /// Take note of an answer to a claim.
    package mutating func offer(_ answer: ClaimAnswer, to asker: PeerID) {
        offered.insert(answer.complete, for: asker)
        offered.insert(answer.partial, for: asker)
    }

    /// Slots of which the peer may have pages. Of one that was let go and gained anew a page would look as if there were nothing.
    package func offered(to asker: PeerID) -> SlotSet { offered[asker] ?? SlotSet() }

    /// The slot is held again: nothing is given away.
    mutating func release(_ slot: Slot) {
        for position in kept.indices { kept[position].slots.remove(slot) }
        unneeded.remove(slot)
    }

    /// The owner of these slots has answered what it holds of them.
    mutating func ownerAnswered(_ peer: PeerID, _ answer: Answer) {
        guard case .claimed(let answer) = answer else { return }
        // It does not know yet that it does not hold all.
        let untold = untold[peer] ?? SlotSet(), owned = answer.owned.reduce(into: SlotSet()) { $0.formUnion($1.slots) }
        for position in kept.indices where kept[position].isOwed {
            // While it claims the slot it is a copy that the next placement may pass over; whom to ask then only this peer knows.
            var complete = kept[position].slots.intersection(answer.complete).intersection(owned)
            complete.subtract(untold)
            for slot in complete.slots where placement.owner(of: slot) == peer {
                kept[position].slots.remove(slot)
                unneeded.insert(slot)
            }
        }
    }

    mutating func advanceKept(_ effects: inout [Effect]) {
        for position in kept.indices {
            let limit = kept[position].isOwed ? configuration.keepAtMost : configuration.keepFor
            guard now - kept[position].since >= limit else { continue }
            unneeded.formUnion(kept[position].slots)
            kept[position].slots = SlotSet()
        }
        kept.removeAll { $0.slots.isEmpty }
        if !unneeded.isEmpty {
            // Some at a time: forgetting takes as long as there are entries, and others wait for this machine.
            for slot in unneeded.slots.prefix(Self.letGoMax) {
                unneeded.remove(slot)
                letGo(slot, &effects)
            }
        }
        guard !kept.isEmpty, askOwnersAt.map({ $0 <= now }) ?? true else { return }
        askOwnersAt = now + configuration.askOwnersEvery
        var slots = SortedMap<PeerID, SlotSet>()
        for batch in kept where batch.isOwed {
            for slot in batch.slots.slots {
                if let owner = placement.owner(of: slot), present.contains(owner) { slots.insert(slot, for: owner) }
            }
        }
        for (owner, slots) in zip(slots.keys, slots.values) {
            let call = Call.status(owner, placement: placement.digest, tells: tellsAnswered)
            _ = ask(.claim(slots, placement: placement.digest), call, owner, &effects)
        }
    }

    private static let letGoMax = 256

    /// What was kept while nobody held slots has been written without this peer since.
    mutating func letGoOfUnneeded() {
        for batch in kept where !batch.isOwed { unneeded.formUnion(batch.slots) }
        kept.removeAll { !$0.isOwed }
        // At most so many placements' losses are kept apart.
        while kept.count > 32 { unneeded.formUnion(kept.removeFirst().slots) }
    }

    private mutating func letGo(_ slot: Slot, _ effects: inout [Effect]) {
        let rank = rank(slot, placement, placement.index(of: me))
        if rank > 0 { owned.remove(slot) }
        offered.updateAll { _, slots in slots.remove(slot) }
        for position in kept.indices { kept[position].slots.remove(slot) }
        if rank < copiesMax {
            lackingCopies[slot.index] = max(lackingCopies[slot.index], UInt8(clamping: rank))
            effects.append(.release(slot, rank: rank))
        } else {
            contents[slot.index] = .absent
            lacking.remove(slot)
            effects.append(.forget(slot))
        }
    }
}

/// Slots that this peer lost: it keeps what it had until their new voters all vote.
extension VoterMachine {
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

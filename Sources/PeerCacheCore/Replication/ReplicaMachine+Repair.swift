/// Anti-entropy: the owner compares digests of its slots with each copy, and each voter with those behind it in the list, looks again at what
/// differs, and repairs what still does (`CONTRACT.md` §10).
extension ReplicaMachine {
    /// A bucket that differed once.
    struct Suspect: Sendable {
        var peer: PeerID
        var bucket: BucketIndex
        var dueAt: Instant
        /// It differed twice.
        var isCertain = false
    }

    /// The slot of a holder may differ, though nothing is known of it.
    mutating func check(_ slot: Slot, at peer: PeerID) {
        guard peer != me, present.contains(peer) else { return }
        unchecked.insert(slot, for: peer)
    }

    mutating func check(_ buckets: [BucketIndex], at peer: PeerID) {
        for bucket in buckets { if let slot = Slot(index: bucket.slot) { check(slot, at: peer) } }
    }

    mutating func advanceRepair(_ effects: inout [Effect]) {
        repairCertain(&effects)
        if let repairAt, now < repairAt { return }
        repairAt = now + configuration.repairEvery
        guard max(copiesMax, voters) > 1, !present.isEmpty else { return }
        lookAgain(&effects)
        var wanted = takeUnchecked()
        for slot in nextSlots() {
            for peer in partners(of: slot) where present.contains(peer) { wanted.insert(slot, for: peer) }
        }
        for (peer, slots) in zip(wanted.keys, wanted.values) {
            let all = slots.slots
            for start in stride(from: 0, to: all.count, by: PullRequest.slotsMax) {
                let buckets = all[start..<min(all.count, start + PullRequest.slotsMax)].flatMap { BucketIndex.all(of: $0) }
                _ = ask(.compare(buckets), .compare(peer, buckets, isSecond: false), peer, &effects)
            }
        }
    }

    /// Slots of each peer that are compared at once.
    private static let comparesMax = 1_024

    /// Takes out what is to be compared now, without what is not held by both any more.
    private mutating func takeUnchecked() -> SortedMap<PeerID, SlotSet> {
        var wanted = SortedMap<PeerID, SlotSet>()
        for peer in unchecked.keys {
            guard var slots = unchecked[peer] else { continue }
            let part = SlotSet(slots.slots.prefix(Self.comparesMax))
            slots.subtract(part)
            unchecked[peer] = slots.isEmpty ? nil : slots
            wanted[peer] = SlotSet(part.slots.filter { isHolder(peer, $0) })
        }
        return wanted
    }

    private func isHolder(_ peer: PeerID, _ slot: Slot) -> Bool {
        let list = placement.peers(of: slot, copies: voters)
        return (contents[slot.index] == .complete && placement.peers(of: slot, copies: copiesMax).contains(peer))
            || (list.contains(me) && list.contains(peer))
    }

    /// Whom this peer compares a slot with when its turn comes. Who does not vote yet compares nothing: the shell sees to that.
    private func partners(of slot: Slot) -> [PeerID] {
        let list = placement.peers(of: slot, copies: voters)
        let behind = list.firstIndex(of: me).map { Array(list[($0 + 1)...]) } ?? []
        guard placement.owner(of: slot) == me, contents[slot.index] == .complete, !claiming.contains(slot) else { return behind }
        return behind + placement.peers(of: slot, copies: copiesMax).filter { $0 != me }
    }

    /// The next slots, so many that all had their turn within a cycle.
    private mutating func nextSlots() -> [Slot] {
        let rounds = max(1, configuration.repairCycle.nanosecondsSaturating / max(1, configuration.repairEvery.nanosecondsSaturating))
        let steps = min(Slot.count, (Slot.count + Int(clamping: rounds) - 1) / Int(clamping: rounds))
        defer { repairHand = (repairHand + steps) % Slot.count }
        return (0..<steps).compactMap { Slot(index: (repairHand + $0) % Slot.count) }
    }

    mutating func compared(_ buckets: [BucketIndex], with peer: PeerID, isSecond: Bool, _ answer: Answer) {
        guard case .differ(let found) = answer else {
            // Nobody knows: once more later.
            return check(buckets, at: peer)
        }
        let asked = Set(buckets)  // asked for membership, never iterated
        for bucket in found where asked.contains(bucket) {
            guard suspects.count < configuration.suspectsMax else {
                check([bucket], at: peer)
                continue
            }
            suspects.append(Suspect(peer: peer, bucket: bucket, dueAt: now + configuration.secondLook, isCertain: isSecond))
        }
    }

    private mutating func lookAgain(_ effects: inout [Effect]) {
        var due = SortedMap<PeerID, [BucketIndex]>()
        for suspect in suspects where !suspect.isCertain && suspect.dueAt <= now {
            if due.change(suspect.peer, { $0.append(suspect.bucket) }) == nil { due[suspect.peer] = [suspect.bucket] }
        }
        let time = now
        suspects.removeAll { !$0.isCertain && $0.dueAt <= time }
        for (peer, buckets) in zip(due.keys, due.values) where present.contains(peer) {
            for start in stride(from: 0, to: buckets.count, by: BucketSummary.countMax) {
                let part = Array(buckets[start..<min(buckets.count, start + BucketSummary.countMax)])
                _ = ask(.compare(part), .compare(peer, part, isSecond: true), peer, &effects)
            }
        }
    }

    private mutating func repairCertain(_ effects: inout [Effect]) {
        while repairsRunning < configuration.repairsMax, allowance > 0, let position = suspects.firstIndex(where: \.isCertain) {
            let suspect = suspects.remove(at: position)
            guard present.contains(suspect.peer) else { continue }
            repairsRunning += 1
            _ = ask(.repair(suspect.bucket), .repair(suspect.peer, suspect.bucket), suspect.peer, &effects)
        }
    }
}

extension SortedMap<PeerID, SlotSet> {
    /// In place: a set of slots is 2 KiB, and there are many slots.
    mutating func insert(_ slot: Slot, for peer: PeerID) {
        if change(peer, { $0.insert(slot) }) == nil { self[peer] = SlotSet([slot]) }
    }

    mutating func insert(_ slots: SlotSet, for peer: PeerID) {
        if change(peer, { $0.formUnion(slots) }) == nil { self[peer] = slots }
    }
}

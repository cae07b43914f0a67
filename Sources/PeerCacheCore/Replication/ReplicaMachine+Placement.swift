/// What a new placement means for each slot.
extension ReplicaMachine {
    /// This peer's place in the slot's list; above every number of copies when it has none.
    func rank(_ slot: Slot, _ placement: Placement, _ index: Int?) -> Int {
        guard let index else { return .max }
        let list = placement.peerIndices(of: slot, copies: Placement.ranksMax)
        return list.firstIndex(of: UInt16(clamping: index)).map { $0 - list.startIndex } ?? .max
    }

    var copiesMax: Int { copies.last ?? 0 }

    mutating func replace(_ next: Placement, _ present: [PeerID], _ copies: [Int], _ effects: inout [Effect]) {
        let before = placement, beforeCopies = self.copies
        placement = next
        self.present = present
        self.copies = copies.sorted()
        // What a source said is looked at once more when it is given up.
        let sources = sources
        known.removeAll { peer, _ in !present.contains(peer) && sources[peer] == nil }
        missed.removeAll { peer, _ in !present.contains(peer) }
        unchecked.removeAll { peer, _ in !present.contains(peer) }
        unheard.removeAll { peer, _ in !present.contains(peer) }
        offered.removeAll { peer, _ in !present.contains(peer) && next.index(of: peer) == nil }
        letGoOfUnneeded()
        let mine = (before.index(of: me), next.index(of: me))
        // Whoever meets others for the first time has owned everything on its own, and so may they; or who was on another side meanwhile. Who
        // has started with others and meets its elders now has found what they hold under another placement.
        let meetsElders = meetsElders(before, next)
        let meets =
            (before.members.count <= 1 && next.members.count > 1) || vanished.contains { next.index(of: $0) != nil } || meetsElders
        noteVanished(before, next, present)
        let isAlone = present.isEmpty
        var claimed = SlotSet(), stopped = SlotSet(), lost = Kept(since: now, isOwed: false), owed = Kept(since: now, isOwed: true)
        for index in 0..<Slot.count {
            guard let slot = Slot(index: index) else { continue }
            let old = rank(slot, before, mine.0), new = rank(slot, next, mine.1), wasClaiming = claiming.contains(slot)
            // A cache that is registered late starts without what others hold of it, where the slot is held already.
            let wasHeld = old < beforeCopies.last ?? 0
            let entering = copies.filter { new < $0 && !(old < $0 && (wasHeld || beforeCopies.contains($0))) }, enters = !entering.isEmpty
            let leaves = beforeCopies.contains { old < $0 && !(copies.contains($0) && new < $0) }
            // Another owner may be asked too early, too.
            if before.owner(of: slot) != next.owner(of: slot) { askedAgain.remove(slot) }
            if new < copiesMax { wanted.insert(slot) } else { wanted.remove(slot) }
            // Whoever has owned it apart from the others was not the last owner among them, however late that was.
            if meets, !lacking.contains(slot) { owned.remove(slot) }
            if enters || (meets && new < copiesMax) {
                stopped.insert(slot)
                askedAgain.remove(slot)
                sourceless.remove(slot)
                // What has not been let go is here, with what was dropped of it.
                let absent = entering.filter { $0 <= lackingCopies[index] || !beforeCopies.contains($0) }
                if contents[index] == .absent {
                    effects.append(.adopt(slot))
                } else if !absent.isEmpty {
                    effects.append(.enter(slot, copies: absent))
                }
                if contents[index] == .absent || !absent.isEmpty { lackingCopies[index] = UInt8(clamping: new) }
                // Entries of before, without what was written elsewhere meanwhile.
                gatheringSince[index] = now.hlc
                let isWhole = isAlone && !lacking.contains(slot)
                contents[index] = isWhole ? .complete : contents[index] == .absent ? .gaining : .regaining
                release(slot)
                if !isWhole { claimed.insert(slot) }
            }
            if leaves || (old == 0 && new != 0), contents[index] != .absent {
                if new >= copiesMax { stopped.insert(slot) }
                if kept.contains(where: { $0.slots.contains(slot) }) {
                    // Somebody is still to fetch it.
                } else if next.isEmpty {
                    lost.slots.insert(slot)
                } else {
                    unneeded.remove(slot)
                    owed.slots.insert(slot)
                }
            }
            if contents[index] == .absent { owned.remove(slot) }
            if new == 0 {
                release(slot)
                if !isAlone, old != 0 || meets {
                    claimed.insert(slot)
                    claiming.insert(slot)
                } else if isAlone {
                    claiming.remove(slot)
                    owned.insert(slot, since: now.hlc)
                } else if enters, !claiming.contains(slot) {
                    // The first cache that has it here: the slot was this peer's before.
                    owned.insert(slot, since: now.hlc)
                }
            } else if claiming.contains(slot) {
                claiming.remove(slot)
            }
            if old != new || enters || meets || (wasClaiming && !claiming.contains(slot)) { effects.append(.serve(slot, serving(slot))) }
        }
        for batch in [lost, owed] where !batch.slots.isEmpty { kept.append(batch) }
        stopFetching(stopped)
        dropSourcesThatWent(&effects)
        beginClaim(claimed, &effects)
    }

    /// Who has been with elders of these has what they held: a newcomer that found others later than this peer asks, whoever began first.
    private mutating func meetsElders(_ before: Placement, _ next: Placement) -> Bool {
        let eldest = eldest ?? .max
        self.eldest = next.members.reduce(eldest) { $1.started > 0 ? min($0, $1.started) : $0 }
        // Not for ever, or a newcomer with a wrong clock could cast doubt on what all have.
        guard let mine = next.index(of: me), let started = next.members.dropFirst(mine).first?.started,
            (now.hlc >> 16) - min(started >> 16, now.hlc >> 16) < UInt64(configuration.youngFor.millisecondsRoundedUp)
        else { return false }
        return next.members.contains { $0.started > 0 && $0.started < min(started, eldest) && before.index(of: $0.id) == nil }
    }

    /// Members that went without leaving may be back, with what was written where they were.
    private mutating func noteVanished(_ before: Placement, _ next: Placement, _ present: [PeerID]) {
        vanished.removeAll { next.index(of: $0) != nil }
        if next.isEmpty { return }
        let there = Set(present)  // asked for membership, never iterated
        vanished += before.members.map(\.id).filter { $0 != me && next.index(of: $0) == nil && !there.contains($0) }
        vanished.removeFirst(max(0, vanished.count - Self.vanishedMax))
    }

    func serving(_ slot: Slot) -> Serving {
        if claiming.contains(slot) { return .claiming }
        if !wanted.contains(slot), contents[slot.index] != .absent { return .kept }
        switch contents[slot.index] {
        case .absent, .complete: return .open
        case .gaining: return .warming
        case .regaining: return .doubtful
        }
    }

    /// Everything held may be outdated, and nothing is anybody's but as a candidate.
    mutating func returned(_ effects: inout [Effect]) {
        guard !present.isEmpty else { return }
        var claimed = SlotSet()
        (sources, unheard, askedAgain, sourceless) = (SortedMap(), SortedMap(), SlotSet(), SlotSet())
        sourcesLeft = [UInt8](repeating: 0, count: Slot.count)
        for slot in wanted.slots {
            contents[slot.index] = .regaining
            gatheringSince[slot.index] = now.hlc
            claimed.insert(slot)
            if placement.owner(of: slot) == me { claiming.insert(slot) }
            effects.append(.serve(slot, serving(slot)))
        }
        (owned, offered) = ([], SortedMap())
        beginClaim(claimed, &effects)
    }
}

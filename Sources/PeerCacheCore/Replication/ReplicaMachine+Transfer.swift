/// Fetching what other holders have of the slots gained, a page at a time.
extension ReplicaMachine {
    /// One source that holds everything, preferably the last owner, and all that hold something newer than it perhaps.
    mutating func chooseSources(_ slot: Slot, isLast: Bool, isUnanswered: Bool, _ effects: inout [Effect]) {
        if mayHaveMissedOwner(slot) {
            if isLast {
                askedAgain.insert(slot)
                toClaim.insert(slot)
            }
            return
        }
        let chosen = holders(of: slot)
        merged.remove(slot)
        mergedWhole.remove(slot)
        if chosen.isEmpty {
            // All say that they have nothing: what is here is all there is.
            if isLast, !isUnanswered, !lacking.contains(slot), !sourceless.contains(slot) { merged.insert(slot) }
            if isLast { complete(slot, &effects) }
            return
        }
        if chosen.count > 1, contents[slot.index] == .gaining {
            // What one of them dropped, another may still hold.
            contents[slot.index] = .regaining
            effects.append(.serve(slot, serving(slot)))
        }
        sourcesLeft[slot.index] = UInt8(clamping: chosen.count)
        for peer in chosen.prefix(Int(UInt8.max)) { enqueue(slot, from: peer) }
    }

    /// Nobody says that it has all that there is. The owner may have got it since it was asked, and the former holders have let go before they
    /// were, as when several join at once. An owner that is asked after they have answered tells.
    private func mayHaveMissedOwner(_ slot: Slot) -> Bool {
        hasOtherOwner(slot) && !askedAgain.contains(slot) && wholeHolder(of: slot) == nil
    }

    private func hasOtherOwner(_ slot: Slot) -> Bool { placement.owner(of: slot).map { $0 != me && present.contains($0) } ?? false }

    mutating func enqueue(_ slot: Slot, from peer: PeerID) {
        if sources.change(peer, { $0.append(slot) }) != nil { return }
        var source = SlotQueue()
        source.append(slot)
        sources[peer] = source
    }

    mutating func pulled(_ id: CallID, from peer: PeerID, _ request: PullRequest, _ answer: Answer, _ effects: inout [Effect]) {
        if case .pulled(_, _, let bytes) = answer { allowance -= bytes }
        guard sources[peer]?.call == id else { return }
        sources.change(peer) { $0.call = nil }
        if case .notHeld = answer, let slot = request.slots.first { return lacks(slot, peer, &effects) }
        guard case .pulled(let count, let next, _) = answer, count > 0 || next > request.bucket, count <= request.slots.count else {
            sources.change(peer) { $0.retryAt = now + configuration.retryAfter }
            return
        }
        sources.change(peer) { source in
            source.finish(request.slots, count: count, next: next)
        }
        for slot in request.slots.prefix(count) {
            // Who does not hold all may lack the same.
            if !lacking.contains(slot) || known[peer]?.complete.contains(slot) == true { merged.insert(slot) }
            if known[peer]?.isWhole(slot) == true { mergedWhole.insert(slot) }
            sourceIsDone(slot, &effects)
        }
    }

    private mutating func sourceIsDone(_ slot: Slot, _ effects: inout [Effect]) {
        guard sourcesLeft[slot.index] > 0 else { return }
        sourcesLeft[slot.index] -= 1
        if sourcesLeft[slot.index] == 0 { complete(slot, &effects) }
    }

    private mutating func complete(_ slot: Slot, _ effects: inout [Effect]) {
        if contents[slot.index] == .regaining, !merged.contains(slot) {
            // Nobody could say what of it is still true.
            effects.append(.drop(slot, olderThan: gatheringSince[slot.index]))
        }
        contents[slot.index] = .complete
        lacking.remove(slot)
        askedAgain.remove(slot)
        sourceless.remove(slot)
        effects.append(.serve(slot, serving(slot)))
        checkCopies(of: slot)
    }

    /// The source has let the slot go. It is asked what it still holds of the others: a page ends at each slot that it does not.
    private mutating func lacks(_ slot: Slot, _ peer: PeerID, _ effects: inout [Effect]) {
        lacks(SlotSet([slot]), peer, &effects)
        guard let source = sources[peer], !source.rest.isEmpty, source.asksRestAt.map({ $0 <= now }) ?? true else { return }
        let rest = SlotSet(source.rest)
        let id = ask(.claim(rest, placement: placement.digest), .rest(peer, rest), peer, &effects)
        sources.change(peer) { $0.call = id }
    }

    mutating func restAnswered(_ id: CallID, by peer: PeerID, _ asked: SlotSet, _ answer: Answer, _ effects: inout [Effect]) {
        guard let source = sources[peer], source.call == id else { return }
        sources.change(peer) { $0.call = nil }
        guard case .claimed(let answer) = answer else {
            // Pages still tell, one slot after another.
            sources.change(peer) { $0.asksRestAt = now + configuration.retryAfter }
            if case .disagrees = answer { effects.append(.synchronize(peer)) }
            return
        }
        // Some may have been added since.
        var gone = SlotSet(source.rest).intersection(asked)
        gone.subtract(answer.complete)
        gone.subtract(answer.partial)
        lacks(gone, peer, &effects)
        // What was let go and gained anew is not whole any more.
        let rest = SlotSet(sources[peer]?.rest ?? []).intersection(asked), said = known[peer]
        claimAgain(SlotSet(rest.slots.filter { said?.isWhole($0) == true && !answer.isWhole($0) && hasOtherOwner($0) }))
    }

    private mutating func lacks(_ slots: SlotSet, _ peer: PeerID, _ effects: inout [Effect]) {
        let said = known[peer]
        sources.change(peer) { $0.remove(slots) }
        known.change(peer) { $0.forget(slots) }
        replaceSource(of: slots, that: said, &effects)
    }

    private mutating func giveUp(_ peer: PeerID, _ effects: inout [Effect]) {
        guard let source = sources[peer] else { return }
        let said = known[peer]
        sources[peer] = nil
        known[peer] = nil
        replaceSource(of: SlotSet(source.rest), that: said, &effects)
    }

    /// Of what has all that the source was to give: another one that holds all, or the owner, which may have got it by now. That is when others
    /// let go, and end when they leave. Else the rest must do.
    /// - Parameter said: what the source held by its last answer. What it took as owner, and others did not, only the next owner has.
    private mutating func replaceSource(of slots: SlotSet, that said: ClaimAnswer?, _ effects: inout [Effect]) {
        // There may be thousands, here and there.
        var waiting = SortedMap<PeerID, SlotSet>(), again = SlotSet()
        for slot in slots.slots {
            let wasWhole = said?.isWhole(slot) ?? false, other = wholeHolder(of: slot)
            let isNeeded = wasWhole ? other == nil && !mergedWhole.contains(slot) : said != nil
            if isNeeded, hasOtherOwner(slot) {
                again.insert(slot)
                continue
            }
            guard let other else {
                sourceIsDone(slot, &effects)
                continue
            }
            if waiting[other] == nil { waiting[other] = SlotSet(sources[other]?.rest ?? []) }
            if waiting.change(other, { $0.contains(slot) }) == true {
                sourceIsDone(slot, &effects)
            } else {
                enqueue(slot, from: other)
            }
        }
        claimAgain(again)
    }

    private mutating func claimAgain(_ slots: SlotSet) {
        if slots.isEmpty { return }
        stopFetching(slots)
        toClaim.formUnion(slots)
        sourceless.formUnion(slots)
    }

    mutating func dropSourcesThatWent(_ effects: inout [Effect]) {
        for peer in sources.keys where !present.contains(peer) { giveUp(peer, &effects) }
    }

    /// What was fetched of these slots does not count, or they were lost again before they were complete.
    mutating func stopFetching(_ slots: SlotSet) {
        unheard.updateAll { _, late in late.subtract(slots) }
        let calls = calls
        sources.updateAll { _, source in
            // Pages of other slots go on: a source may be asked for many.
            var keepsCall = false
            if let id = source.call, case .pull(_, let request) = calls[id] { keepsCall = !request.slots.contains { slots.contains($0) } }
            source.remove(slots, keepsCall: keepsCall)
        }
        for slot in slots.slots { sourcesLeft[slot.index] = 0 }
    }

    mutating func advanceTransfers(_ effects: inout [Effect]) {
        refill()
        sources.removeAll { _, source in source.rest.isEmpty && source.call == nil }
        for peer in sources.keys {
            guard allowance > 0, let source = sources[peer], source.call == nil, source.retryAt.map({ $0 <= now }) ?? true,
                let first = source.rest.first
            else { continue }
            let kind = pageKind(first, of: peer)
            let slots = source.rest.prefix(PullRequest.slotsMax).prefix { pageKind($0, of: peer) == kind }
            let request = PullRequest(slots: Array(slots), bucket: source.bucket)
            let id = ask(.pull(request, kind), .pull(peer, request), peer, &effects)
            sources.change(peer) { $0.call = id }
        }
        if sources.isEmpty, claim == nil { known = SortedMap() }
    }

    private func pageKind(_ slot: Slot, of peer: PeerID) -> PageKind {
        let answer = known[peer] ?? ClaimAnswer()
        return PageKind(isDoubtful: contents[slot.index] == .regaining, speaksForAll: answer.isWhole(slot) || answer.owned(slot) > 0)
    }

    private mutating func refill() {
        defer { allowanceAt = now }
        guard let before = allowanceAt else { return }
        let gained = Double(configuration.transferBytesPerSecond) * Double((now - before).nanosecondsSaturating) / 1e9
        allowance = min(configuration.transferBytesPerSecond / 10, allowance + Int(min(gained, 1e12)))
    }
}

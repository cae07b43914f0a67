/// Fetching what those that voted before know of a slot, each of them in turn (`merge` of `CONTRACT.md` §4).
extension VoterMachine {
    /// Votes when all of these have been merged.
    mutating func fetch(_ slot: Slot, from peers: [PeerID], _ effects: inout [Effect]) {
        if peers.isEmpty { return vote(slot) }
        let peers = configuration.mutant == .syncFromOne ? Array(peers.prefix(1)) : peers
        sourcesLeft[slot.index] = UInt8(clamping: peers.count)
        for peer in peers {
            if sources.change(peer, { $0.append(slot) }) == nil {
                var queue = SlotQueue()
                queue.append(slot)
                sources[peer] = queue
            }
        }
    }

    mutating func stopFetching(_ slots: SlotSet) {
        for slot in slots.slots { sourcesLeft[slot.index] = 0 }
        sources.updateAll { _, queue in queue.remove(slots) }
    }

    mutating func fetch(_ effects: inout [Effect]) {
        sources.removeAll { _, queue in queue.rest.isEmpty && queue.call == nil }
        for peer in sources.keys {
            guard let queue = sources[peer], queue.call == nil, queue.retryAt.map({ $0 <= now }) ?? true, !queue.rest.isEmpty else {
                continue
            }
            let request = PullRequest(slots: Array(queue.rest.prefix(PullRequest.slotsMax)), bucket: queue.bucket)
            call(.pull(request), .pull(peer, request), peer, &effects)
            let id = lastCall
            sources.change(peer) { $0.call = id }
        }
    }

    mutating func pulled(_ id: CallID, from peer: PeerID, _ request: PullRequest, _ answer: Answer, _ effects: inout [Effect]) {
        guard sources[peer]?.call == id else { return }
        sources.change(peer) { $0.call = nil }
        guard case .pulled(let count, let next, _) = answer, count > 0 || next > request.bucket, count <= request.slots.count else {
            sources.change(peer) { $0.retryAt = now + configuration.retryAfter }
            return
        }
        sources.change(peer) { $0.finish(request.slots, count: count, next: next) }
        for slot in request.slots.prefix(count) where sourcesLeft[slot.index] > 0 {
            sourcesLeft[slot.index] -= 1
            if sourcesLeft[slot.index] == 0 { vote(slot) }
        }
    }
}

/// Decides when this peer may vote on its slots of strict caches (`CONTRACT.md` §6.3): after a change of the placement only when enough of
/// those that voted before have left their lists, so that nobody reads or writes there any more, and when what they knew is here.
///
/// A pure state machine: it reads no clock and touches neither store nor network. One per peer and ``QuorumScheme``. After the
/// reconfiguration of Viewstamped Replication (Liskov and Cowling, 2012), for each slot by itself and without a leader.
package struct VoterMachine: Sendable {
    package let scheme: QuorumScheme
    let me: PeerID
    let configuration: VoterConfiguration

    package internal(set) var placement = Placement.empty
    /// Clock at which the placement was taken.
    var entered: UInt64 = 0
    /// That clock, or a later one at which somebody voted under a former placement, as those know that may vote now.
    var since: UInt64 = 0
    /// Clock of the last vote under the placement.
    var votedAt: UInt64 = 0
    var enteredAt = Instant.zero
    var present: [PeerID] = []
    /// Slots in whose lists this peer is.
    package internal(set) var mine = SlotSet()
    /// Slots on which it votes.
    package internal(set) var voting = SlotSet()
    /// Slots on which somebody votes under the placement of now, or may.
    var mayBeOpen = SlotSet()
    /// Lists of former placements that may still have voters. Of slots on which this peer votes, those that it saw closed: whoever comes late
    /// has to hear of them, until all voters vote.
    var lists: [OpenLists]
    /// Slots on which this peer votes, having fetched all that anybody knew.
    var knowing = SlotSet()
    /// Slots with such lists.
    var listed = SlotSet()
    /// Slots of other peers, all of which vote, as this peer has seen.
    var left = SlotSet()
    /// Slots of which something is held.
    package internal(set) var held = SlotSet()
    /// Clock at which what was held was forgotten; 0: never.
    var forgottenAt: [UInt64]
    /// Slots on which somebody has voted under a former placement, as far as this peer knows.
    var founded = SlotSet()
    /// Slots on which this peer votes because nobody ever had.
    var founding = SlotSet()

    // What the others say under the placement of now.
    var told = SortedMap<PeerID, Told>()
    /// The latest vote that any of them names, by slot.
    var latestVotes: [UInt64]
    /// The lowest of what they said last (``Told/since``).
    var leastSince = UInt64.max
    var toAsk = SortedMap<PeerID, SlotSet>()
    var retryAt = SortedMap<PeerID, Instant>()
    var askAgainAt: Instant?
    var timesAsked = 0
    /// Whoever has not answered under this placement is waited for no more.
    var hasGoneOn = false

    // What is fetched before a vote.
    /// Slots of which all is fetched that anybody knows.
    var fetchesAll = SlotSet()
    var sources = SortedMap<PeerID, SlotQueue>()
    /// Sources that a slot still waits for; 0: it is not being fetched.
    var sourcesLeft: [UInt8]

    // What was lost.
    var queryAt: Instant?
    var timesQueried = 0

    var calls: [CallID: Call] = [:]  // looked up, never iterated but for its values' sets
    var lastCall: CallID = 0
    var now = Instant.zero

    /// What a peer answered under the placement of now.
    struct Told: Sendable {
        var sealed = SlotSet()
        var voting = SlotSet()
        var founding = SlotSet()
        var empty = SlotSet()
        /// What it said last (``SealAnswer/since``).
        var since: UInt64 = 0
        /// Of the last answer about each slot.
        var times: [(slots: SlotSet, forgotten: SlotTimes)] = []
        /// Lists that it was in, as it told of them last.
        var named: [(list: VoterList, slots: SlotSet)] = []

        func forgottenAt(_ slot: Slot) -> UInt64 { times.first { $0.slots.contains(slot) }?.forgotten[slot] ?? 0 }

        mutating func note(_ forgotten: SlotTimes, of slots: SlotSet) {
            for position in times.indices { times[position].slots.subtract(slots) }
            times.removeAll { $0.slots.isEmpty }
            times.append((slots, forgotten))
        }

        mutating func note(_ open: OpenList) {
            let slots = SlotSet(open.slots)
            for position in named.indices where named[position].list.voters == open.list.voters {
                named[position].slots.subtract(slots)
            }
            named.removeAll { $0.slots.isEmpty }
            if let position = named.firstIndex(where: { $0.list == open.list }) {
                named[position].slots.formUnion(slots)
            } else {
                named.append((open.list, slots))
            }
        }
    }

    enum Call: Sendable {
        case seal(PeerID, SlotSet)
        case query(PeerID, SlotSet)
        case pull(PeerID, PullRequest)
    }

    package init(_ configuration: VoterConfiguration, scheme: QuorumScheme, me: PeerID) {
        (self.configuration, self.scheme, self.me) = (configuration, scheme, me)
        lists = Array(repeating: OpenLists(), count: configuration.slotRange.upperBound)
        forgottenAt = Array(repeating: 0, count: configuration.slotRange.upperBound)
        sourcesLeft = Array(repeating: 0, count: configuration.slotRange.upperBound)
        latestVotes = Array(repeating: 0, count: configuration.slotRange.upperBound)
    }

    /// As if made anew, with another id; answers to earlier calls count for nothing.
    package mutating func startOver(as me: PeerID) {
        let last = lastCall
        self = VoterMachine(configuration, scheme: scheme, me: me)
        lastCall = last
    }

    /// Takes one input and appends what the shell must do. O(slots of this peer) with each placement, else O(slots of the answer).
    package mutating func handle(_ input: Input, now time: Instant, into effects: inout [Effect]) {
        now = max(now, time)
        let before = voting
        switch input {
        case .placement(let placement, let present): replace(placement, present, &effects)
        case .answered(let id, let answer): answered(id, answer, &effects)
        case .tick:
            resetSilent(&effects)
            askAgain()
            goOn(&effects)
        }
        ask(&effects)
        fetch(&effects)
        query(&effects)
        let isNew = if case .placement = input { true } else { false }
        if isNew || voting != before { effects.append(.votes(voting)) }
    }

    /// Slots in whose lists this peer is, and on which it does not vote.
    package var silentCount: Int { mine.count - voting.count }

    var silent: SlotSet {
        var silent = mine
        silent.subtract(voting)
        return silent
    }

    /// Slots that this peer lost and whose new voters do not all vote yet. O(slots).
    package var owedCount: Int {
        var lost = held
        lost.subtract(mine)
        return placement.isEmpty ? 0 : lost.count  // nobody would take it
    }

    /// Something is under way that wants ticks every few milliseconds.
    package var isBusy: Bool { silentCount > 0 }

    func voters(_ slot: Slot) -> [PeerID] { placement.peers(of: slot, copies: scheme.copies) }

    mutating func call(_ question: Question, _ call: Call, _ peer: PeerID, _ effects: inout [Effect]) {
        lastCall += 1
        calls[lastCall] = call
        effects.append(.call(lastCall, question, to: peer))
    }

    private mutating func answered(_ id: CallID, _ answer: Answer, _ effects: inout [Effect]) {
        switch calls.removeValue(forKey: id) {
        case .seal(let peer, let slots): sealAnswered(by: peer, slots, answer, &effects)
        case .query(let peer, let slots): queryAnswered(by: peer, slots, answer)
        case .pull(let peer, let request): pulled(id, from: peer, request, answer, &effects)
        case nil: break  // asked under a placement of before
        }
    }

    // MARK: A new placement

    private mutating func replace(_ next: Placement, _ present: [PeerID], _ effects: inout [Effect]) {
        self.present = present
        if next.digest == placement.digest, !placement.isEmpty { return }
        let index = next.index(of: me)
        for slot in configuration.slots {
            leave(slot)
            guard let index, next.isHolder(index, of: slot, copies: scheme.copies) else {
                mine.remove(slot)
                continue
            }
            mine.insert(slot)
            guard !held.contains(slot) else { continue }
            held.insert(slot)
            effects.append(.adopt(slot))
        }
        placement = next
        (entered, enteredAt) = (now.hlc, now)
        (since, votedAt) = (entered, 0)
        askAgainAt = now + configuration.askAgainEvery
        hasGoneOn = configuration.gatherFor <= .zero
        voting = SlotSet()
        knowing = SlotSet()
        founding = SlotSet()
        left = SlotSet()
        mayBeOpen = SlotSet()
        told = SortedMap()
        latestVotes = [UInt64](repeating: 0, count: configuration.slotRange.upperBound)
        leastSince = .max
        retryAt = SortedMap()
        calls = [:]
        sources = SortedMap()
        sourcesLeft = [UInt8](repeating: 0, count: configuration.slotRange.upperBound)
        toAsk = SortedMap()
        for slot in configuration.slots where mine.contains(slot) { reconsider(slot, &effects) }
    }

    /// Notes what may be going on under the placement that is about to go.
    private mutating func leave(_ slot: Slot) {
        let isVoting = voting.contains(slot)
        if isVoting {
            // Whoever knows all that came before need not name those lists; but in which it voted itself it has to say.
            if knowing.contains(slot) { lists[slot.index].dropUnvoted() }
            lists[slot.index].close(by: placement.digest)
        }
        guard isVoting || mayBeOpen.contains(slot) else { return }
        listed.insert(slot)
        lists[slot.index].leave(voters(slot), entered: entered, since: since, placement.digest, votedAt: isVoting ? votedAt : nil)
    }

    // MARK: Other peers' questions

    /// Answers a seal. Nil: not under this placement, or more is told than fits; ask again later.
    package mutating func answer(_ seal: Seal) -> SealAnswer? {
        guard seal.placement == placement.digest else { return nil }
        var answer = SealAnswer(voting: voting.intersection(seal.slots))
        if seal.isQuery { return answer }
        guard take(seal) else { return nil }
        since = max(since, seal.since)
        answer.since = since
        answer.founded = founded.intersection(seal.slots)
        answer.empty = seal.slots
        answer.empty.subtract(held)
        answer.founding = founding.intersection(answer.voting)
        var groups = ListGroups()
        for slot in seal.slots.slots {
            for list in lists[slot.index].lists { groups.add(list, slot) }
            answer.forgotten.insert(slot, forgottenAt[slot.index])
        }
        answer.lists = groups.lists
        return answer
    }

    /// The asker may vote soon: whoever is asked must remember that, and what the asker knows. False: there is no room for it.
    private mutating func take(_ seal: Seal) -> Bool {
        for open in seal.lists {
            for slot in open.slots where lists[slot.index].lists.count >= configuration.listsMax {
                if lists[slot.index][open.list.voters] == nil, !voting.contains(slot) { return false }
            }
        }
        let mayFound = present.count + 1 >= configuration.minimumPeers
        if configuration.mutant == .openListsKept { return true }
        if mayFound {
            var slots = seal.slots
            slots.subtract(founded)
            mayBeOpen.formUnion(slots)
        }
        var changed = SlotSet()
        for open in seal.lists {
            for slot in open.slots where seal.slots.contains(slot) {
                mayBeOpen.insert(slot)
                if voting.contains(slot) { continue }
                listed.insert(slot)
                if lists[slot.index].hear(open.list), mine.contains(slot) { changed.insert(slot) }
            }
        }
        listsChanged(changed)
        return true
    }
}

/// Lists and the slots that they are lists of.
struct ListGroups {
    private(set) var lists: [OpenList] = []
    private var positions: [VoterList: Int] = [:]  // looked up, never iterated

    mutating func add(_ list: VoterList, _ slot: Slot) {
        // Neighbours mostly have the same.
        if let last = lists.indices.last, lists[last].list == list { return lists[last].slots.append(slot) }
        if let position = positions[list] { return lists[position].slots.append(slot) }
        positions[list] = lists.count
        lists.append(OpenList(list: list, slots: [slot]))
    }
}

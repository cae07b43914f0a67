extension VoterMachine {
    package typealias CallID = UInt64

    package enum Input: Sendable {
        /// Another placement. `present` are the members that can be asked, without this peer, in order of their ids.
        case placement(Placement, present: [PeerID])
        /// Each ``Effect/call(_:_:to:)`` gets exactly one.
        case answered(CallID, Answer)
        case tick
    }

    package enum Question: Sendable {
        /// Leave the placements of before.
        case seal(Seal)
        /// Fetch a page and take it in as `merge` says: what is held here, not there, and below the other's floors is dropped.
        case pull(PullRequest)
    }

    package enum Answer: Sendable {
        case sealed(SealAnswer)
        /// It has another placement.
        case disagrees
        /// The page has been taken in.
        case pulled(slots: Int, next: Int, bytes: Int)
        /// None came, or an unusable one.
        case none
    }

    /// What the shell must do, in this order.
    package enum Effect: Sendable {
        case adopt(Slot)
        case forget(Slot)
        /// The slots on which this peer votes, under the placement of now.
        case votes(SlotSet)
        case call(CallID, Question, to: PeerID)
        /// Compare member lists with this peer.
        case synchronize(PeerID)
        /// The slot begins anew: drop all, and raise its floors above every stamp.
        case reset(Slot)
    }
}

/// A voter's question to the others: under this placement, leave all that came before.
package struct Seal: Hashable, Sendable {
    /// Most slots of one question: whoever answers does nothing else meanwhile.
    package static let slotsMax = 1_024

    package var placement: UInt64
    package var slots: SlotSet
    /// Lists that the asker knows of, with the slots that they are lists of.
    package var lists: [OpenList]
    /// The clock of this placement (``VoterList/since``), as far as the asker knows.
    package var since: UInt64
    /// Answer only: the asker will not vote.
    package var isQuery: Bool

    package init(placement: UInt64, slots: SlotSet, lists: [OpenList] = [], since: UInt64 = 0, isQuery: Bool = false) {
        (self.placement, self.slots, self.lists, self.since, self.isQuery) = (placement, slots, lists, since, isQuery)
    }
}

/// A list and the slots that it is one of.
package struct OpenList: Hashable, Sendable {
    package var list: VoterList
    package var slots: [Slot]

    package init(list: VoterList, slots: [Slot]) { (self.list, self.slots) = (list, slots) }
}

/// A peer's answer to a ``Seal``: from then on it takes part under this placement only.
package struct SealAnswer: Hashable, Sendable {
    /// Of the slots asked for, those on which it votes.
    package var voting: SlotSet
    /// Of the others, the lists that it knows of.
    package var lists: [OpenList]
    /// When it last forgot what it held.
    package var forgotten: SlotTimes
    /// The clock of this placement that it will tell of (``VoterList/since``); 0: a former version of the library does not say.
    package var since: UInt64 = 0
    /// Slots on which somebody has voted under a former placement, as far as it knows.
    package var founded = SlotSet()
    /// Slots on which it votes because nobody ever had: such a vote keeps no other peer from the same.
    package var founding = SlotSet()
    /// Slots of which it holds nothing.
    package var empty = SlotSet()

    package init(voting: SlotSet = .init(), lists: [OpenList] = [], forgotten: SlotTimes = .init()) {
        (self.voting, self.lists, self.forgotten) = (voting, lists, forgotten)
    }
}

/// Readings of the hybrid clock for slots; 0 for most of them.
package struct SlotTimes: Hashable, Sendable {
    /// Different times. Of more, the earliest count as later ones: whoever is thought to have forgotten, or to have been blank, until later
    /// speaks for fewer lists, which may delay a vote and never makes one too early. Lists that are still open are mostly of the last times.
    package static let countMax = 32

    package struct Group: Hashable, Sendable {
        package var at: UInt64
        package var slots: SlotSet

        package init(at: UInt64, slots: SlotSet) { (self.at, self.slots) = (at, slots) }
    }

    /// Here in the order of their times; what another peer sent, in any.
    package var groups: [Group] = []

    package init() {}

    subscript(_ slot: Slot) -> UInt64 { groups.reduce(0) { $1.slots.contains(slot) ? max($0, $1.at) : $0 } }

    mutating func insert(_ slot: Slot, _ time: UInt64) {
        if time == 0 { return }
        let position = groups.firstIndex { $0.at >= time } ?? groups.endIndex
        if position < groups.endIndex, groups[position].at == time { return groups[position].slots.insert(slot) }
        groups.insert(Group(at: time, slots: SlotSet([slot])), at: position)
        guard groups.count > Self.countMax else { return }
        groups[1].slots.formUnion(groups[0].slots)
        groups.removeFirst()
    }
}

/// Times and bounds of ``VoterMachine``.
package struct VoterConfiguration: Hashable, Sendable {
    /// The cluster begins when so many peers, all that are there, know of no vote.
    package var minimumPeers: Int
    /// After so long without a vote the slot begins anew, empty; nil: it stays silent.
    package var resetAfter: Duration?
    /// A peer that did not answer is asked again after so long.
    package var retryAfter: Duration = .milliseconds(100)
    /// For so long after a change a peer does not vote before all voters have left their lists. Members come in quick succession, and lists in
    /// which somebody voted cost their successors more.
    package var gatherFor: Duration = .milliseconds(300)
    /// As long as there are slots without a vote, their peers are asked so often.
    package var askAgainEvery: Duration = .milliseconds(250)
    /// Whoever lost a slot, or is the first to vote, asks its voters so often whether they vote.
    package var queryEvery: Duration = .milliseconds(500)
    /// Open lists of one slot; a peer that brings more is asked again later.
    package var listsMax = 64
    /// Indices of the slots that the machine looks after; all but in simulations of a few keys.
    package var slotRange = 0..<Slot.count

    /// For tests: a mistake that they must find.
    package var mutant: VoterMutant?

    package init(minimumPeers: Int) { self.minimumPeers = minimumPeers }

    var slots: some Sequence<Slot> { slotRange.lazy.compactMap { Slot(index: $0) } }
}

/// Mistakes that an implementation of ``VoterMachine`` could make (`CONTRACT.md` §11).
package enum VoterMutant: Hashable, Sendable {
    /// Votes without asking anybody.
    case votesAtOnce
    /// Fetches from one peer.
    case syncFromOne
    /// Votes as soon as the voters of the new list are of one placement.
    case placementCheckOnly
    /// Whoever is asked does not remember that the asker may vote.
    case openListsKept
    /// One peer less than needed has to leave a list.
    case sealQuorumIsR
    /// Whoever was in a list speaks for all that came before it, although it did not vote there.
    case nonVotersSpeak
    /// Whoever forgets what it had does not name those that took over.
    case forgetsSuccessors
}

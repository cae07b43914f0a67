/// What a peer knows of the slots that another claims.
package struct ClaimAnswer: Hashable, Sendable {
    /// It holds all that there is.
    package var complete: SlotSet
    /// It is still gathering, but took writes meanwhile. If complete as well: of caches of many copies it holds all, of others nothing.
    package var partial: SlotSet
    /// It was the last owner, as far as it knows.
    package var owned: [Ownership]
    /// Copies that missed what it wrote, and do not know it.
    package var missed: [MissedWrites]

    package init(complete: SlotSet = .init(), partial: SlotSet = .init(), owned: [Ownership] = [], missed: [MissedWrites] = []) {
        (self.complete, self.partial, self.owned, self.missed) = (complete, partial, owned, missed)
    }

    func isWhole(_ slot: Slot) -> Bool { complete.contains(slot) && !partial.contains(slot) }

    /// Since when it has owned the slot; 0: it has not.
    func owned(_ slot: Slot) -> UInt64 { owned.reduce(0) { $1.slots.contains(slot) ? max($0, $1.since) : $0 } }

    /// A peer cannot make another keep more than was asked for.
    func restricted(to slots: SlotSet) -> ClaimAnswer {
        ClaimAnswer(
            complete: complete.intersection(slots), partial: partial.intersection(slots),
            owned: owned.map { Ownership(since: $0.since, slots: $0.slots.intersection(slots)) }.filter { !$0.slots.isEmpty },
            missed: missed.map { MissedWrites(peer: $0.peer, slots: $0.slots.intersection(slots)) })
    }

    mutating func forget(_ slots: SlotSet) {
        complete.subtract(slots)
        partial.subtract(slots)
        owned.subtract(slots)
    }

    mutating func add(_ other: ClaimAnswer) {
        complete.formUnion(other.complete)
        partial.formUnion(other.partial)
        owned += other.owned
    }
}

/// Slots of which a copy missed a write.
package struct MissedWrites: Hashable, Sendable {
    /// Most on the wire: more copies than that do not fail at once.
    package static let countMax = 64

    package var peer: PeerID
    package var slots: SlotSet

    package init(peer: PeerID, slots: SlotSet) { (self.peer, self.slots) = (peer, slots) }
}

/// What is known of the slots of a page that is asked for.
package struct PageKind: Hashable, Sendable {
    /// What is held here may be outdated: what the other does not hold is dropped below the other's floors.
    package var isDoubtful: Bool
    /// The other holds all that there is, or was the owner. If not it speaks only for caches in whose lists it is.
    package var speaksForAll: Bool

    package init(isDoubtful: Bool, speaksForAll: Bool) { (self.isDoubtful, self.speaksForAll) = (isDoubtful, speaksForAll) }
}

/// Slots that a peer began to own at one time.
package struct Ownership: Hashable, Sendable {
    /// Most on the wire and in memory; the oldest ones are taken together.
    package static let countMax = 32

    /// Reading of the hybrid clock: above those of all former owners, as they were asked first.
    package var since: UInt64
    package var slots: SlotSet

    package init(since: UInt64, slots: SlotSet) { (self.since, self.slots) = (since, slots) }
}

extension [Ownership] {
    mutating func subtract(_ slots: SlotSet) {
        for position in indices { self[position].slots.subtract(slots) }
        removeAll { $0.slots.isEmpty }
    }

    mutating func remove(_ slot: Slot) {
        for position in indices { self[position].slots.remove(slot) }
    }

    mutating func insert(_ slot: Slot, since: UInt64) {
        remove(slot)
        if let last = indices.last, self[last].since == since { return self[last].slots.insert(slot) }
        removeAll { $0.slots.isEmpty }
        if count >= Ownership.countMax {
            // The younger time of the two: at worst one of two former owners counts as the later one.
            self[1].slots.formUnion(self[0].slots)
            removeFirst()
        }
        append(Ownership(since: since, slots: SlotSet([slot])))
    }
}

/// What may be done with what is held of a slot at this moment.
package enum Serving: UInt8, Sendable {
    /// Another peer may still act as owner: requests wait.
    case claiming = 0
    /// What is held is good, what is not held may be held elsewhere.
    case warming = 1
    /// Others have owned the slot meanwhile: neither what is held nor what is not says anything yet.
    case doubtful = 2
    case open = 3
    /// Lost, and kept for the new owner.
    case kept = 4
}

/// Times and bounds of ``ReplicaMachine``.
package struct ReplicaConfiguration: Hashable, Sendable {
    /// How long requests wait for the former owners of a slot (`CONTRACT.md` W2).
    package var claimTimeout: Duration = .milliseconds(500)
    /// How long a former owner is asked at all.
    package var claimFor: Duration = .seconds(10)
    /// A peer that has run for less asks those that it meets and that have run for longer.
    package var youngFor: Duration = .seconds(120)
    package var claimEvery: Duration = .milliseconds(10)
    /// Bytes of pages per second, of all transfers to this peer together.
    package var transferBytesPerSecond = 64 << 20
    /// A holder that did not answer is asked again after so long, as long as it is a member.
    package var retryAfter: Duration = .milliseconds(250)
    /// A lost slot whose new owner held it before is kept so long, one whose owner must fetch it until that is done, but not longer than so.
    package var keepFor: Duration = .seconds(10)
    package var keepAtMost: Duration = .seconds(120)
    /// New owners are asked so often whether they have what they must fetch.
    package var askOwnersEvery: Duration = .milliseconds(100)
    /// All slots are compared with the copies within this time.
    package var repairCycle: Duration = .seconds(240)
    package var repairEvery: Duration = .seconds(1)
    /// A difference is looked at again after so long, as writes are always on their way.
    package var secondLook: Duration = .seconds(2)
    /// Differences under suspicion, and repairs at a time.
    package var suspectsMax = 4_096
    package var repairsMax = 4

    package init() {}
}

extension ReplicaMachine {
    package typealias CallID = UInt64

    package enum Input: Sendable {
        /// Another placement, or other caches. `present` are the members that can be asked, without this peer, in order of their ids;
        /// `copies` those of fast caches, `voters` the most of a strict one.
        case placement(Placement, present: [PeerID], copies: [Int], voters: Int = 0)
        /// Each ``Effect/call(_:_:to:)`` gets exactly one.
        case answered(CallID, Answer)
        /// Others held this peer for dead and may have owned its slots.
        case returned
        /// Another peer wrote to these slots, and could not send it here.
        case missed(SlotSet)
        case tick
    }

    package enum Question: Hashable, Sendable {
        /// What do you hold of these slots, under this placement?
        case claim(SlotSet, placement: UInt64)
        /// What was written to these slots did not reach you: whatever comes as ``Answer/claimed(_:)`` says that it is known.
        case missed(SlotSet, placement: UInt64)
        /// Fetch a page and take it in.
        case pull(PullRequest, PageKind)
        /// Which of these buckets differ?
        case compare([BucketIndex])
        /// Bring both sides of a bucket to the newer of each entry.
        case repair(BucketIndex)
    }

    package enum Answer: Hashable, Sendable {
        case claimed(ClaimAnswer)
        /// It has another placement.
        case disagrees
        /// The page has been taken in.
        case pulled(slots: Int, next: Int, bytes: Int)
        /// The other does not hold the first of the slots, and says nothing of it.
        case notHeld
        case differ([BucketIndex])
        case repaired(bytes: Int)
        /// None came, or an unusable one.
        case none
    }

    /// What the shell must do, in this order.
    package enum Effect: Hashable, Sendable {
        case adopt(Slot)
        /// The slot is here, but not for fast caches of these numbers of copies: their entries come now.
        case enter(Slot, copies: [Int])
        case forget(Slot)
        /// Drop what was written before this reading of the clock, by whomever.
        case drop(Slot, olderThan: UInt64)
        /// The slot stays, but not for caches of so few copies that this peer's rank is none of them.
        case release(Slot, rank: Int)
        case serve(Slot, Serving)
        case call(CallID, Question, to: PeerID)
        /// Compare member lists with this peer.
        case synchronize(PeerID)
    }
}

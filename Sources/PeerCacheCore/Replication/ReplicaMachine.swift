/// Keeps this peer's slots in step with the placement: claims what it owns from the former owners, fetches what it gains, keeps what it loses
/// until the new owner has it, and repairs what copies missed (`CONTRACT.md` §5.3, §8, §10).
///
/// A pure state machine: it reads no clock and touches neither store nor network. One per peer.
package struct ReplicaMachine: Sendable {
    /// What is held of a slot.
    enum Content: UInt8, Sendable {
        case absent
        /// Held, and not all that there is.
        case gaining
        /// As `gaining`; besides, what is held may be outdated.
        case regaining
        case complete
    }

    private(set) var me: PeerID
    let configuration: ReplicaConfiguration
    var placement = Placement.empty
    var present: [PeerID] = []
    /// Different numbers of copies of the fast caches here, ascending.
    var copies: [Int] = []
    /// The most voters of a strict cache here. They are compared; what they hold and say is the ``VoterMachine``'s.
    var voters = 0

    /// Slots that some cache has here by the placement.
    var wanted = SlotSet()
    /// Clock at which gathering began: what was written since is good.
    var gatheringSince = [UInt64](repeating: 0, count: Slot.count)
    var contents = [Content](repeating: .absent, count: Slot.count)
    /// Owned, and not yet given up by others.
    var claiming = SlotSet()
    /// Slots of which this peer was the last owner, as far as it knows.
    var owned: [Ownership] = []

    /// When the first of all started that this peer has been with; nil: of none.
    var eldest: UInt64?
    /// Members that went without leaving, the latest last: they may live on the other side of a division.
    var vanished: [PeerID] = []
    static let vanishedMax = 1_024

    // Claims.
    var claim: Claim?
    /// What others hold, by their last answers.
    var known = SortedMap<PeerID, ClaimAnswer>()
    /// Slots whose sources were chosen before a peer had answered, which may have owned them last.
    var unheard = SortedMap<PeerID, SlotSet>()

    // Transfers.
    var sources = SortedMap<PeerID, SlotQueue>()
    /// Sources that a slot still waits for.
    var sourcesLeft = [UInt8](repeating: 0, count: Slot.count)
    /// Nothing is here of caches of up to so many copies.
    var lackingCopies = [UInt8](repeating: .max, count: Slot.count)
    /// Slots that some source has been merged into.
    var merged = SlotSet()
    /// Those whose source had all that there is.
    var mergedWhole = SlotSet()
    var allowance: Int
    var allowanceAt: Instant?

    // What was lost.
    var kept: [Kept] = []
    /// To be let go, some with each input.
    var unneeded = SlotSet()
    var askOwnersAt: Instant?
    /// What claimers were told that is here, and has not been let go since.
    var offered = SortedMap<PeerID, SlotSet>()

    // Missed writes.
    /// Holders that are to be told that they missed a write of these slots.
    var missed = SortedMap<PeerID, SlotSet>()
    var tellAt: Instant?
    /// How many times a holder has said that it knows.
    var tellsAnswered = 0
    /// Slots of which this peer missed a write, until it has what somebody holds who has all of it.
    var lacking = SlotSet()
    /// To be claimed when the claim under way is over: those of them, and slots that their sources had let go.
    var toClaim = SlotSet()
    var claimLackingAt: Instant?
    /// Gained slots that are claimed for the second time, as nobody had all that there is.
    var askedAgain = SlotSet()
    /// Slots whose source let go or went before it had given all, and that are claimed for it.
    var sourceless = SlotSet()

    // Repair.
    /// Holders and the slots that are to be compared with theirs.
    var unchecked = SortedMap<PeerID, SlotSet>()
    var suspects: [Suspect] = []
    var repairHand = 0
    var repairAt: Instant?
    var repairsRunning = 0

    var calls: [CallID: Call] = [:]
    var lastCall: CallID = 0
    var now = Instant.zero

    /// Up to so many members everybody is asked and told.
    static let smallCluster = 64

    package init(_ configuration: ReplicaConfiguration = .init(), me: PeerID) {
        self.configuration = configuration
        self.me = me
        allowance = configuration.transferBytesPerSecond
    }

    /// Forgets everything, under another id. Answers to calls of before find nobody.
    package mutating func startOver(as me: PeerID) {
        let last = lastCall
        self = ReplicaMachine(configuration, me: me)
        lastCall = last
    }

    /// Takes one input and appends what the shell must do.
    ///
    /// O(slots that move) where a claim is answered, else O(members); a placement O(slots).
    package mutating func handle(_ input: Input, now time: Instant, into effects: inout [Effect]) {
        now = max(now, time)
        switch input {
        case .placement(let placement, let present, let copies, let voters):
            self.voters = voters
            replace(placement, present, copies, &effects)
        case .answered(let id, let answer): answered(id, answer, &effects)
        case .returned: returned(&effects)
        case .missed(let slots): heardOfMisses(slots, &effects)
        case .tick: break
        }
        tellOfMisses(&effects)
        advanceClaim(&effects)
        advanceTransfers(&effects)
        advanceKept(&effects)
        advanceRepair(&effects)
    }

    // MARK: What others may know

    /// What this peer answers to a claim under its own placement.
    /// - Parameter isBlank: nothing was written to the slot here, ever. There is nothing to say of it then, unless it is complete and stays
    ///   here: whoever started a moment ago casts no doubt on what others hold.
    package func answer(to slots: SlotSet, of asker: PeerID, isBlank: (Slot) -> Bool) -> ClaimAnswer {
        var answer = ClaimAnswer(missed: untold(of: slots, to: asker))
        for slot in slots.slots {
            switch contents[slot.index] {
            case .absent: break
            // What it lacks is told by nobody's page; but what it wrote as owner is nowhere else perhaps.
            case .regaining where lacking.contains(slot) && !owned.contains { $0.slots.contains(slot) }: break
            case .gaining, .regaining: if !isBlank(slot) { answer.partial.insert(slot) }
            // It would let go of what is not here yet.
            case .complete where unheard[asker]?.contains(slot) == true: answer.partial.insert(slot)
            case .complete where hasOnlyPart(of: slot, for: asker):
                if isBlank(slot) { break }  // of what the asker lacks, nothing is known here
                answer.complete.insert(slot)
                answer.partial.insert(slot)
            case .complete: if wanted.contains(slot) || !isBlank(slot) { answer.complete.insert(slot) }
            }
        }
        answer.owned = owned.map { Ownership(since: $0.since, slots: $0.slots.intersection(slots)) }.filter { !$0.slots.isEmpty }
        return answer
    }

    /// Whether the asker is to hold caches of fewer copies, too. What is complete here is then also said to be partial.
    private func hasOnlyPart(of slot: Slot, for asker: PeerID) -> Bool {
        guard copies.count > 1, wanted.contains(slot) else { return false }
        let mine = rank(slot, placement, placement.index(of: me))
        guard mine >= copies[0], rank(slot, placement, placement.index(of: asker)) < mine else { return false }
        return !unneeded.contains(slot) && !kept.contains { $0.slots.contains(slot) }
    }

    /// Whether a slot may be compared: all that there is is here.
    /// - Parameter isVoting: this peer votes on the slot.
    package func isComparable(_ slot: Slot, isVoting: Bool) -> Bool {
        // What is being gathered for fast caches may be outdated, and a repair would spread it.
        contents[slot.index] == .complete || (isVoting && contents[slot.index] == .absent)
    }

    /// Who to ask for a key of a slot that is not complete here: the last owner that holds all that there was, and all that took writes
    /// since. What any of them dropped or removed counts against what the others hold.
    package func holders(of slot: Slot) -> [PeerID] {
        let whole = wholeHolder(of: slot)
        var holders = whole.map { [$0] } ?? []
        for (peer, answer) in zip(known.keys, known.values) where answer.partial.contains(slot) && present.contains(peer) {
            // Who has a part of what is complete has nothing that the other lacks.
            if whole == nil || !answer.complete.contains(slot) { holders.append(peer) }
        }
        return holders
    }

    /// Of those that hold all that there is, the last owner.
    func wholeHolder(of slot: Slot) -> PeerID? {
        var (best, since): (PeerID?, UInt64) = (nil, 0)
        for (peer, answer) in zip(known.keys, known.values) where answer.isWhole(slot) && present.contains(peer) {
            let owned = answer.owned(slot)
            if best == nil || owned > since { (best, since) = (peer, owned) }
        }
        return best
    }

    // MARK: How far it is

    /// Slots that are claimed or fetched.
    package var unsettledCount: Int {
        wanted.slots.reduce(claiming.count) { $0 + (contents[$1.index] == .complete || claiming.contains($1) ? 0 : 1) }
    }

    /// Lost slots whose new owner has not said that it holds them.
    package var owedCount: Int { kept.reduce(0) { $0 + ($1.isOwed ? $1.slots.count : 0) } }

    /// Slots that some holder missed a write of and does not know it.
    package var dirtyCount: Int { untold.values.reduce(0) { $0 + $1.count } }

    /// Something is under way that wants ticks every few milliseconds.
    package var isBusy: Bool {
        claim != nil || !toClaim.isEmpty || !sources.isEmpty || owedCount > 0 || !unneeded.isEmpty || !suspects.isEmpty
    }

    // MARK: Calls

    enum Call: Sendable {
        case claim(PeerID)
        case status(PeerID, placement: UInt64, tells: Int)
        case pull(PeerID, PullRequest)
        case rest(PeerID, SlotSet)
        case compare(PeerID, [BucketIndex], isSecond: Bool)
        case repair(PeerID, BucketIndex)
        case missed(PeerID, SlotSet)
    }

    mutating func ask(_ question: Question, _ call: Call, _ peer: PeerID, _ effects: inout [Effect]) -> CallID {
        lastCall += 1
        calls[lastCall] = call
        effects.append(.call(lastCall, question, to: peer))
        return lastCall
    }

    private mutating func answered(_ id: CallID, _ answer: Answer, _ effects: inout [Effect]) {
        switch calls.removeValue(forKey: id) {
        case .claim(let peer): claimAnswered(id, by: peer, answer, &effects)
        case .status(let peer, let digest, let tells):
            // Asked before a holder knew what it missed, and answered after that, it may say that it holds all.
            if digest == placement.digest, tells == tellsAnswered { ownerAnswered(peer, answer) }
        case .pull(let peer, let request): pulled(id, from: peer, request, answer, &effects)
        case .rest(let peer, let slots): restAnswered(id, by: peer, slots, answer, &effects)
        case .compare(let peer, let buckets, let isSecond): compared(buckets, with: peer, isSecond: isSecond, answer)
        case .repair(let peer, let bucket):
            repairsRunning -= 1
            if case .repaired(let bytes) = answer { allowance -= bytes } else { check([bucket], at: peer) }
        case .missed(let peer, let slots): missesTold(to: peer, slots, answer)
        case nil: break
        }
    }
}

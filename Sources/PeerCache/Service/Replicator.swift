internal import PeerCacheCore
internal import PeerCacheTransport
internal import Synchronization

/// Drives the pure machines that decide what this peer holds: ``ReplicaMachine``, and a ``VoterMachine`` for each scheme of strict caches.
/// Tells them of placements and answers, and carries out what they say.
final class Replicator: Sendable {
    struct State: Sendable {
        var me: PeerID
        var machine: ReplicaMachine
        var voters: [Voters] = []
    }
    let state: Lock<State>
    let voterConfiguration: VoterConfiguration
    /// ``Serving`` by slot, for every request to look at.
    private let servings = SlotBytes(Serving.open.rawValue)
    /// 1: the machine has had the slot adopted. The store may hold it for strict caches alone.
    private let held = SlotBytes(0)
    /// Calls that could not be made, as too much runs already; the machine hears of it with the next tick.
    private let unmade = Lock<[ReplicaMachine.CallID]>([])
    /// Those of ``State/voters``; for what must not wait for the machines.
    let known = Lock<[Votes]>([])
    /// Copies that could not be sent, until the machine hears of it.
    private let misses = Lock<[PeerID: SlotSet]>([:])  // each slot is marked by itself: the order is of no account

    init(me: PeerID, configuration: ReplicaConfiguration, voters: VoterConfiguration) {
        voterConfiguration = voters
        state = Lock(State(me: me, machine: ReplicaMachine(configuration, me: me)))
    }

    /// O(1), no lock.
    func serving(_ hash: UInt64) -> Serving { Serving(rawValue: servings[Slot(hash: hash)]) ?? .claiming }

    /// Whether anything is known of what fast caches have in the slot. O(1), no lock.
    func holds(_ slot: Slot) -> Bool { held[slot] != 0 }

    /// Whether what caches of few copies had in the slot has been let go, while it is held for others. O(1), no lock.
    func holdsPart(of slot: Slot) -> Bool { held[slot] == 2 }

    /// What this peer answers to a claim.
    func answer(to slots: SlotSet, of asker: PeerID, _ core: PeerCore) -> ClaimAnswer {
        state.withLock { state in
            markMisses(&state)
            let answer = state.machine.answer(to: slots, of: asker, isBlank: core.store.isBlank)
            state.machine.offer(answer, to: asker)
            return answer
        }
    }

    /// Slots of which the peer may have pages.
    func offered(to asker: PeerID) -> SlotSet { state.withLock { $0.machine.offered(to: asker) } }

    func isComparable(_ slot: Slot, isVoting: Bool) -> Bool { state.withLock { $0.machine.isComparable(slot, isVoting: isVoting) } }

    /// Slots of which also caches that have lost this peer are taken in.
    var keptForOthers: SlotSet { state.withLock { $0.machine.keptForOthers } }

    /// Who may have what is not held here.
    func holders(of slot: Slot) -> [PeerID] { state.withLock { $0.machine.holders(of: slot) } }

    /// Slots to be claimed or fetched, those kept for others, and those of which a copy missed a write and does not know it.
    var counts: (unsettled: Int, owed: Int, dirty: Int) {
        state.withLock { state in
            markMisses(&state)
            return (state.machine.unsettledCount, state.machine.owedCount, state.machine.dirtyCount)
        }
    }

    /// A copy could not be sent: the holder is told soon. For event loops: it does not wait for the machines.
    func missed(_ hash: UInt64, by holder: PeerID) { misses.withLock { $0[holder, default: SlotSet()].insert(Slot(hash: hash)) } }

    func missed(_ slots: SlotSet, by holder: PeerID) { misses.withLock { $0[holder, default: SlotSet()].formUnion(slots) } }

    /// Under the lock of the state: whoever counts what is dirty misses nothing that was missed before.
    private func markMisses(_ state: inout State) {
        let missed = misses.withLock { misses in
            defer { misses = [:] }
            return misses
        }
        for (holder, slots) in missed { for slot in slots.slots { state.machine.markDirty(slot, at: holder) } }
    }

    // MARK: Inputs

    /// Takes an input and carries out its effects. What concerns store and reads has been done when this returns, in order.
    func handle(_ input: ReplicaMachine.Input, _ core: PeerCore) {
        send(decide(input, core), core)
    }

    /// As ``handle(_:_:)``, without what is to be sent: hand that to ``send(_:_:)``.
    func decide(_ input: ReplicaMachine.Input, _ core: PeerCore) -> [ReplicaMachine.Effect] {
        var effects: [ReplicaMachine.Effect] = []
        state.withLock { state in
            markMisses(&state)
            state.machine.handle(input, now: core.clock.now(), into: &effects)
            for effect in effects { change(effect, &state, core) }
        }
        return effects
    }

    /// Ticks until cancelled.
    func run(_ core: PeerCore) async {
        while !Task.isCancelled {
            for id in takeUnmade() { handle(.answered(id, .none), core) }
            handle(.tick, core)
            tickVoters(core)
            let isBusy = state.withLock { $0.machine.isBusy || $0.voters.contains { $0.machine.isBusy } }
            try? await Task.sleep(for: isBusy ? .milliseconds(10) : .milliseconds(100))
        }
    }

    private func takeUnmade() -> [ReplicaMachine.CallID] {
        unmade.withLock { ids in
            defer { ids = [] }
            return ids
        }
    }

    /// Empties the store, under another id. Call it when nothing is routed here.
    func startOver(as me: PeerID, _ core: PeerCore) {
        state.withLock { state in
            state.me = me
            state.machine.startOver(as: me)
            for position in state.voters.indices { startOver(&state.voters[position], as: me) }
            for slot in Slot.all {
                core.store.forget(slot)
                held[slot] = 0
                servings[slot] = Serving.open.rawValue
            }
        }
    }

    // MARK: Effects

    private func change(_ effect: ReplicaMachine.Effect, _ state: inout State, _ core: PeerCore) {
        switch effect {
        case .adopt(let slot):
            held[slot] = 1
            core.store.enter(slot, core.caches.filter { $0.scheme == nil }.map(\.index))
        case .enter(let slot, let copies):
            core.store.enter(slot, core.caches.filter { $0.scheme == nil && copies.contains($0.options.copies) }.map(\.index))
        case .forget(let slot):
            held[slot] = 0
            forget(slot, state, core) { $0.scheme == nil }
        case .drop(let slot, let clock):
            let caches = core.cachesByIndex
            for bucket in BucketIndex.all(of: slot) {
                core.store.dropOutdated(bucket, now: core.clock.tick()) { cache in
                    caches[cache].map { $0.scheme == nil } == true ? Stamp(clock: clock, origin: 0) : .zero
                }
            }
        case .release(let slot, let rank):
            let gone = Set(core.caches.filter { $0.scheme == nil && $0.options.copies <= rank }.map(\.index))  // only asked for membership
            guard !gone.isEmpty else { return }
            if held[slot] == 1 { held[slot] = 2 }
            core.store.forget(slot) { gone.contains($0) }
        case .serve(let slot, let serving):
            if serving == .open {
                let caches = core.cachesByIndex
                core.store.settle(slot) { caches[$0]?.scheme == nil }
            }
            servings[slot] = serving.rawValue
            // It is gathered anew, at another rank, or nobody else is there.
            if held[slot] == 2, state.machine.isHolderForAll(slot) { held[slot] = 1 }
        case .call, .synchronize: break
        }
    }

    /// Forgets a slot of some caches, and as a whole when no machine holds it any more.
    func forget(_ slot: Slot, _ state: State, _ core: PeerCore, where isGone: (CacheCore) -> Bool) {
        guard holds(slot) || state.voters.contains(where: { $0.machine.held.contains(slot) }) else {
            return core.store.forget(slot)
        }
        let gone = Set(core.caches.filter(isGone).map(\.index))  // asked for membership, never iterated
        if !gone.isEmpty { core.store.forget(slot) { gone.contains($0) } }
    }

    func send(_ effects: [ReplicaMachine.Effect], _ core: PeerCore) {
        for effect in effects {
            switch effect {
            case .call(let id, let question, let other):
                let isStarted = core.tasks.start { self.handle(.answered(id, await core.ask(question, of: other)), core) }
                if isStarted == nil { unmade.withLock { $0.append(id) } }
            case .synchronize(let other): core.synchronize(with: other)
            case .adopt, .enter, .forget, .drop, .release, .serve: break
            }
        }
    }
}

/// A byte for each slot, read without a lock.
final class SlotBytes: @unchecked Sendable {  // unchecked: the pointer never changes, and what it leads to is atomic
    private let bytes: UnsafeMutablePointer<Atomic<UInt8>>

    init(_ first: UInt8) {
        bytes = .allocate(capacity: Slot.count)
        for index in 0..<Slot.count { (bytes + index).initialize(to: Atomic(first)) }
    }

    deinit {
        bytes.deinitialize(count: Slot.count)
        bytes.deallocate()
    }

    subscript(_ slot: Slot) -> UInt8 {
        get { bytes[slot.index].load(ordering: .acquiring) }
        set { bytes[slot.index].store(newValue, ordering: .releasing) }
    }
}

internal import PeerCacheCore
internal import PeerCacheTransport
internal import Synchronization

/// Drives the pure ``ReplicaMachine``: tells it of placements and answers, and carries out what it says.
final class Replicator: Sendable {
    private let machine: Lock<ReplicaMachine>
    /// ``Serving`` by slot, for every request to look at.
    private let servings: Servings
    /// Calls that could not be made, as too much runs already; the machine hears of it with the next tick.
    private let unmade = Lock<[ReplicaMachine.CallID]>([])

    init(me: PeerID, configuration: ReplicaConfiguration) {
        machine = Lock(ReplicaMachine(configuration, me: me))
        servings = Servings()
    }

    /// O(1), no lock.
    func serving(_ hash: UInt64) -> Serving { servings[Slot(hash: hash)] }

    /// What this peer answers to a claim.
    func answer(to slots: SlotSet) -> ClaimAnswer { machine.withLock { $0.answer(to: slots) } }

    func isComplete(_ slot: Slot) -> Bool { machine.withLock { $0.isComplete(slot) } }

    /// Who may have what is not held here.
    func holders(of slot: Slot) -> [PeerID] { machine.withLock { $0.holders(of: slot) } }

    /// Slots to be claimed or fetched, those kept for others, and those in which a copy misses a write.
    var counts: (unsettled: Int, owed: Int, dirty: Int) { machine.withLock { ($0.unsettledCount, $0.owedCount, $0.dirtyCount) } }

    /// A copy could not be sent: the slot is compared with that holder soon.
    func missed(_ hash: UInt64, by holder: PeerID) { machine.withLock { $0.markDirty(Slot(hash: hash), at: holder) } }

    // MARK: Inputs

    /// Takes an input and carries out its effects. What concerns store and reads has been done when this returns, in order.
    func handle(_ input: ReplicaMachine.Input, _ core: PeerCore) {
        send(decide(input, core), core)
    }

    /// As ``handle(_:_:)``, without what is to be sent: hand that to ``send(_:_:)``.
    func decide(_ input: ReplicaMachine.Input, _ core: PeerCore) -> [ReplicaMachine.Effect] {
        var effects: [ReplicaMachine.Effect] = []
        machine.withLock { machine in
            machine.handle(input, now: core.clock.now(), into: &effects)
            for effect in effects { change(effect, core) }
        }
        return effects
    }

    /// Ticks until cancelled.
    func run(_ core: PeerCore) async {
        while !Task.isCancelled {
            for id in takeUnmade() { handle(.answered(id, .none), core) }
            handle(.tick, core)
            let isBusy = machine.withLock { $0.isBusy }
            try? await Task.sleep(for: isBusy ? .milliseconds(10) : .milliseconds(100))
        }
    }

    private func takeUnmade() -> [ReplicaMachine.CallID] {
        unmade.withLock { ids in
            defer { ids = [] }
            return ids
        }
    }

    // MARK: Effects

    private func change(_ effect: ReplicaMachine.Effect, _ core: PeerCore) {
        switch effect {
        case .adopt(let slot): core.store.adopt(slot)
        case .forget(let slot): core.store.forget(slot)
        case .release(let slot, let rank):
            let gone = Set(core.caches.filter { $0.options.copies <= rank }.map(\.index))  // asked for membership, never iterated
            if !gone.isEmpty { core.store.forget(slot) { gone.contains($0) } }
        case .serve(let slot, let serving): servings.set(slot, serving)
        case .call, .synchronize: break
        }
    }

    func send(_ effects: [ReplicaMachine.Effect], _ core: PeerCore) {
        for effect in effects {
            switch effect {
            case .call(let id, let question, let other):
                let isStarted = core.tasks.start { self.handle(.answered(id, await core.ask(question, of: other)), core) }
                if isStarted == nil { unmade.withLock { $0.append(id) } }
            case .synchronize(let other): core.synchronize(with: other)
            case .adopt, .forget, .release, .serve: break
            }
        }
    }
}

/// A byte for each slot, read without a lock.
private final class Servings: @unchecked Sendable {  // unchecked: the pointer never changes, and what it leads to is atomic
    private let bytes: UnsafeMutablePointer<Atomic<UInt8>>

    init() {
        bytes = .allocate(capacity: Slot.count)
        for index in 0..<Slot.count { (bytes + index).initialize(to: Atomic(Serving.open.rawValue)) }
    }

    deinit {
        bytes.deinitialize(count: Slot.count)
        bytes.deallocate()
    }

    subscript(_ slot: Slot) -> Serving { Serving(rawValue: bytes[slot.index].load(ordering: .acquiring)) ?? .claiming }

    func set(_ slot: Slot, _ serving: Serving) { bytes[slot.index].store(serving.rawValue, ordering: .releasing) }
}

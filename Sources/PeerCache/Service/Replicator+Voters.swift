internal import PeerCacheCore
internal import PeerCacheTransport
internal import Synchronization

/// The voters of all strict caches of one scheme.
struct Voters: Sendable {
    let votes: Votes
    var machine: VoterMachine
    /// What the votes were told last.
    var published = SlotSet()
}

/// On which slots this peer votes, under which placement; read without a lock.
final class Votes: Sendable {
    let scheme: QuorumScheme
    private let digest = Atomic<UInt64>(0)
    private let slots = SlotBytes(0)

    init(_ scheme: QuorumScheme) { self.scheme = scheme }

    /// Whether this peer votes on a slot under a placement. To be asked before and after what counts as a vote: whoever has sealed this peer
    /// between the two would not have heard of it.
    func contains(_ slot: Slot, placement: UInt64) -> Bool {
        digest.load(ordering: .sequentiallyConsistent) == placement && slots[slot] == 1
    }

    /// - Parameter before: what it was told last.
    fileprivate func replace(_ before: SlotSet, by voting: SlotSet, placement: UInt64) {
        var gone = before, new = voting
        gone.subtract(voting)
        new.subtract(before)
        for slot in gone.slots { slots[slot] = 0 }
        digest.store(placement, ordering: .sequentiallyConsistent)
        for slot in new.slots { slots[slot] = 1 }
    }
}

extension Replicator {
    /// Different schemes of strict caches at one peer.
    static let schemesMax = 8

    /// The votes of a scheme, from now on. Nil: there are too many schemes.
    func votes(of scheme: QuorumScheme) -> Votes? { state.withLock { Self.voters(of: scheme, &$0, self).map { $0.votes } } }

    /// The votes of a scheme, if it is known. For event loops: it does not wait for the machines.
    func knownVotes(of scheme: QuorumScheme) -> Votes? { known.withLock { $0.first { $0.scheme == scheme } } }

    private static func voters(of scheme: QuorumScheme, _ state: inout State, _ replicator: Replicator) -> Voters? {
        if let known = state.voters.first(where: { $0.votes.scheme == scheme }) { return known }
        guard state.voters.count < schemesMax else { return nil }
        let voters = Voters(
            votes: Votes(scheme), machine: VoterMachine(replicator.voterConfiguration, scheme: scheme, me: state.me))
        state.voters.append(voters)
        replicator.known.withLock { $0.append(voters.votes) }
        return voters
    }

    /// Slots on which this peer does not vote, and should.
    var silentCount: Int { state.withLock { $0.voters.reduce(0) { $0 + $1.machine.silentCount } } }

    /// Slots of which others still need something: new owners and voters, and copies that missed a write.
    var owedToOthers: Int {
        let slots = counts
        return slots.owed + slots.dirty + state.withLock { $0.voters.reduce(0) { $0 + $1.machine.owedCount } }
    }

    // MARK: Inputs

    /// Tells all voters of a placement. Nobody votes under the former one when this returns. To be sent by ``send(voting:_:)``.
    func decideVotes(_ placement: Placement, present: [PeerID], _ core: PeerCore) -> [(Votes, [VoterMachine.Effect])] {
        state.withLock { state in
            state.voters.indices.map { position in
                (state.voters[position].votes, handle(.placement(placement, present: present), position, &state, core))
            }
        }
    }

    func send(voting effects: [(Votes, [VoterMachine.Effect])], _ core: PeerCore) {
        for (votes, effects) in effects { send(effects, votes.scheme, core) }
    }

    func tickVoters(_ core: PeerCore) {
        let schemes = state.withLock { $0.voters.map(\.votes.scheme) }
        for scheme in schemes { handle(.tick, scheme, core) }
    }

    private func handle(_ input: VoterMachine.Input, _ scheme: QuorumScheme, _ core: PeerCore) {
        let effects = state.withLock { state in
            guard let position = state.voters.firstIndex(where: { $0.votes.scheme == scheme }) else { return [VoterMachine.Effect]() }
            return handle(input, position, &state, core)
        }
        send(effects, scheme, core)
    }

    private func handle(_ input: VoterMachine.Input, _ position: Int, _ state: inout State, _ core: PeerCore) -> [VoterMachine.Effect] {
        var effects: [VoterMachine.Effect] = []
        state.voters[position].machine.handle(input, now: core.clock.now(), into: &effects)
        if case .placement = input { publish(SlotSet(), &state.voters[position]) }
        for effect in effects {
            switch effect {
            case .adopt(let slot):
                let scheme = state.voters[position].votes.scheme
                core.store.enter(slot, core.caches.filter { $0.scheme == scheme }.map(\.index))
            case .forget(let slot):
                let scheme = state.voters[position].votes.scheme
                forget(slot, state, core) { $0.scheme == scheme }
            case .reset(let slot):
                // Below this stamp nobody knows anything: reads of all that came before are misses.
                let stamp = core.mint(above: .zero), scheme = state.voters[position].votes.scheme
                let gone = Set(core.caches.filter { $0.scheme == scheme }.map(\.index))  // asked for membership, never iterated
                for bucket in BucketIndex.all(of: slot) {
                    let floor = { (cache: CacheIndex) in gone.contains(cache) ? stamp : .zero }
                    core.store.dropOutdated(bucket, now: core.clock.tick(), below: floor)
                    core.store.raiseFloor(of: bucket, to: stamp, gathered: floor)
                }
            case .votes(let slots):
                let scheme = state.voters[position].votes.scheme, caches = core.cachesByIndex
                var new = slots
                new.subtract(state.voters[position].published)
                for slot in new.slots {
                    core.store.settle(slot) { caches[$0]?.scheme == scheme }
                }
                publish(slots, &state.voters[position])
            case .call, .synchronize: break
            }
        }
        return effects
    }

    /// With a new id: nothing is held, and nobody waits for a vote.
    func startOver(_ voters: inout Voters, as me: PeerID) {
        voters.machine.startOver(as: me)
        publish(SlotSet(), &voters)
    }

    private func publish(_ slots: SlotSet, _ voters: inout Voters) {
        voters.votes.replace(voters.published, by: slots, placement: voters.machine.placement.digest)
        voters.published = slots
    }

    private func send(_ effects: [VoterMachine.Effect], _ scheme: QuorumScheme, _ core: PeerCore) {
        for effect in effects {
            switch effect {
            case .call(let id, let question, let other):
                let isStarted = core.tasks.start {
                    self.handle(.answered(id, await core.ask(question, scheme, of: other)), scheme, core)
                }
                // Too much runs already: asked again later.
                if isStarted == nil { handle(.answered(id, .none), scheme, core) }
            case .synchronize(let other): core.synchronize(with: other)
            case .adopt, .forget, .votes, .reset: break
            }
        }
    }

    /// Answers another peer's seal; nil: under another placement, or there is no room for it.
    func answer(_ seal: Seal, _ scheme: QuorumScheme, _ core: PeerCore) -> SealAnswer? {
        let (answer, isNew): (SealAnswer?, Bool) = state.withLock { state in
            if let position = state.voters.firstIndex(where: { $0.votes.scheme == scheme }) {
                return (state.voters[position].machine.answer(seal), false)
            }
            return (nil, Self.voters(of: scheme, &state, self) != nil)
        }
        // A peer without such caches votes too: it holds the floors. It answers when it is asked again.
        if isNew { core.wantsPlacement() }
        return answer
    }
}

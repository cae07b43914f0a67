internal import PeerCacheCore
internal import PeerCacheTransport

/// Turns member lists into placements and keeps the store's slots in step: off the hot path, one at a time.
final class PlacementUpdater: Sendable {
    /// Serialises updates.
    private let lock = Lock(())

    private func placement(of view: MembershipView) -> Placement? {
        let members = view.placed.map { PlacementMember(id: $0.id, weight: Int($0.weight), zone: $0.zone, started: $0.started) }
        return try? Placement.build(members: members, digest: view.digest, ranks: CacheOptions.copiesMax)
    }

    /// Builds the placement of a member list, adopts what is gained, and only then lets reads see it.
    /// - Returns: whether keys have other owners now.
    @discardableResult
    func update(_ core: PeerCore, view: MembershipView) -> Bool {
        lock.withLock { _ in
            let before = core.table.routing
            guard before.view.map({ $0.version < view.version }) ?? true else { return false }  // an older one may come late
            core.directory.follow(view.members.map(\.record.id), nowNanoseconds: ClusterClock.monotonicNanoseconds)
            let hasChanged = before.view?.digest != view.digest
            guard let placement = hasChanged ? placement(of: view) : before.placement else { return false }
            publish(Routing(placement: placement, me: core.me, view: view), core, isNew: hasChanged)
            return hasChanged
        }
    }

    /// A new cache may want copies at ranks that none wanted before.
    func cachesChanged(_ core: PeerCore) {
        lock.withLock { _ in publish(core.table.routing, core, isNew: true) }
    }

    private func publish(_ routing: Routing, _ core: PeerCore, isNew: Bool) {
        let isChange = isNew && !core.isObserver
        let effects = isChange ? core.replicator.decide(input(routing, core), core) : []
        // Under the former placement nobody votes any more when the new one is seen.
        let votes = isChange ? core.replicator.decideVotes(routing.placement, present: routing.present, core) : []
        let old = core.table.routing.placement, new = routing.placement
        let moved = isNew ? Slot.all.filter { old.owner(of: $0) != new.owner(of: $0) } : []
        core.table.publish(routing)
        // Their new owners do not know who has copies. After publishing: what is asked from now on is asked of them.
        core.near.suspect(moved)
        core.replicator.send(effects, core)
        core.replicator.send(voting: votes, core)
        core.safety.look(core)
    }

    private func input(_ routing: Routing, _ core: PeerCore) -> ReplicaMachine.Input {
        let caches = core.caches
        let copies = Set(caches.filter { $0.scheme == nil }.map(\.options.copies))
        let voters = caches.compactMap { $0.scheme?.copies }.max() ?? 0
        return .placement(routing.placement, present: routing.present, copies: copies.sorted(), voters: voters)
    }

    /// Others have owned this peer's slots meanwhile: what it holds may be outdated.
    func returned(_ core: PeerCore) {
        core.replicator.handle(.returned, core)
        core.near.removeAll()
        core.coherence.changedEverything()
    }

    /// This peer has a new id: it owns nothing and knows nobody.
    func startOver(as me: PeerID, _ core: PeerCore) {
        lock.withLock { _ in
            core.table.publish(Routing(placement: .empty, me: me, view: nil))
            core.replicator.startOver(as: me, core)
        }
        core.near.removeAll()
    }
}

extension Slot {
    /// All slots, ascending.
    static var all: some Sequence<Slot> { (0..<count).lazy.compactMap(Slot.init(index:)) }
}

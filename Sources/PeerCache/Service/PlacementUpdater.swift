internal import PeerCacheCore
internal import PeerCacheTransport

/// Turns member lists into placements and keeps the store's slots in step: off the hot path, one at a time.
final class PlacementUpdater: Sendable {
    /// Serialises updates.
    private let lock = Lock(())

    private func placement(of view: MembershipView) -> Placement? {
        let members = view.placed.map { PlacementMember(id: $0.id, weight: Int($0.weight), zone: $0.zone) }
        return try? Placement.build(members: members, digest: view.digest, ranks: CacheOptions.copiesMax)
    }

    /// Builds the placement of a member list, gives up lost slots, takes the gained ones, and only then lets reads see it.
    /// - Returns: whether keys have other owners now.
    @discardableResult
    func update(_ core: PeerCore, view: MembershipView) -> Bool {
        lock.withLock { _ in
            let before = core.table.routing
            guard before.view.map({ $0.version < view.version }) ?? true else { return false }  // an older one may come late
            let hasChanged = before.view?.digest != view.digest
            guard let placement = hasChanged ? placement(of: view) : before.placement else { return false }
            let routing = Routing(placement: placement, me: core.me, view: view)
            if hasChanged { moveSlots(core, from: before, to: routing) }
            core.table.publish(routing)
            return hasChanged
        }
    }

    /// A new cache may want copies at ranks that none wanted before.
    func cachesChanged(_ core: PeerCore) {
        lock.withLock { _ in
            let routing = core.table.routing
            let copiesMax = Self.copies(core).max() ?? 0
            for slot in Slot.all where Self.rank(slot, routing) < copiesMax && !core.store.isHeld(slot) { core.store.adopt(slot) }
        }
    }

    /// Others have owned this peer's slots meanwhile: what it holds may be outdated.
    func forgetEverything(_ core: PeerCore) {
        lock.withLock { _ in
            for slot in Slot.all where core.store.isHeld(slot) {
                core.store.forget(slot)
                core.store.adopt(slot)
            }
            core.near.removeAll()
        }
    }

    /// A slot in which this peer stops being a holder for some cache is forgotten as a whole: kept, its entries would miss later writes and be
    /// stale when the slot comes back (`CONTRACT.md` I36). It starts again empty if other caches still want it here.
    private func moveSlots(_ core: PeerCore, from before: Routing, to after: Routing) {
        let copies = Self.copies(core)
        let copiesMax = copies.max() ?? 0
        for slot in Slot.all {
            let old = Self.rank(slot, before), new = Self.rank(slot, after)
            if core.store.isHeld(slot), new >= copiesMax || copies.contains(where: { old < $0 && new >= $0 }) { core.store.forget(slot) }
            if new < copiesMax, !core.store.isHeld(slot) { core.store.adopt(slot) }
        }
    }

    /// The numbers of copies that the caches here ask for.
    private static func copies(_ core: PeerCore) -> Set<Int> {
        Set(core.caches.compactMap { $0.failure == nil ? $0.options.copies : nil })
    }

    /// This peer's place in the slot's list; above every number of copies when it has none.
    private static func rank(_ slot: Slot, _ routing: Routing) -> Int {
        routing.placement.peers(of: slot, copies: CacheOptions.copiesMax).firstIndex(of: routing.me) ?? .max
    }
}

extension Slot {
    /// All slots, ascending.
    static var all: some Sequence<Slot> { (0..<count).lazy.compactMap(Slot.init(index:)) }
}

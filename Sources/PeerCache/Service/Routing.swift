internal import PeerCacheCore
internal import PeerCacheTransport

/// Who owns what, as this peer sees it now. Immutable; replaced as a whole.
final class Routing: Sendable {
    let placement: Placement
    let me: PeerID
    /// Members that are placed.
    let view: MembershipView?
    /// This peer's place among the placement's members; nil: it is none.
    let myIndex: Int?

    init(placement: Placement, me: PeerID, view: MembershipView?) {
        self.placement = placement
        self.me = me
        self.view = view
        myIndex = placement.index(of: me)
    }

    var digest: UInt64 { placement.digest }

    /// The other members that can be asked, in the order of their ids. O(members).
    var present: [PeerID] { (view?.members ?? []).filter { $0.status.isPresent && $0.record.id != me }.map(\.record.id) }

    /// O(1).
    func owner(_ hash: UInt64) -> PeerID? { placement.owner(of: Slot(hash: hash)) }

    /// Whether this peer is the owner. O(1).
    func isOwned(_ hash: UInt64) -> Bool { myIndex != nil && placement.ownerIndex(hash: hash) == myIndex }

    /// Whether this peer holds the slot for caches of so many copies. O(copies).
    func isHolder(_ slot: Slot, copies: Int) -> Bool { myIndex.map { placement.isHolder($0, of: slot, copies: copies) } ?? false }

    /// Owner first, then the copies. Fewer than `copies` in a small cluster.
    func holders(_ hash: UInt64, copies: Int) -> [PeerID] { placement.peers(of: Slot(hash: hash), copies: copies) }
}

/// The current routing. Replaced on membership changes, off the hot path; read under one short lock.
final class RoutingTable: Sendable {
    private let current: Lock<Routing>

    init(_ first: Routing) { current = Lock(first) }

    var routing: Routing { current.withLock { $0 } }

    func publish(_ routing: Routing) { current.withLock { $0 = routing } }

    /// Waits until the digest is another one, at most until the deadline. False: it is still the same.
    func waitForChange(of digest: UInt64, deadlineNanoseconds: Int64) async -> Bool {
        while routing.digest == digest {
            guard ClusterClock.monotonicNanoseconds < deadlineNanoseconds, !Task.isCancelled else { return false }
            // Rare (a change of members is on its way here), so a look every few milliseconds is simpler than a list of waiters.
            try? await Task.sleep(for: .milliseconds(5))
        }
        return true
    }
}

internal import PeerCacheCore
internal import PeerCacheTransport
internal import Synchronization

/// Keeps near copies coherent across peers: as owner it remembers who has copies of its keys and tells them of changes, as reader it drops what
/// it is told about.
///
/// Each owner numbers what it tells each receiver, and its answers say how far that has come. A reader that misses a number, loses the
/// connection or sees the owner replaced holds all copies of that owner for suspect: they are misses. What is left to
/// `CacheOptions.nearFor` is an owner that is cut off and does not know it.
final class NearCoherence: Sendable {
    /// Directories, so that event loops seldom wait for each other.
    private static let partCount = 16
    /// What a copy's way to its reader may take; it is over so much later than the owner thinks.
    private static let transitMilliseconds: UInt64 = 10_000

    /// A peer that reads, as its owner sees it.
    private final class Receiver: Sendable {
        let peer: PeerID
        /// Which bit of a set of sharers stands for it. With more than 64 readers some share one and are told of each other's keys too.
        let bit: UInt64
        /// Number of the last message.
        let number: Atomic<UInt64>
        /// A message was lost: it must be told that everything is suspect.
        let isBehind = Atomic(false)

        init(_ peer: PeerID, bit: UInt64, number: UInt64) {
            self.peer = peer
            self.bit = bit
            self.number = Atomic(number)
        }

        func next() -> UInt64 { number.wrappingAdd(1, ordering: .relaxed).newValue }

        /// What is sent next shows a gap.
        func skip() {
            _ = next()
            isBehind.store(true, ordering: .relaxed)
        }
    }
    private final class Part: Sendable {
        let directory: Lock<SharerDirectory>

        init(bytesMax: Int) { directory = Lock(SharerDirectory(bytesMax: bytesMax)) }
    }
    private struct Receivers {
        var byPeer: [PeerID: Receiver] = [:]
        var count: UInt64 = 0
    }

    private let near: NearStore
    private let directory: ConnectionDirectory
    private let table: RoutingTable
    private let clock: ClusterClock
    private let counters: StripedCounters<PeerCounter>
    private let parts: [Part]
    private let receivers = Lock(Receivers())
    /// Everybody is to be told with the next tick that all copies are suspect.
    private let isRepaired = Atomic(false)
    /// By owner.
    private let heard = Lock<[PeerID: InvalidationSequence]>([:])

    init(
        near: NearStore, directory: ConnectionDirectory, table: RoutingTable, clock: ClusterClock, counters: StripedCounters<PeerCounter>,
        bytesMax: Int
    ) {
        self.near = near
        self.directory = directory
        self.table = table
        self.clock = clock
        self.counters = counters
        parts = (0..<Self.partCount).map { _ in Part(bytesMax: bytesMax / Self.partCount) }
    }

    // MARK: As owner

    /// Notes that a peer is about to be answered with a key's content, which it may keep for `nearFor`. The caller makes sure that the content
    /// was not replaced before this returned: it reads the content, or looks at the guard, afterwards.
    /// - Returns: for the answer.
    func share(_ hash: UInt64, _ stamp: Stamp, with peer: PeerID, nearFor: Duration) -> UInt64 {
        let receiver = receiver(peer), now = ClusterClock.coarseWallMilliseconds
        let until = (now &+ Self.transitMilliseconds).addingReportingOverflow(UInt64(nearFor.millisecondsRoundedUp))
        let displaced = part(hash).directory.withLock {
            $0.share(hash, clock: stamp.clock, with: receiver.bit, until: until.overflow ? .max : until.partialValue, now: now)
        }
        if let displaced {
            counters.add(.sharersDisplaced)
            // Whatever they have goes.
            tell(displaced.sharers, .key(hash: displaced.hash, below: Stamp(clock: clock.mint(above: 0), origin: .max)))
        }
        return receiver.number.load(ordering: .relaxed)
    }

    /// A key's content has been replaced, or was dropped and is loaded again.
    func changed(_ hash: UInt64, _ stamp: Stamp) {
        let sharers = part(hash).directory.withLock { $0.changed(hash, clock: stamp.clock, now: ClusterClock.coarseWallMilliseconds) }
        if sharers != 0 { tell(sharers, .key(hash: hash, below: stamp)) }
    }

    /// A slot was made equal to another holder's: keys may have changed that nobody was told of.
    func repaired(_ slot: Slot) {
        near.suspect(CollectionOfOne(slot))
        // Repairs come in crowds after a partition: told once.
        if table.routing.placement.owner(of: slot) == table.routing.me { isRepaired.store(true, ordering: .relaxed) }
    }

    /// What this peer holds is no longer what it was when it answered.
    func changedEverything() {
        for part in parts { part.directory.withLock { $0.removeAll() } }
        tell(.max, .everything)
    }

    private func tell(_ sharers: UInt64, _ subject: WireInvalidation.Subject) {
        for receiver in receivers.withLock({ $0.byPeer.values.filter { $0.bit & sharers != 0 } }) { tell(receiver, subject) }
    }

    private func tell(_ receiver: Receiver, _ subject: WireInvalidation.Subject) {
        // Numbered under the connection's lock: in the order in which they leave.
        let isSent = directory.connection(to: receiver.peer)?.post { _, frames in
            frames.append(WireInvalidation(subject, number: receiver.next()))
        }
        if isSent == true { counters.add(.invalidationsSent) } else { receiver.skip() }
    }

    private func receiver(_ peer: PeerID) -> Receiver {
        receivers.withLock { receivers in
            if let receiver = receivers.byPeer[peer] { return receiver }
            receivers.count &+= 1
            // Above every number that this peer may have got before it was forgotten.
            let receiver = Receiver(peer, bit: 1 << (receivers.count % 64), number: clock.reading())
            receivers.byPeer[peer] = receiver
            return receiver
        }
    }

    private func part(_ hash: UInt64) -> Part { parts[Int(truncatingIfNeeded: hash >> 32) & (Self.partCount - 1)] }

    // MARK: As reader

    /// Whether an answer of this owner may be kept: the owner says so, and all that it told before has arrived.
    func mayKeep(_ number: UInt64, from owner: PeerID) -> Bool {
        guard number != 0 else { return false }
        if heard.withLock({ $0[owner, default: InvalidationSequence()].expect(number) }) { return true }
        foundGap(of: owner)
        return false
    }

    func received(_ invalidation: WireInvalidation, from owner: PeerID) {
        counters.add(.invalidationsReceived)
        let isComplete = heard.withLock { $0[owner, default: InvalidationSequence()].received(invalidation.number) }
        if !isComplete { foundGap(of: owner) }
        switch invalidation.subject {
        case .everything: suspect(owner)
        case .key(let hash, let stamp):
            // A stamp that cannot be believed would raise a floor that refuses everything.
            if clock.accepts(stamp) { near.invalidate(hash: hash, upTo: stamp) } else { suspect(owner) }
        }
    }

    private func foundGap(of owner: PeerID) {
        counters.add(.invalidationGaps)
        suspect(owner)
    }

    /// What this peer has from an owner may be outdated.
    private func suspect(_ owner: PeerID) {
        let placement = table.routing.placement
        near.suspect(Slot.all.filter { placement.owner(of: $0) == owner })
    }

    // MARK: Connections and members

    /// What was on its way in either direction may be lost.
    func closed(to peer: PeerID) {
        if let receiver = receivers.withLock({ $0.byPeer[peer] }) { receiver.skip() }
        suspect(peer)
    }

    /// Tells those that missed a message, once there is a connection. Called every 100 ms.
    func tick() {
        if isRepaired.exchange(false, ordering: .relaxed) { changedEverything() }
        let view = table.routing.view
        let behind = receivers.withLock { receivers in
            let behind = receivers.byPeer.values.filter { $0.isBehind.load(ordering: .relaxed) && directory.connection(to: $0.peer) != nil }
            for peer in receivers.byPeer.keys where view?.member(peer)?.status.isPresent != true && directory.connection(to: peer) == nil {
                receivers.byPeer[peer] = nil
            }
            return behind
        }
        for receiver in behind {
            receiver.isBehind.store(false, ordering: .relaxed)
            tell(receiver, .everything)
        }
        heard.withLock { heard in
            for owner in heard.keys where view?.member(owner)?.status.isPresent != true && directory.connection(to: owner) == nil {
                heard[owner] = nil
            }
        }
    }
}

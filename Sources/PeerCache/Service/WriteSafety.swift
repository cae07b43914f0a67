internal import PeerCacheCore
internal import PeerCacheTransport
internal import Synchronization

/// So that the crash of an owner loses values and not invalidations (`CONTRACT.md` §5.2): as owner, how far the writes have copies; as caller,
/// a journal of what was written and has none yet.
final class WriteSafety: Sendable {
    private let progress = Lock(CopyProgress())
    private let journal: Lock<CallerJournal>
    /// A round is under way.
    private let isAsking = Atomic(false)
    /// Owners of journal entries that are being asked, or replaced: one that is silent holds up no other.
    private let looksAt = Lock<Set<PeerID>>([])  // asked for membership, never iterated
    private static let looksMax = 8
    /// Entries of an owner that are told at a time, and how often one is tried, with pauses of 20 ms: a next owner first asks the former ones.
    private static let replaysMax = 64, attemptsMax = 100

    /// - Parameter bytesMax: of the journal; at most 4 MiB are used.
    init(bytesMax: Int) { journal = Lock(CallerJournal(bytesMax: min(4 << 20, bytesMax))) }

    /// Called every 100 ms.
    func tick(_ core: PeerCore) {
        advance(core)
        look(core)
    }

    // MARK: As owner

    /// Clock up to which all writes of this peer have copies.
    var copiedThrough: UInt64 { progress.withLock { $0.through } }

    /// A write begins whose caller may keep a journal. Before its stamp is minted.
    func began() -> Int { progress.withLock { $0.began() } }

    /// Before copies are sent.
    /// - Parameter side: from ``began()``.
    func sends(_ side: Int, _ hash: UInt64, to holders: [PeerID]) {
        progress.withLock { $0.sends(side, slot: Slot(hash: hash), to: holders) }
    }

    func ended(_ side: Int) { progress.withLock { $0.ended(side) } }

    /// A copy was sent, and nobody waits for its answer any more: the next round finds out whether it arrived.
    func sent(_ hash: UInt64, to holder: PeerID) {
        progress.withLock { progress in
            let side = progress.began()
            progress.sends(side, slot: Slot(hash: hash), to: [holder])
            progress.ended(side)
        }
    }

    /// The connection to a holder broke, and with it what was on its way.
    func lost(to holder: PeerID, _ core: PeerCore) {
        let slots = progress.withLock { $0.slots(sentTo: holder) }
        if !slots.isEmpty { core.replicator.missed(slots, by: holder) }
    }

    private func advance(_ core: PeerCore) {
        let copies = progress.withLock { progress in
            // Minted under the lock: whoever begins a write after this gets a higher stamp.
            progress.beginRound(clock: core.clock.mint(above: 0))
            return progress.copiesOfRound
        }
        guard let copies, !isAsking.exchange(true, ordering: .acquiringAndReleasing) else { return }
        let isStarted = core.tasks.start {
            var isComplete = true
            for (holder, slots) in copies where await core.copiedThrough(at: holder) == nil {
                isComplete = false
                // What was on its way there may be lost.
                core.replicator.missed(slots, by: holder)
            }
            let isRepaired = core.replicator.counts.dirty == 0
            self.progress.withLock { $0.endRound(isComplete: isComplete && isRepaired) }
            self.isAsking.store(false, ordering: .releasing)
        }
        if isStarted == nil { isAsking.store(false, ordering: .releasing) }
    }

    // MARK: As caller

    /// Entries that wait for copies.
    var journalCount: Int { journal.withLock { $0.count } }

    /// An owner has acknowledged a write.
    func note(_ key: [UInt8], _ cache: CacheCore, _ stamp: Stamp, at owner: PeerID) {
        let entry = CallerJournal.Entry(cache: cache.index, key: key, stamp: stamp)
        if !journal.withLock({ $0.note(entry, at: owner) }) { cache.peer.counters.add(.journalOverflows) }
    }

    /// Asks owners that are there how far they are, and tells the next owners of what those wrote that are gone.
    func look(_ core: PeerCore) {
        for owner in journal.withLock({ $0.owners }) {
            guard looksAt.withLock({ $0.count < Self.looksMax && $0.insert(owner).inserted }) else { continue }
            let isStarted = core.tasks.start {
                await self.look(at: owner, core)
                self.looksAt.withLock { _ = $0.remove(owner) }
            }
            if isStarted == nil { looksAt.withLock { _ = $0.remove(owner) } }
        }
    }

    private func look(at owner: PeerID, _ core: PeerCore) async {
        if core.table.routing.view?.member(owner)?.status.isPresent == true {
            if let clock = await core.copiedThrough(at: owner) { journal.withLock { $0.copied(through: clock, by: owner) } }
        } else if let entries = journal.withLock({ $0.take(of: owner) }) {
            await replay(entries, core)
        }
    }

    private func replay(_ entries: [CallerJournal.Entry], _ core: PeerCore) async {
        let caches = core.cachesByIndex
        await withTaskGroup(of: Void.self) { group in
            for (index, entry) in entries.enumerated() {
                guard let cache = caches[entry.cache] else { continue }
                if index >= Self.replaysMax { await group.next() }
                group.addTask { await Self.replay(entry, cache) }
            }
        }
    }

    private static func replay(_ entry: CallerJournal.Entry, _ cache: CacheCore) async {
        for _ in 0..<attemptsMax where !Task.isCancelled {
            if await cache.removeOlder(entry.key, than: entry.stamp) { return cache.peer.counters.add(.journalReplays) }
            try? await Task.sleep(for: .milliseconds(20))
        }
        cache.peer.counters.add(.journalOverflows)
    }
}

extension PeerCore {
    /// How far a peer's writes have copies. Its answer comes after it has taken in what was sent to it before. Nil: none came.
    func copiedThrough(at other: PeerID) async -> UInt64? {
        let answer = await call(other, patience: requestPatience) { id, milliseconds, frames in
            var request = WireRequest(kind: .readClock, cache: UnsafeRawBufferPointer(start: nil, count: 0))
            request.id = id
            request.deadlineMilliseconds = milliseconds
            frames.append(request)
        }
        guard case .success(let response) = answer, response.status == .ok else { return nil }
        return response.copiedThrough
    }
}

extension CacheCore {
    /// Sees to it that the owner of a key holds nothing older than the stamp. False: it did not confirm.
    func removeOlder(_ key: [UInt8], than stamp: Stamp) async -> Bool {
        let hash = hash(key)
        guard let owner = peer.table.routing.owner(hash) else { return true }
        if owner == peer.me { return removeOlderOwned(key, hash, than: stamp) }
        let answer = await peer.call(owner, patience: peer.requestPatience) { id, milliseconds, frames in
            withRequest(.removeOlder, key) { request in
                request.id = id
                request.stamp = stamp
                request.deadlineMilliseconds = milliseconds
                frames.append(request)
            }
        }
        if case .success(let response) = answer { return response.status == .ok || response.status == .noLoader }
        return false
    }

    /// As owner. Also when nothing is held: an older entry may be on its way from another holder. False: this peer is not the owner.
    func removeOlderOwned(_ key: [UInt8], _ hash: UInt64, than stamp: Stamp) -> Bool {
        guard peer.table.routing.isOwned(hash), peer.replicator.serving(hash) != .claiming else { return false }
        guard guardStamp(key, hash) < stamp else { return true }
        guard let removed = storeOwned(key, hash, .tombstone()) else { return false }
        sendCopies(.tombstone(), key, hash, removed.stamp)
        return true
    }
}

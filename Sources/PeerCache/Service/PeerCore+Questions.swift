internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// What the ``ReplicaMachine`` asks other peers, and what is done with their answers.
extension PeerCore {
    private static let questionPatience = Patience(.seconds(2))
    /// For claims, and for what a reader waits for.
    private static let shortPatience = Patience(.milliseconds(300))

    func ask(_ question: ReplicaMachine.Question, of other: PeerID) async -> ReplicaMachine.Answer {
        switch question {
        case .claim(let slots, let placement): await claim(PageWriter.claim(slots), placement, other)
        case .missed(let slots, let placement): await claim(PageWriter.claim(slots, isMissed: true), placement, other)
        case .pull(let request, let kind): await pull(request, kind, other)
        case .compare(let buckets): await compare(buckets, other)
        case .repair(let bucket): await repair(bucket, other)
        }
    }

    private func request(
        _ kind: RequestKind, _ value: [UInt8], placement: UInt64 = 0, flags: RequestFlags = .none, to other: PeerID, _ patience: Patience
    ) async -> PeerResponse? {
        let answer = await call(other, patience: patience) { id, milliseconds, frames in
            value.withUnsafeBytes { bytes in
                var request = WireRequest(kind: kind, cache: UnsafeRawBufferPointer(start: nil, count: 0))
                request.id = id
                request.deadlineMilliseconds = milliseconds
                request.placement = placement
                request.flags = flags
                request.value = bytes
                frames.append(request)
            }
        }
        if case .success(let response) = answer { return response }
        return nil
    }

    private func claim(_ claim: [UInt8], _ placement: UInt64, _ other: PeerID) async -> ReplicaMachine.Answer {
        guard let response = await request(.claim, claim, placement: placement, to: other, Self.shortPatience) else { return .none }
        if response.status == .notOwner { return .disagrees }
        guard response.status == .ok else { return .none }
        let answer = response.value.withUnsafeReadableBytes { bytes in
            try? PageReader.claimAnswer(bytes) { name, floor in
                if clock.accepts(floor), let cache = cache(named: name) { cache.clearHere(upTo: floor) }
            }
        }
        return answer.map { .claimed($0) } ?? .none
    }

    /// - Parameters:
    ///   - scheme: of the strict caches that the page is for; nil: it is for the fast ones, or a repair of all.
    ///   - speaksForAll: as in ``PageKind``.
    ///   - isRepair: it brings what both hold of any cache.
    private func pageContext(
        _ scheme: QuorumScheme?, from other: PeerID, speaksForAll: Bool = true, isRepair: Bool = false
    ) -> PageContext {
        let routing = table.routing
        let caches = cachesByIndex
        // After the routing: what that takes from this peer is kept already.
        let kept = scheme == nil ? replicator.keptForOthers : SlotSet()
        return PageContext(
            cache: { self.cache(named: $0)?.index },
            holds: { index, slot in
                guard let cache = caches[index], isRepair || cache.scheme == scheme else { return false }
                return routing.isHolder(slot, copies: cache.options.copies) || (cache.scheme == nil && kept.contains(slot))
            },
            isConcerned: { index, slot in
                guard let cache = caches[index], cache.scheme == scheme else { return false }
                return speaksForAll || routing.placement.peers(of: slot, copies: cache.options.copies).contains(other)
            },
            hash: { index, key in caches[index]?.secret.hash(key) ?? 0 },
            accepts: { self.clock.accepts($0) }, now: clock.tick(), dropsUnknown: scheme != nil)
    }

    private func pull(_ pull: PullRequest, _ kind: PageKind, _ other: PeerID) async -> ReplicaMachine.Answer {
        guard let response = await request(.pull, PageWriter.pull(pull), flags: .gathering, to: other, Self.questionPatience) else {
            return .none
        }
        if response.status == .notHolder { return .notHeld }
        guard let result = await takeIn(response, pull, kind, nil, from: other) else { return .none }
        return .pulled(slots: result.slots, next: result.next, bytes: result.bytes)
    }

    /// Takes in a page, and the values that were too long for it.
    private func takeIn(
        _ response: PeerResponse, _ pull: PullRequest, _ kind: PageKind, _ scheme: QuorumScheme?, from other: PeerID
    ) async -> PageResult? {
        let context = pageContext(scheme, from: other, speaksForAll: kind.speaksForAll)
        guard response.status == .ok,
            var result = response.value.withUnsafeReadableBytes({ bytes in
                try? store.takeIn(bytes, asked: pull, isDoubtful: kind.isDoubtful, context)
            })
        else { return nil }
        counters.add(.bytesPulled, UInt64(result.bytes))
        for (key, stamp, version) in result.deferred { result.bytes += await fetch(key, stamp, version: version, from: other) }
        for floor in result.floors { store.raiseFloor(of: floor.bucket, to: floor.stamp, gathered: floor.gathered) }
        return result
    }

    // MARK: Strict caches

    func ask(_ question: VoterMachine.Question, _ scheme: QuorumScheme, of other: PeerID) async -> VoterMachine.Answer {
        switch question {
        case .seal(let seal):
            guard
                let response = await request(
                    .seal, PageWriter.seal(seal, scheme), placement: seal.placement, to: other, Self.questionPatience)
            else { return .none }
            if response.status == .notOwner { return .disagrees }
            guard response.status == .ok else { return .none }
            let answer = response.value.withUnsafeReadableBytes { bytes in
                try? PageReader.sealAnswer(bytes) { name, floor in
                    if clock.accepts(floor), let cache = cache(named: name) { cache.clearHere(upTo: floor) }
                }
            }
            return answer.map { .sealed($0) } ?? .none
        case .pull(let pull):
            guard let response = await request(.pull, PageWriter.pull(pull), to: other, Self.questionPatience),
                let result = await takeIn(response, pull, PageKind(isDoubtful: true, speaksForAll: true), scheme, from: other)
            else { return .none }
            return .pulled(slots: result.slots, next: result.next, bytes: result.bytes)
        }
    }

    /// Fetches a value that was too long for a page. If it does not come, what is older here goes: it has been replaced.
    /// - Returns: its bytes.
    private func fetch(_ key: HeldKey, _ stamp: Stamp, version: UInt64, from other: PeerID) async -> Int {
        guard let cache = cachesByIndex[key.cache] else { return 0 }
        let hash = cache.hash(key.bytes)
        if case .held(let found) = await cache.fetch(key.bytes, hash, from: other, patience: Self.questionPatience),
            (cache.version(of: found), found.stamp) >= (version, stamp)
        {
            cache.takeIn(found, key.bytes, hash)
            return found.bytes.readableBytes
        }
        // Whatever else comes of this key is older.
        store.raiseFloor(of: BucketIndex(hash: hash), to: stamp) { $0 == key.cache ? stamp : .zero }
        key.bytes.withUnsafeBytes { bytes in
            guard store.wants(cache.id(hash), bytes.bytes, stamp: stamp, version: version) else { return }
            _ = store.drop(cache.id(hash), bytes.bytes, below: version > 0 ? nil : stamp)
        }
        return 0
    }

    /// Whether a slot may be compared with another peer's now: all that there is is here.
    var isComparable: (Slot) -> Bool {
        let votes = caches.compactMap(\.votes), digest = table.routing.digest
        return { [replicator] slot in
            replicator.isComparable(slot, isVoting: votes.contains { $0.contains(slot, placement: digest) })
        }
    }

    /// Whether the entries of a cache are compared with another peer: both hold the slot for it.
    func isCompared(with other: PeerID) -> (CacheIndex, Slot) -> Bool {
        let routing = table.routing
        let caches = cachesByIndex
        return { index, slot in
            guard let cache = caches[index] else { return false }
            let holders = routing.placement.peers(of: slot, copies: cache.options.copies)
            return holders.contains(routing.me) && holders.contains(other)
        }
    }

    private func compare(_ buckets: [BucketIndex], _ other: PeerID) async -> ReplicaMachine.Answer {
        let now = clock.tick(), isComparable = isComparable, isCompared = isCompared(with: other)
        let summaries = buckets.compactMap { bucket in
            Slot(index: bucket.slot).flatMap { slot in
                isComparable(slot) ? store.summary(of: bucket, now: now, isCompared: { isCompared($0, slot) }) : nil
            }
        }
        if summaries.isEmpty { return .differ([]) }
        // Behind a cut link they would fill the queue, and calls of the application find no room.
        guard let connection = directory.connection(to: other), !connection.isStalled else { return .none }
        guard let response = await request(.compare, PageWriter.compare(summaries), to: other, Self.questionPatience),
            response.status == .ok,
            let buckets = response.value.withUnsafeReadableBytes({ try? PageReader.differences($0) })
        else { return .none }
        return .differ(buckets)
    }

    private func repair(_ bucket: BucketIndex, _ other: PeerID) async -> ReplicaMachine.Answer {
        guard let slot = Slot(index: bucket.slot) else { return .none }
        let pull = PullRequest(slots: [slot], bucket: bucket.index % BucketIndex.perSlot, isBucketOnly: true)
        guard let response = await request(.pull, PageWriter.pull(pull), to: other, Self.questionPatience), response.status == .ok,
            let connection = directory.connection(to: other)
        else { return .none }
        let caches = cachesByIndex
        var isShipped = true
        let result = response.value.withUnsafeReadableBytes { bytes in
            try? store.repair(bucket, with: bytes, pageContext(nil, from: other, isRepair: true)) { id, key, info, value in
                guard let cache = caches[id.cache] else { return }
                // The two may have the slot in common for other caches only.
                guard table.routing.holders(id.hash, copies: cache.options.copies).contains(other) else { return }
                let isSent = cache.ship(key, value, info, to: connection)
                counters.add(isSent ? .entriesShipped : .copiesDropped)
                isShipped = isShipped && isSent
            }
        }
        guard let result else { return .none }
        counters.add(.bytesPulled, UInt64(result.bytes))
        guard isShipped else { return .none }
        counters.add(.bucketsRepaired)
        var bytes = result.bytes
        for (key, stamp, version) in result.deferred { bytes += await fetch(key, stamp, version: version, from: other) }
        coherence.repaired(slot)
        return .repaired(bytes: bytes)
    }
}

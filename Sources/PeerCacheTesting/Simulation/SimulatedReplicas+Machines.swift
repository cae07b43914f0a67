import PeerCacheCore

/// A peer's replica machine and store: a short form of what the library's `Replicator` and `RequestServer` do.
extension SimulatedReplicas {
    func wall(_ index: Int) -> UInt64 { 1_700_000_000_000 + UInt64(now / 1_000_000) + peers[index].offset }

    func reading(_ index: Int) -> UInt64 { peers[index].clock.reading(wallMilliseconds: wall(index)) }

    func tick(_ index: Int) -> Tick { Tick(milliseconds: reading(index) >> 16) }

    mutating func step(_ index: Int, _ input: ReplicaMachine.Input, _ placement: Placement? = nil) {
        var effects: [ReplicaMachine.Effect] = []
        peers[index].machine.handle(input, now: Instant(nanoseconds: now, hlc: reading(index)), into: &effects)
        for effect in effects {
            if trace != nil { traceChange(index, effect) }
            switch effect {
            case .adopt(let slot):
                peers[index].partlyHeld.remove(slot)
                peers[index].store.enter(slot, scenario.copies.indices.map { CacheIndex(UInt16($0)) })
            case .enter(let slot, let copies):
                let caches = scenario.copies.indices.filter { copies.contains(scenario.copies[$0]) }.map { CacheIndex(UInt16($0)) }
                peers[index].store.enter(slot, caches)
            case .forget(let slot):
                peers[index].partlyHeld.remove(slot)
                peers[index].store.forget(slot)
            case .drop(let slot, let clock):
                let (store, now) = (peers[index].store, tick(index))
                for bucket in BucketIndex.all(of: slot) {
                    store.dropOutdated(bucket, now: now) { _ in Stamp(clock: clock, origin: 0) }
                }
            case .release(let slot, let rank):
                let gone = scenario.copies.indices.filter { scenario.copies[$0] <= rank }.map { CacheIndex(UInt16($0)) }
                if gone.isEmpty { continue }
                peers[index].partlyHeld.insert(slot)
                peers[index].store.forget(slot) { gone.contains($0) }
            case .serve(let slot, let serving):
                peers[index].serving[slot.index] = serving
                if serving == .open { peers[index].store.settle(slot) { _ in true } }
                guard peers[index].partlyHeld.contains(slot), peers[index].machine.isHolderForAll(slot) else { continue }
                peers[index].partlyHeld.remove(slot)
            case .call, .synchronize: break
            }
        }
        if let placement { peers[index].placement = placement }
        for effect in effects {
            guard case .call(let id, let question, let other) = effect, let to = peers.firstIndex(where: { $0.id == other }) else {
                continue
            }
            switch question {
            case .claim(let slots, let digest): send(index, to, .question(id, PageWriter.claim(slots), .claim(digest)))
            case .missed(let slots, let digest):
                send(index, to, .question(id, PageWriter.claim(slots, isMissed: true), .missed(digest)))
            case .pull(let pull, let kind): send(index, to, .question(id, PageWriter.pull(pull), .pull(pull, kind)))
            case .compare(let buckets):
                let isCompared = isCompared(index, with: to)
                let own = buckets.compactMap { bucket in
                    Slot(index: bucket.slot).flatMap { slot in
                        peers[index].store.summary(of: bucket, now: tick(index)) { isCompared($0, slot) }
                    }
                }
                send(index, to, .question(id, PageWriter.compare(own), .compare))
            case .repair(let bucket):
                guard let slot = Slot(index: bucket.slot) else { continue }
                let pull = PullRequest(slots: [slot], bucket: bucket.index % BucketIndex.perSlot, isBucketOnly: true)
                send(index, to, .question(id, PageWriter.pull(pull), .repair(bucket)))
            }
        }
    }

    /// What a peer answers; nil: it refuses.
    mutating func answer(_ index: Int, _ asker: Int, _ bytes: [UInt8], _ question: Question) -> [UInt8]? {
        if case .missed(let digest) = question, peers[index].placement.digest == digest,
            let slots = bytes.withUnsafeBytes({ try? PageReader.claim($0).slots })
        {
            step(index, .missed(slots))
        }
        return bytes.withUnsafeBytes { bytes in
            switch question {
            case .claim(let digest), .missed(let digest):
                guard peers[index].placement.digest == digest, let slots = try? PageReader.claim(bytes).slots else { return nil }
                let answer = peers[index].machine.answer(to: slots, of: peers[asker].id, isBlank: peers[index].store.isBlank)
                peers[index].machine.offer(answer, to: peers[asker].id)
                trace(index, "says to \(asker) that all is here of", of: answer.complete)
                trace(index, "says to \(asker) that a part is here of", of: answer.partial)
                return PageWriter.claimAnswer(answer, floors: [])
            case .pull:
                guard let pull = try? PageReader.pull(bytes) else { return nil }
                let offered = peers[index].machine.offered(to: peers[asker].id)
                let held = Array(pull.slots.prefix { offered.contains($0) && !hasLetGoOfPart(index, of: $0, neededBy: asker) })
                if held.isEmpty { return nil }
                return page(index, PullRequest(slots: held, bucket: pull.bucket, isBucketOnly: pull.isBucketOnly))
            case .repair: return (try? PageReader.pull(bytes)).flatMap { page(index, $0) }
            case .compare:
                guard let others = try? PageReader.compare(bytes) else { return nil }
                let machine = peers[index].machine
                return PageWriter.differences(
                    peers[index].store.differences(
                        from: others, now: tick(index), isComplete: { machine.isComparable($0, isVoting: false) },
                        isCompared: isCompared(index, with: asker)))
            }
        }
    }

    private func page(_ index: Int, _ pull: PullRequest) -> [UInt8]? {
        peers[index].store.page(pull, now: tick(index)) { Array("\($0.value)".utf8) }
    }

    /// Whether the asker, earlier in the slot's list, needs more caches than this peer has kept, and another one has them.
    private func hasLetGoOfPart(_ index: Int, of slot: Slot, neededBy asker: Int) -> Bool {
        guard peers[index].partlyHeld.contains(slot) else { return false }
        let list = peers[index].placement.peers(of: slot, copies: Placement.ranksMax), asker = peers[asker].id
        guard let mine = list.firstIndex(of: peers[index].id), let theirs = list.firstIndex(of: asker), theirs < mine else { return false }
        return list.prefix(scenario.copies.min() ?? 0).contains { id in id != asker && peers.contains { $0.id == id && $0.isAlive } }
    }

    /// Whether both peers hold the slot for a cache, as far as this one knows.
    private func isCompared(_ index: Int, with other: Int) -> (CacheIndex, Slot) -> Bool {
        { [placement = peers[index].placement, copies = scenario.copies, both = [peers[index].id, peers[other].id]] cache, slot in
            let holders = placement.peers(of: slot, copies: copies[Int(cache.value)])
            return both.allSatisfy { holders.contains($0) }
        }
    }

    /// Whether a peer is in the slot's list for a cache, as far as another one knows.
    private func speaks(_ other: Int, to index: Int) -> (CacheIndex, Slot) -> Bool {
        { [placement = peers[index].placement, copies = scenario.copies, other = peers[other].id] cache, slot in
            placement.peers(of: slot, copies: copies[Int(cache.value)]).contains(other)
        }
    }

    mutating func answered(_ index: Int, _ id: ReplicaMachine.CallID, _ bytes: [UInt8]?, _ question: Question, from other: Int) {
        var result = ReplicaMachine.Answer.none
        let kept = peers[index].machine.keptForOthers
        var context = PageContext(
            cache: { UInt16(String(decoding: $0, as: UTF8.self)).map(CacheIndex.init) },
            holds: { [placement = peers[index].placement, me = peers[index].id, copies = scenario.copies] cache, slot in
                kept.contains(slot) || placement.peers(of: slot, copies: copies[Int(cache.value)]).contains(me)
            },
            hash: { [secret] in secret.hash($1) }, accepts: { _ in true }, now: tick(index))
        let store = peers[index].store
        var shipped: [(Int, Stamp, Int?)] = []
        bytes?.withUnsafeBytes { bytes in
            switch question {
            case .claim, .missed: if let answer = try? PageReader.claimAnswer(bytes, floor: { _, _ in }) { result = .claimed(answer) }
            case .pull(let pull, let kind):
                let speaks = speaks(other, to: index)
                context.isConcerned = { kind.speaksForAll || speaks($0, $1) }
                if let page = try? store.takeIn(bytes, asked: pull, isDoubtful: kind.isDoubtful, context) {
                    figures.pages += 1
                    if page.refused > 0 || !page.deferred.isEmpty { problem = "a page with \(page)" }
                    result = .pulled(slots: page.slots, next: page.next, bytes: page.bytes)
                    trace(index, "has from \(other) the slots of", of: SlotSet(pull.slots.prefix(page.slots)))
                }
            case .compare: if let buckets = try? PageReader.differences(bytes) { result = .differ(buckets) }
            case .repair(let bucket):
                let page = try? store.repair(bucket, with: bytes, context) { _, key, info, value in
                    shipped.append((Self.key(key), info.stamp, info.isTombstone ? nil : Self.row(value)))
                }
                if let page {
                    figures.repairs += 1
                    result = .repaired(bytes: page.bytes)
                }
            }
        }
        // The two may have the slot in common for other caches only.
        for (key, stamp, row) in shipped where holders(of: key, by: peers[index].placement).contains(peers[other].id) {
            send(index, other, .apply(key: key, stamp, row: row))
        }
        if bytes == nil {
            switch question {
            case .claim, .missed: result = .disagrees
            case .pull: result = .notHeld
            case .compare, .repair: break
            }
        }
        step(index, .answered(id, result))
    }

    // MARK: What is traced

    private func trace(_ index: Int, _ text: String, of slots: SlotSet) {
        guard let trace else { return }
        for key in 0..<scenario.keys where slots.contains(slot(key)) { trace("\(now / 1_000_000) peer \(index) \(text) key \(key).") }
    }

    private func traceChange(_ index: Int, _ effect: ReplicaMachine.Effect) {
        switch effect {
        case .adopt(let slot): trace(index, "adopts the slot of", of: SlotSet([slot]))
        case .enter(let slot, let copies): trace(index, "gains caches of \(copies) copies in the slot of", of: SlotSet([slot]))
        case .forget(let slot): trace(index, "forgets the slot of", of: SlotSet([slot]))
        case .drop(let slot, let clock): trace(index, "drops what is older than \(clock) of", of: SlotSet([slot]))
        case .release(let slot, let rank): trace(index, "lets go of caches of up to \(rank) copies in the slot of", of: SlotSet([slot]))
        case .serve(let slot, let serving): trace(index, "is \(serving) for the slot of", of: SlotSet([slot]))
        case .call, .synchronize: break
        }
    }
}

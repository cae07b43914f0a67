import PeerCacheCore

/// The machines, and what voters answer.
extension SimulatedQuorum {
    mutating func step(_ index: Int, _ input: VoterMachine.Input) {
        var effects: [VoterMachine.Effect] = []
        peers[index].machine.handle(input, now: Instant(nanoseconds: now, hlc: reading(index)), into: &effects)
        for effect in effects {
            switch effect {
            case .adopt(let slot): peers[index].store.enter(slot, [CacheIndex(0)])
            case .forget(let slot):
                peers[index].store.forget(slot)
                for key in keys.indices where keys[key].id.slot == slot { peers[index].guards[key] = nil }
            case .reset(let slot):
                peers[index].store.forget(slot)
                peers[index].store.adopt(slot)
                let stamp = mint(index, above: .zero)
                for bucket in BucketIndex.all(of: slot) { peers[index].store.raiseFloor(of: bucket, to: stamp) }
            case .votes(let slots):
                figures.votes += slots.count
                for slot in slots.slots { peers[index].store.settle(slot) { _ in true } }
                if !slots.isEmpty { peers[index].hasVoted = true }
                trace?("\(now / 1_000) peer \(index) votes on \(slots.slots.map(\.index)) under table \(peers[index].version)")
            case .call(let id, let question, let other):
                guard let to = peers.firstIndex(where: { $0.id == other }) else { continue }
                switch question {
                case .seal(let seal): send(index, to, .seal(id, PageWriter.seal(seal, scenario.scheme) + number(seal.placement)))
                case .pull(let pull): send(index, to, .pull(id, pull))
                }
            case .synchronize(let other): if let to = peers.firstIndex(where: { $0.id == other }) { synchronize(index, to) }
            }
        }
    }

    // The placement travels beside the message; here behind it.
    private func number(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

    mutating func answer(_ index: Int, _ bytes: [UInt8], from: Int) -> [UInt8]? {
        let placement = bytes.suffix(8).enumerated().reduce(UInt64(0)) { $0 | UInt64($1.element) << UInt64(8 * $1.offset) }
        let seal = Array(bytes.dropLast(8)).withUnsafeBytes { try? PageReader.seal($0, placement: placement).0 }
        guard let seal else {
            problem = "a seal that cannot be read"
            return nil
        }
        guard let answer = peers[index].machine.answer(seal) else {
            synchronize(index, from)
            return nil
        }
        return PageWriter.sealAnswer(answer, floors: [])
    }

    mutating func sealed(_ index: Int, _ id: VoterMachine.CallID, _ bytes: [UInt8]?) {
        guard let bytes else { return step(index, .answered(id, .disagrees)) }
        guard let answer = bytes.withUnsafeBytes({ try? PageReader.sealAnswer($0) { _, _ in } }) else {
            problem = "an answer to a seal that cannot be read"
            return
        }
        step(index, .answered(id, .sealed(answer)))
    }

    func page(_ index: Int, _ pull: PullRequest) -> [UInt8]? { peers[index].store.page(pull, now: tick(index)) { _ in [99] } }

    func context(_ index: Int) -> PageContext {
        PageContext(
            cache: { _ in CacheIndex(0) }, holds: { _, _ in true }, hash: { [secret] in Self.hash($1, secret: secret) },
            accepts: { _ in true }, now: tick(index))
    }

    mutating func took(_ index: Int, _ id: VoterMachine.CallID, _ pull: PullRequest, _ bytes: [UInt8]?) {
        guard let bytes else { return step(index, .answered(id, .none)) }
        let context = context(index)
        let isDoubtful = scenario.mutant != .blindFloorMerge
        let page = bytes.withUnsafeBytes { try? peers[index].store.takeIn($0, asked: pull, isDoubtful: isDoubtful, context) }
        guard let page else {
            problem = "a page that cannot be read"
            return
        }
        figures.merges += 1
        step(index, .answered(id, .pulled(slots: page.slots, next: page.next, bytes: page.bytes)))
    }

    // MARK: Reads and writes

    /// Whether this peer takes part in what is asked under a placement.
    private mutating func takesPart(_ index: Int, _ from: Int, _ key: Int, _ placement: UInt64) -> Bool {
        guard peers[index].machine.placement.digest == placement else {
            figures.wrongPlacement += 1
            synchronize(index, from)
            return false
        }
        guard peers[index].machine.voting.contains(keys[key].id.slot) else {
            figures.abstained += 1
            return false
        }
        return true
    }

    func guardStamp(_ index: Int, _ key: Int) -> Stamp {
        keys[key].bytes.withUnsafeBytes { peers[index].store.guardStamp(keys[key].id, $0.bytes) }
    }

    /// What a peer knows of a key, with its value; nil when it takes no part.
    mutating func ask(_ index: Int, _ from: Int, _ attempt: Attempt, _ key: Int, _ wantsValue: Bool) {
        guard takesPart(index, from, key, attempt.placement) else { return send(index, from, .told(attempt, nil, value: nil)) }
        let (answer, value) = known(index, key, wantsValue)
        check(index, key)
        send(index, from, .told(attempt, answer, value: value))
    }

    func known(_ index: Int, _ key: Int, _ wantsValue: Bool) -> (QuorumRead.Answer, Int?) {
        var answer = QuorumRead.Answer(guardStamp: guardStamp(index, key), isHeld: false)
        var found: Int?
        keys[key].bytes.withUnsafeBytes { bytes in
            guard let info = peers[index].store.held(keys[key].id, bytes.bytes) else { return }
            _ = peers[index].store.visit(keys[key].id, bytes.bytes, now: tick(index)) { _, value in
                found = value.withUnsafeBytes { Int($0.loadUnaligned(as: Int64.self)) }
            }
            // What is over by its ttl counts as dropped.
            guard info.isTombstone || found != nil else { return }
            (answer.isHeld, answer.isTombstone, answer.hasValue) = (true, info.isTombstone, wantsValue && !info.isTombstone)
        }
        return (answer, wantsValue ? found : nil)
    }

    mutating func apply(_ index: Int, _ from: Int, _ attempt: Attempt, _ key: Int, _ stamp: Stamp, _ content: Content) {
        guard peers[index].machine.held.contains(keys[key].id.slot) else { return send(index, from, .applied(attempt, stamp, nil)) }
        let isRefused = peers[index].refuses || (!isScripted && Int.random(in: 0..<1_000, using: &random) < scenario.refusals)
        peers[index].refuses = false
        let result = store(index, key, stamp, content, isRefused: isRefused)
        guard takesPart(index, from, key, attempt.placement) else { return send(index, from, .applied(attempt, stamp, nil)) }
        check(index, key)
        send(index, from, .applied(attempt, stamp, result))
        if !isScripted, Int.random(in: 0..<4_000, using: &random) < scenario.evictions {
            schedule(.evict(index, key: key), at: now + Int64.random(in: 0..<20_000_000, using: &random))
        }
    }

    /// - Parameter isRefused: there is no room for the content.
    mutating func store(_ index: Int, _ key: Int, _ stamp: Stamp, _ content: Content, isRefused: Bool) -> WriteResult {
        if let known = contents[stamp], known != content { problem = "stamp \(stamp) of two contents" }
        contents[stamp] = content
        mix(stamp.clock)
        if isRefused, scenario.mutant == .keepOldOnRefusedStore { return .forgotten }
        let (store, now, id) = (peers[index].store, tick(index), keys[key].id)
        return keys[key].bytes.withUnsafeBytes { bytes in
            guard let value = content.value else {
                let keep = isRefused ? now : Tick(now.value &+ 9_375)
                return store.applyTombstone(id, bytes.bytes, stamp: stamp, keep: keep, now: now)
            }
            let ttl = isRefused ? .zero : content.ttlMilliseconds.map { Duration.milliseconds($0) }
            return withUnsafeBytes(of: Int64(value)) {
                store.apply(id, bytes.bytes, value: $0.bytes, stamp: stamp, ttl: ttl, kind: .explicit, now: now)
            }
        }
    }

    /// While a peer holds a slot, what it knows never gets older (`CONTRACT.md` P2).
    mutating func check(_ index: Int, _ key: Int) {
        let stamp = guardStamp(index, key)
        if let before = peers[index].guards[key], before > stamp {
            problem = "peer \(index) knew \(before) of key \(key), and now \(stamp)"
        }
        peers[index].guards[key] = stamp
    }

    mutating func evict() {
        guard let index = peers.indices.filter({ peers[$0].isAlive }).randomElement(using: &random),
            let key = keys.indices.randomElement(using: &random)
        else { return }
        evict(index, key)
    }

    mutating func evict(_ index: Int, _ key: Int) {
        figures.evictions += 1
        trace?("\(now / 1_000) peer \(index) evicts key \(key) \(guardStamp(index, key))")
        let (store, id) = (peers[index].store, keys[key].id)
        if scenario.mutant == .dropWithoutFloor {
            store.forget(id.slot)
            store.adopt(id.slot)
            peers[index].guards = Array(repeating: nil, count: keys.count)
        } else {
            _ = keys[key].bytes.withUnsafeBytes { store.drop(id, $0.bytes) }
        }
    }
}

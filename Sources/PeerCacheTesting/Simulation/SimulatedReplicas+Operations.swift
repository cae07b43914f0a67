import PeerCacheCore

/// Callers and owners: a short form of what the library's caches do under the fast protocol (`CONTRACT.md` §5).
extension SimulatedReplicas {
    static func key(_ bytes: UnsafeRawBufferPointer) -> Int { Int(String(decoding: bytes, as: UTF8.self)) ?? -1 }
    static func row(_ bytes: UnsafeRawBufferPointer) -> Int { Int(String(decoding: bytes, as: UTF8.self)) ?? -1 }

    func id(_ key: Int) -> KeyID {
        KeyID(
            hash: Array("\(key)".utf8).withUnsafeBytes { secret.hash($0) }, cache: CacheIndex(UInt16(key % scenario.copies.count)))
    }

    func slot(_ key: Int) -> Slot { id(key).slot }

    mutating func handle(_ event: Event) throws {
        switch event {
        case .tick(let index):
            guard peers[index].isAlive else { return }
            step(index, .tick)
            leaveIfDone(index)
            queue.push(.tick(index), at: now + (peers[index].machine.isBusy ? 10_000_000 : 100_000_000))
        case .learn(let index, let version): learn(index, version)
        case .deliver(let from, let to, let message): deliver(message, from: from, to: to)
        case .noAnswer(let index, let id): if peers[index].isAlive { step(index, .answered(id, .none)) }
        case .operate: operate()
        case .change: try change()
        case .start(let count): try start(count)
        case .meet(let group): meet(group)
        case .leave(let index): leave(index)
        case .returned(let index): if peers[index].isAlive { step(index, .returned) }
        case .loaded(let index, let operation, let key, let lease, let row, let digest):
            loaded(index, operation, key, lease, row, digest)
        case .retry(let id): if let operation = operations[id] { begin(id, operation) }
        }
    }

    /// Messages between two peers arrive in order or not at all; a lost question goes unanswered.
    mutating func send(_ from: Int, _ to: Int, _ message: Message) {
        if scenario.slowAnswers > 0, case .answer(_, _, .claim) = message, Int.random(in: 0..<1_000, using: &random) < scenario.slowAnswers
        {
            // A task of its own answers, so what follows need not wait.
            return queue.push(
                .deliver(from: from, to: to, message), at: now + Int64.random(in: 600_000_000..<1_900_000_000, using: &random))
        }
        let pair = from * 1_000 + to
        let at = max(lastDelivery[pair] ?? 0, now + Int64.random(in: 100_000..<3_000_000, using: &random)) + 1
        lastDelivery[pair] = at
        queue.push(.deliver(from: from, to: to, message), at: at)
    }

    private mutating func deliver(_ message: Message, from: Int, to: Int) {
        guard peers[from].isAlive || !isQuestion(message) else { return }
        guard peers[to].isAlive, side[from] == side[to] else { return lost(message, from: from, to: to) }
        if scenario.losses > 0, started < scenario.operations, Int.random(in: 0..<1_000, using: &random) < scenario.losses {
            figures.losses += 1
            trace?("\(now / 1_000_000) from \(from) to \(to) is lost: \(message)")
            return lost(message, from: from, to: to)
        }
        if scenario.silentLosses > 0, case .apply = message, Int.random(in: 0..<1_000, using: &random) < scenario.silentLosses {
            figures.losses += 1
            return
        }
        // Every frame carries the sender's clock.
        _ = peers[to].clock.merge(reading(from), wallMilliseconds: wall(to), offsetMillisecondsMax: 10_000)
        switch message {
        case .question(let id, let bytes, let question): send(to, from, .answer(id, answer(to, from, bytes, question), question))
        case .answer(let id, let bytes, let question): answered(to, id, bytes, question, from: from)
        case .apply(let key, let stamp, let row): apply(to, key, stamp, row)
        case .get(let operation, let key): get(to, from, operation, key)
        case .write(let operation, let key, let row): write(to, from, operation, key, row)
        case .fetch(let operation, let key, var fetch):
            let stamp = guardStamp(to, key)
            if let entry = held(to, key), let row = entry.row {
                if entry.stamp >= fetch.newest { (fetch.best, fetch.newest) = ((entry.stamp, row), entry.stamp) }
            } else if !isHeld(to, key) {
                (fetch.rest, fetch.best) = ([], nil)
            } else if stamp > fetch.newest {
                (fetch.best, fetch.newest) = (nil, stamp)
            }
            send(to, from, .fetched(operation, key: key, fetch))
        case .fetched(let operation, let key, let fetch): fetched(to, operation, key, fetch)
        case .got(let operation, let row, let isHit): got(operation, row, isHit: isHit)
        case .written(let operation, let stamp): written(operation, stamp, by: from)
        case .notOwner(let operation): again(operation)
        }
    }

    private func isQuestion(_ message: Message) -> Bool { if case .question = message { true } else { false } }

    private mutating func lost(_ message: Message, from: Int, to: Int) {
        switch message {
        case .question(let id, _, _): queue.push(.noAnswer(from, id), at: now + 300_000_000)
        case .get(let operation, _): again(operation)
        case .write(let operation, let key, _):
            // It may have been carried out or not; here it was not, but the caller cannot know.
            figures.failures += 1
            operations[operation] = nil
            isBeingWritten[key] = false
        case .fetch(let operation, let key, var fetch):
            (fetch.rest, fetch.best) = ([], nil)
            fetched(from, operation, key, fetch)
        case .apply(let key, _, _): peers[from].machine.markDirty(slot(key), at: peers[to].id)
        case .answer(let id, _, _): queue.push(.noAnswer(to, id), at: now + 300_000_000)
        case .fetched(let operation, let key, var fetch):
            (fetch.rest, fetch.best) = ([], nil)
            fetched(to, operation, key, fetch)
        case .got(let operation, _, _), .notOwner(let operation): again(operation)
        case .written(let id, _):
            guard let operation = operations.removeValue(forKey: id) else { return }
            figures.failures += 1
            isBeingWritten[operation.key] = false
        }
    }

    // MARK: Callers

    private mutating func operate() {
        guard started < scenario.operations else { return }
        started += 1
        let isFilling = scenario.isFilled && started <= scenario.keys
        let every = scenario.operationsEvery
        queue.push(.operate, at: now + Int64.random(in: every.lowerBound * 1_000..<every.upperBound * 1_000, using: &random))
        let key = isFilling ? started - 1 : Int.random(in: 0..<scenario.keys, using: &random)
        // With two sides there are two tables: whoever is in its own.
        let placed = scenario.splits ? Array(peers.indices) : table?.placed ?? []
        let callers = placed.filter { index in
            guard peers[index].isAlive, peers[index].version >= 0, !isApart(index) else { return false }
            return !scenario.splits || tables[peers[index].version].placed.contains(index)
        }
        guard let caller = callers.randomElement(using: &random) else { return }
        let isRead = isBeingWritten[key] || (!isFilling && Int.random(in: 0..<4, using: &random) > 0)
        lastOperation += 1
        var operation = Operation(key: key, caller: caller, isRead: isRead, floor: confirmed[key])
        if !isRead {
            // First the data source, then the cache, as users are told to.
            isBeingWritten[key] = true
            let exists = isFilling || Int.random(in: 0..<3, using: &random) > 0
            rows[key] = (rows[key].version + 1, exists)
            operation.row = exists ? rows[key].version : nil
            operation.floor = rows[key].version
        }
        operations[lastOperation] = operation
        begin(lastOperation, operation)
    }

    private mutating func begin(_ id: OperationID, _ operation: Operation) {
        guard peers[operation.caller].isAlive else {
            operations[id] = nil
            if !operation.isRead { isBeingWritten[operation.key] = false }
            return
        }
        guard let owner = peers[operation.caller].placement.owner(of: slot(operation.key)),
            let index = peers.firstIndex(where: { $0.id == owner })
        else { return again(id) }
        if operation.isRead {
            send(operation.caller, index, .get(id, key: operation.key))
        } else {
            send(operation.caller, index, .write(id, key: operation.key, row: operation.row))
        }
    }

    private mutating func again(_ id: OperationID) {
        guard var operation = operations[id] else { return }
        operation.tries += 1
        operations[id] = operation
        guard operation.tries < 400 else {
            problem = "operation \(id) found no owner"
            return
        }
        queue.push(.retry(id), at: now + 5_000_000)
    }

    private mutating func got(_ id: OperationID, _ row: Int?, isHit: Bool) {
        guard let operation = operations.removeValue(forKey: id) else { return }
        if isHit { figures.hits += 1 } else { figures.loads += 1 }
        if let row, row < operation.floor, !scenario.isStale {
            problem =
                "key \(operation.key): a read that began after version \(operation.floor) was written returned \(row), "
                + (isHit ? "held" : "loaded") + ", at \(now / 1_000_000) ms"
        }
    }

    private mutating func written(_ id: OperationID, _ stamp: Stamp, by owner: Int) {
        guard let operation = operations.removeValue(forKey: id) else { return }
        trace?("\(now / 1_000_000) key \(operation.key) is written at \(stamp.clock)")
        isBeingWritten[operation.key] = false
        if peers[owner].hasCrashed, !isKnown(operation.key, stamp) { return }
        newest[operation.key] = max(newest[operation.key], stamp)
        if !peers[owner].hasCrashed { promised[operation.key] = newest[operation.key] }
        confirmedAt[operation.key] = now
        confirmed[operation.key] = max(confirmed[operation.key], operation.floor)
    }

    /// A living peer has it, or something newer.
    func isKnown(_ key: Int, _ stamp: Stamp) -> Bool {
        peers.indices.contains { peers[$0].isAlive && guardStamp($0, key) >= stamp }
    }

    // MARK: Owners

    private func isOwner(_ index: Int, _ key: Int) -> Bool {
        // Groups that do not know each other both own all: a window of the contract (W4) that `split` looks at.
        !isApart(index) && peers[index].placement.owner(of: slot(key)) == peers[index].id
            && peers[index].serving[slot(key).index] != .claiming
    }

    func holders(of key: Int, by placement: Placement) -> [PeerID] {
        placement.peers(of: slot(key), copies: scenario.copies[key % scenario.copies.count])
    }

    /// Whether something is known of the key's cache in its slot.
    private func isHeld(_ index: Int, _ key: Int) -> Bool {
        guard peers[index].partlyHeld.contains(slot(key)) else { return peers[index].store.isHeld(slot(key)) }
        return holders(of: key, by: peers[index].placement).contains(peers[index].id)
    }

    func held(_ index: Int, _ key: Int) -> (stamp: Stamp, row: Int?)? {
        var found: (Stamp, Int?)?
        let bytes = Array("\(key)".utf8)
        bytes.withUnsafeBytes { bytes in
            if let info = peers[index].store.held(id(key), bytes.bytes), info.isTombstone { found = (info.stamp, nil) }
            _ = peers[index].store.visit(id(key), bytes.bytes, now: tick(index)) { info, value in
                found = (info.stamp, value.withUnsafeBytes { Self.row($0) })
            }
        }
        return found
    }

    private mutating func mint(_ index: Int, above stamp: Stamp) -> Stamp {
        Stamp(
            clock: peers[index].clock.mint(above: stamp.clock, wallMilliseconds: wall(index)), origin: peers[index].id.originTag)
    }

    @discardableResult
    private mutating func apply(_ index: Int, _ key: Int, _ stamp: Stamp, _ row: Int?) -> WriteResult {
        let bytes = Array("\(key)".utf8), value = row.map { Array("\($0)".utf8) } ?? []
        let (store, now) = (peers[index].store, tick(index))
        trace?("\(self.now / 1_000_000) peer \(index) takes \(row.map { "\($0)" } ?? "nothing") of key \(key) at \(stamp.clock)")
        return bytes.withUnsafeBytes { bytes in
            value.withUnsafeBytes { value in
                row == nil
                    ? store.applyTombstone(id(key), bytes.bytes, stamp: stamp, keep: Tick(now.value &+ 9_375), now: now)
                    : store.apply(id(key), bytes.bytes, value: value.bytes, stamp: stamp, ttl: nil, kind: .explicit, now: now)
            }
        }
    }

    func guardStamp(_ index: Int, _ key: Int) -> Stamp {
        Array("\(key)".utf8).withUnsafeBytes { peers[index].store.guardStamp(id(key), $0.bytes) }
    }

    private mutating func write(_ index: Int, _ caller: Int, _ operation: OperationID, _ key: Int, _ row: Int?) {
        guard isOwner(index, key) else { return send(index, caller, .notOwner(operation)) }
        let stamp = mint(index, above: guardStamp(index, key))
        apply(index, key, stamp, row)
        copy(index, key, stamp, row)
        send(index, caller, .written(operation, stamp))
    }

    private mutating func copy(_ index: Int, _ key: Int, _ stamp: Stamp, _ row: Int?) {
        for holder in holders(of: key, by: peers[index].placement) where holder != peers[index].id {
            if let other = peers.firstIndex(where: { $0.id == holder }) { send(index, other, .apply(key: key, stamp, row: row)) }
        }
    }

    private mutating func get(_ index: Int, _ caller: Int, _ operation: OperationID, _ key: Int) {
        guard isOwner(index, key) else { return send(index, caller, .notOwner(operation)) }
        let serving = peers[index].serving[slot(key).index]
        if serving != .doubtful, let row = held(index, key)?.row { return send(index, caller, .got(operation, row: row, isHit: true)) }
        guard serving == .warming || serving == .doubtful else { return load(index, operation, key) }
        let holders = peers[index].machine.holders(of: slot(key)).compactMap { id in peers.firstIndex { $0.id == id } }
        fetched(index, operation, key, Fetch(rest: holders, newest: guardStamp(index, key)))
    }

    private mutating func fetched(_ index: Int, _ id: OperationID, _ key: Int, _ fetch: Fetch) {
        guard let operation = operations[id] else { return }
        var fetch = fetch
        if let next = fetch.rest.first {
            fetch.rest.removeFirst()
            return send(index, next, .fetch(id, key: key, fetch))
        }
        if let (stamp, row) = fetch.best {
            figures.warm += 1
            let isTaken = apply(index, key, stamp, row) == .stored
            if let row = isTaken ? row : held(index, key)?.row { return send(index, operation.caller, .got(id, row: row, isHit: true)) }
        }
        load(index, id, key)
    }

    private mutating func load(_ index: Int, _ operation: OperationID, _ key: Int) {
        let lease = mint(index, above: guardStamp(index, key))
        let row = rows[key]
        queue.push(
            .loaded(
                index, operation, key: key, lease: lease, row: row.exists ? row.version : -1, digest: peers[index].placement.digest),
            at: now + Int64.random(in: 1_000_000..<60_000_000, using: &random))
    }

    private mutating func loaded(_ index: Int, _ id: OperationID, _ key: Int, _ lease: Stamp, _ row: Int, _ digest: UInt64) {
        guard let operation = operations[id], peers[index].isAlive else { return }
        if row >= 0, peers[index].placement.digest == digest, apply(index, key, lease, row) == .stored { copy(index, key, lease, row) }
        send(index, operation.caller, .got(id, row: row >= 0 ? row : nil, isHit: false))
    }
}

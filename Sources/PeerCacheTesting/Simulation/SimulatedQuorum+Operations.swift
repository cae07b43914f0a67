import PeerCacheCore

/// Callers: what the library's strict caches do, driven by the same reads and writes.
extension SimulatedQuorum {
    enum Work: Sendable {
        case write(Int?), read
        /// A miss at the owner, with a loader.
        case load
    }

    enum Progress {
        case idle
        case reading(QuorumRead)
        case writing(QuorumWrite)
        /// Telling the lease to enough voters.
        case leasing(QuorumWrite, lease: Stamp)
        case loading(lease: Stamp, placement: UInt64)
    }

    struct Operation {
        var key: Int
        var work: Work
        var caller = -1
        var started: Int64 = 0
        var progress = Progress.idle
        var attempt = 0
        var placement: UInt64 = 0
        var voters: [Int] = []
        /// Minted once.
        var stamp: Stamp?
        var content = Content()
        var values: [Int: Int] = [:]  // by voter
        /// When and how it ended; nil: not known.
        var ended: Int64?
        var hit: Int?
        var isVoid = false
        /// Version that had been written for sure when it began.
        var floor = 0
        var lease: Stamp?
        /// What the loader read.
        var row = 0
    }

    static let deadline: Int64 = 150_000_000

    mutating func draw() -> OperationID {
        let key = Int.random(in: 0..<keys.count, using: &random)
        let choice = Int.random(in: 0..<10, using: &random)
        let work: Work = scenario.loads && choice < 3 ? .load : choice < 6 ? .read : .write(choice == 9 ? nil : 0)
        var operation = Operation(key: key, work: work)
        if Int.random(in: 0..<1_000, using: &random) < scenario.expiring {
            operation.content.ttlMilliseconds = Int.random(in: 1...3, using: &random) * 64
        }
        operations.append(operation)
        return operations.count - 1
    }

    mutating func begin(_ id: OperationID) {
        let alive = peers.indices.filter { peers[$0].isAlive && peers[$0].version >= 0 }
        guard let caller = alive.randomElement(using: &random) else { return }
        let key = operations[id].key
        if case .write(let value) = operations[id].work {
            if scenario.loads, isBeingWritten[key] { return operations[id].isVoid = true }  // one writer at a time: rows have an order
            operations[id].work = .write(value == nil ? nil : (rows[key] + 1) * 64)
        }
        if Int.random(in: 0..<1_000, using: &random) < scenario.evictions { evict() }
        if scenario.repairs > 0, Int.random(in: 0..<1_000, using: &random) < scenario.repairs { repair() }
        begin(id, at: caller)
    }

    mutating func begin(_ id: OperationID, at caller: Int) {
        let key = operations[id].key
        if case .write(let value) = operations[id].work {
            isBeingWritten[key] = true
            rows[key] += 1
            operations[id].floor = rows[key]
            operations[id].content.value = value
        } else {
            operations[id].floor = confirmed[key]
        }
        operations[id].caller = caller
        operations[id].started = now
        trace?("\(now / 1_000) operation \(id) \(operations[id].work) key \(key) at peer \(caller)")
        schedule(.timeOut(id, attempt: 0, isLast: true), at: now + Self.deadline)
        tryAgain(id)
    }

    mutating func tryAgain(_ id: OperationID) {
        guard operations[id].ended == nil, !operations[id].isVoid, peers[operations[id].caller].isAlive else { return }
        let (caller, key) = (operations[id].caller, operations[id].key)
        let placement = peers[caller].machine.placement
        let list = placement.peers(of: keys[key].id.slot, copies: scenario.scheme.copies)
        operations[id].attempt += 1
        operations[id].placement = placement.digest
        operations[id].voters = list.compactMap { id in peers.firstIndex { $0.id == id } }
        operations[id].values = [:]
        var mayMint = operations[id].stamp
        if scenario.mutant == .restampOnRefusal { mayMint = nil }
        switch operations[id].work {
        case .read, .load: operations[id].progress = .reading(QuorumRead(scenario.scheme, voters: list.count))
        case .write:
            if scenario.mutant == .onePhaseStamp, mayMint == nil { mayMint = mint(caller, above: guardStamp(caller, key)) }
            operations[id].stamp = mayMint
            operations[id].progress = .writing(QuorumWrite(scenario.scheme, voters: list.count, stamp: mayMint))
        }
        schedule(.timeOut(id, attempt: operations[id].attempt, isLast: false), at: now + 8_000_000)
        advance(id)
    }

    mutating func timedOut(_ id: OperationID, _ attempt: Int, isLast: Bool) {
        guard operations[id].ended == nil, !operations[id].isVoid else { return }
        if isLast { return giveUp(id) }
        guard operations[id].attempt == attempt, peers[operations[id].caller].isAlive else { return }
        // Somebody takes long: all are asked; and after as long again, all over.
        hurry(id)
        schedule(.again(id, attempt: attempt), at: now + 15_000_000)
    }

    mutating func hurry(_ id: OperationID) {
        switch operations[id].progress {
        case .reading(var read):
            let step = read.hurry()
            operations[id].progress = .reading(read)
            if case .ask(let more) = step { ask(id, more) }
        case .writing(var write):
            let step = write.hurry()
            operations[id].progress = .writing(write)
            if case .ask(let more) = step { ask(id, more) }
        case .leasing(var write, let lease):
            let step = write.hurry()
            operations[id].progress = .leasing(write, lease: lease)
            if case .ask(let more) = step { ask(id, more) }
        case .idle, .loading: break
        }
    }

    mutating func giveUp(_ id: OperationID) {
        switch operations[id].work {
        case .read, .load: operations[id].isVoid = true
        case .write:
            if operations[id].stamp == nil { operations[id].isVoid = true } else { figures.indeterminate += 1 }
            figures.noQuorum += operations[id].stamp == nil ? 1 : 0
            if operations[id].stamp == nil { isBeingWritten[operations[id].key] = false }
        }
        operations[id].attempt += 1_000
        if case .write = operations[id].work, operations[id].stamp != nil { operations[id].ended = .max }
    }

    // MARK: Steps

    private func attempt(_ id: OperationID, _ voter: Int) -> Attempt {
        Attempt(operation: id, number: operations[id].attempt, voter: voter, placement: operations[id].placement)
    }

    private mutating func ask(_ id: OperationID, _ positions: [Int], value: Bool = false) {
        let isRead = if case .reading = operations[id].progress { true } else { false }
        for voter in positions {
            let wantsValue = isRead && (value || voter == 0)
            send(
                operations[id].caller, operations[id].voters[voter],
                .ask(attempt(id, voter), key: operations[id].key, wantsValue: wantsValue))
        }
    }

    private mutating func write(_ id: OperationID, _ stamp: Stamp, _ content: Content, to positions: [Int]) {
        for voter in positions {
            send(
                operations[id].caller, operations[id].voters[voter],
                .apply(attempt(id, voter), key: operations[id].key, stamp, content))
        }
    }

    mutating func advance(_ id: OperationID) {
        for _ in 0..<32 {
            guard operations[id].ended == nil, !operations[id].isVoid else { return }
            switch operations[id].progress {
            case .idle, .loading: return
            case .reading(var read):
                let step = read.next()
                operations[id].progress = .reading(read)
                if !reads(id, step) { return }
            case .writing(var write):
                let step = write.next()
                operations[id].progress = .writing(write)
                if !writes(id, step) { return }
            case .leasing(var write, let lease):
                let step = write.next()
                operations[id].progress = .leasing(write, lease: lease)
                if !leases(id, step, lease) { return }
            }
        }
    }

    /// False: wait for answers.
    private mutating func reads(_ id: OperationID, _ step: QuorumRead.Step) -> Bool {
        switch step {
        case .ask(let voters): ask(id, voters)
        case .askForValue(let voter): ask(id, [voter], value: true)
        case .write(let stamp, let voters):
            figures.writeBacks += 1
            guard let content = contents[stamp] else {
                problem = "operation \(id): \(stamp) is held and was never written"
                return false
            }
            if scenario.mutant == .lateWriteBack { write(id, stamp, content, to: voters) }
            if scenario.mutant == .noWriteBack || scenario.mutant == .lateWriteBack {
                end(id, hit: content.value)
                return false
            }
            write(id, stamp, content, to: voters)
        case .wait: return false
        case .hit(let stamp, let voter):
            guard let value = operations[id].values[voter] else {
                problem = "operation \(id): a hit of \(stamp) without a value"
                return false
            }
            end(id, hit: value)
            return false
        case .miss(let highest):
            guard case .load = operations[id].work else {
                figures.misses += 1
                operations[id].isVoid = true
                return false
            }
            let lease = mint(operations[id].caller, above: highest)
            begin(lease: lease, id)
        case .noQuorum:
            schedule(.again(id, attempt: operations[id].attempt), at: now + 8_000_000)
            return false
        }
        return true
    }

    private mutating func begin(lease: Stamp, _ id: OperationID) {
        var scheme = scenario.scheme
        scheme.readFrom = scheme.leaseQuorum
        operations[id].lease = lease
        operations[id].attempt += 1
        operations[id].progress = .leasing(QuorumWrite(scheme, voters: operations[id].voters.count, stamp: nil), lease: lease)
        schedule(.timeOut(id, attempt: operations[id].attempt, isLast: false), at: now + 8_000_000)
    }

    /// Every message of the caller carries its clock: who has answered mints above the lease.
    private mutating func leases(_ id: OperationID, _ step: QuorumWrite.Step, _ lease: Stamp) -> Bool {
        switch step {
        case .ask(let voters): ask(id, voters)
        case .mint(let highest):
            if highest >= lease {
                begin(lease: mint(operations[id].caller, above: highest), id)
                return true
            }
            // The loader reads the row at some moment while it runs.
            let row = rows[operations[id].key]
            operations[id].row = row
            operations[id].progress = .loading(lease: lease, placement: operations[id].placement)
            operations[id].attempt += 1
            schedule(.loaded(id, value: row * 64 + 1 + id), at: now + Int64.random(in: 1_000_000..<60_000_000, using: &random))
            return false
        case .noQuorum:
            operations[id].isVoid = true
            return false
        case .write, .done, .forgotten, .wait: return false
        }
        return true
    }

    mutating func loaded(_ id: OperationID, _ value: Int) {
        guard case .loading(var lease, let placement) = operations[id].progress, operations[id].ended == nil, !operations[id].isVoid else {
            return
        }
        let caller = operations[id].caller
        guard peers[caller].isAlive else { return }
        if scenario.loads, value >> 6 < operations[id].floor { problem = "operation \(id) loaded an old row" }
        operations[id].hit = nil
        guard peers[caller].machine.placement.digest == placement else {
            figures.voidLeases += 1
            return operations[id].isVoid = true
        }
        if scenario.mutant == .leaseAtEnd { lease = mint(caller, above: guardStamp(caller, operations[id].key)) }
        operations[id].attempt += 1
        operations[id].content.value = value
        operations[id].stamp = lease
        operations[id].progress = .writing(QuorumWrite(scenario.scheme, voters: operations[id].voters.count, stamp: lease))
        figures.fills += 1
        advance(id)
    }

    private mutating func writes(_ id: OperationID, _ step: QuorumWrite.Step) -> Bool {
        switch step {
        case .ask(let voters): ask(id, voters)
        case .mint(let highest):
            let stamp = mint(operations[id].caller, above: highest)
            guard case .writing(var write) = operations[id].progress else { return false }
            write.minted(stamp)
            operations[id].stamp = stamp
            operations[id].progress = .writing(write)
        case .write(let stamp): write(id, stamp, operations[id].content, to: Array(operations[id].voters.indices))
        case .wait: return false
        case .done:
            if case .load = operations[id].work {
                operations[id].ended = now
            } else {
                figures.writes += 1
                operations[id].ended = now
                isBeingWritten[operations[id].key] = false
                confirmed[operations[id].key] = max(confirmed[operations[id].key], operations[id].floor)
                trace?("\(now / 1_000) operation \(id) done with \(String(describing: operations[id].stamp))")
            }
            return false
        case .noQuorum:
            if case .load = operations[id].work { return false }  // only under the placement of its lease
            schedule(.again(id, attempt: operations[id].attempt), at: now + 8_000_000)
            return false
        case .forgotten:
            if case .write = operations[id].work { giveUp(id) }
            return false
        }
        return true
    }

    private mutating func end(_ id: OperationID, hit value: Int?) {
        trace?("\(now / 1_000) operation \(id) returns \(String(describing: value))")
        mix(UInt64(id << 32 | (value ?? 0xFFFF)))
        guard let value else { return operations[id].isVoid = true }
        figures.hits += 1
        operations[id].ended = now
        operations[id].hit = value
        if scenario.loads, value >> 6 < operations[id].floor {
            problem = "operation \(id) began after version \(operations[id].floor) was written, and returned \(value >> 6)"
        }
    }

    // MARK: Answers

    /// Answers count for the attempt that asked, and only while its placement is this peer's.
    private func isCurrent(_ attempt: Attempt) -> Bool {
        let operation = operations[attempt.operation]
        guard operation.ended == nil, !operation.isVoid, peers[operation.caller].isAlive else { return false }
        if scenario.mutant == .acksSurviveRestart { return operation.attempt >= attempt.number }
        return operation.attempt == attempt.number && peers[operation.caller].machine.placement.digest == attempt.placement
    }

    mutating func told(_ attempt: Attempt, _ answer: QuorumRead.Answer?, value: Int?) {
        let id = attempt.operation
        guard isCurrent(attempt) else { return }
        switch operations[id].progress {
        case .idle, .loading: return
        case .reading(var read):
            if let answer { read.answered(attempt.voter, answer) } else { read.failed(attempt.voter) }
            if let value { operations[id].values[attempt.voter] = value }
            operations[id].progress = .reading(read)
        case .writing(var write):
            if let answer { write.answered(attempt.voter, guard: answer.guardStamp) } else { write.failed(attempt.voter) }
            operations[id].progress = .writing(write)
        case .leasing(var write, let lease):
            if let answer { write.answered(attempt.voter, guard: answer.guardStamp) } else { write.failed(attempt.voter) }
            operations[id].progress = .leasing(write, lease: lease)
        }
        advance(id)
    }

    mutating func applied(_ attempt: Attempt, _ stamp: Stamp, _ result: WriteResult?) {
        let id = attempt.operation
        guard isCurrent(attempt) else { return }
        switch operations[id].progress {
        case .reading(var read):
            if let result, result != .notHolder { read.acked(attempt.voter, stamp) } else { read.failed(attempt.voter) }
            operations[id].progress = .reading(read)
        case .writing(var write):
            guard write.stamp == stamp || scenario.mutant == .acksSurviveRestart else { return }
            switch result {
            case .stored, .superseded: write.acked(attempt.voter)
            case .forgotten where operations[id].content.value == nil || scenario.mutant == .countsForgottenAcks: write.acked(attempt.voter)
            case .forgotten: write.forgot(attempt.voter)
            case .notHolder, .refused, nil: write.refused(attempt.voter)
            }
            operations[id].progress = .writing(write)
        case .idle, .loading, .leasing: return
        }
        advance(id)
    }
}

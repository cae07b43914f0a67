import PeerCacheCore

/// What must be true in the end (`CONTRACT.md` §11).
extension SimulatedQuorum {
    mutating func checkEnd() {
        checkHistories()
        let silent = peers.filter(\.isAlive).reduce(0) { $0 + $1.machine.silentCount }
        if silent == 0 || problem != nil { return }
        figures.silent += 1
        // Lists of few members bear fewer losses.
        let bearable = tables.map { table in
            let n = min(scenario.scheme.copies, table.members.count)
            return n - scenario.scheme.sealQuorum(of: n)
        }
        // Nor does anybody speak for a list who never knew anything.
        let everybodyVoted = peers.allSatisfy { !$0.isAlive || $0.hasVoted }
        if crashed <= bearable.min() ?? 0, everybodyVoted, scenario.mutant == nil { problem = "\(silent) slots stay silent" }
    }

    /// One register that may forget explains what was read.
    mutating func checkHistories() {
        for key in keys.indices {
            var history = RegisterHistory()
            for operation in operations where operation.key == key && operation.caller >= 0 {
                switch operation.work {
                case .write(let value):
                    guard operation.stamp != nil else { continue }  // nothing happened
                    history.events.append(.init(.write(value), start: operation.started, end: operation.ended ?? .max))
                case .read:
                    if let hit = operation.hit, let ended = operation.ended {
                        history.events.append(.init(.read(hit), start: operation.started, end: ended))
                    }
                case .load:
                    if let value = operation.content.value {
                        history.events.append(.init(.write(value), start: operation.started, end: .max))
                    }
                    if let hit = operation.hit, let ended = operation.ended {
                        history.events.append(.init(.read(hit), start: operation.started, end: ended))
                    }
                }
            }
            if !history.isLinearizable {
                problem = "key \(key): no order of \(history.events) explains what was read"
                return
            }
        }
    }
}

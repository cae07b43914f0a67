import PeerCacheCore

/// What has to hold in the end.
extension SimulatedReplicas {
    /// Everybody agrees, nothing is left to do, nothing stale is held.
    mutating func checkEnd() {
        guard let table = tables.last else { return }
        for index in table.present where peers[index].isAlive {
            let machine = peers[index].machine
            if machine.unsettledCount + machine.owedCount + machine.dirtyCount > 0 {
                problem =
                    "peer \(index): \(machine.unsettledCount) slots unsettled, \(machine.owedCount) owed, \(machine.dirtyCount) dirty at the end"
            }
            if let broken = peers[index].store.checkInvariants() { problem = "peer \(index): \(broken)" }
        }
        for key in 0..<scenario.keys {
            guard let any = table.placed.first else { return }
            let holders = holders(of: key, by: peers[any].placement).compactMap { id in peers.firstIndex { $0.id == id } }
            let stamps = holders.map { held($0, key)?.stamp }
            if Set(stamps.compactMap { $0 }).count > 1 { problem = "key \(key): holders \(holders) hold \(stamps)" }
            for (holder, stamp) in zip(holders, stamps) {
                guard let stamp, stamp < newest[key] else { continue }
                problem = "key \(key): peer \(holder) holds \(stamp) in the end, and \(newest[key]) was confirmed"
            }
            // Clocks of two sides differ: the highest stamp wins.
            guard !scenario.splits, let owner = holders.first, let row = held(owner, key)?.row, row < confirmed[key] else { continue }
            problem = "key \(key): version \(row) is held at the end, \(confirmed[key]) was written"
        }
    }
}

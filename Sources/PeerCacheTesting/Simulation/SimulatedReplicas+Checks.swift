import PeerCacheCore

/// What has to hold in the end, and when somebody crashes.
extension SimulatedReplicas {
    /// Nothing is under way: all holders have what was confirmed. What one lacks is mended later, by comparing; if the others leave first, it
    /// is lost.
    mutating func checkCopies() {
        guard scenario.keepsAll, let table, problem == nil else { return }
        figures.checks += 1
        for key in promised.indices where promised[key] > .zero && now - confirmedAt[key] > Self.copiesTake {
            for holder in holders(of: key, by: table.placement).compactMap({ id in peers.firstIndex { $0.id == id } }) {
                let stamp = held(holder, key)?.stamp ?? .zero
                if stamp >= promised[key] { continue }
                problem =
                    "key \(key), \(scenario.copies[key % scenario.copies.count]) copies: peer \(holder) holds \(stamp), and \(promised[key]) "
                    + "was confirmed, at \(now / 1_000_000) ms"
            }
            assured[key] = promised[key]
        }
    }

    /// Nanoseconds after which a copy has come, or is known to be missed.
    private static let copiesTake: Int64 = 10_000_000

    /// What this peer took with it, as no other holder lives, is lost: the newest that the living know is to be kept. What had all its copies
    /// outlives one crash; while slots move, former copies may be gone before there are others.
    mutating func forgetLost(with victim: Int) {
        let isSettled = table.map { self.isSettled($0) } ?? false
        for key in promised.indices where promised[key] > .zero {
            let isHeld = peers.indices.contains { peers[$0].isAlive && (held($0, key)?.stamp ?? .zero) >= promised[key] }
            let hadCopies = isSettled && assured[key] >= promised[key]
            if hadCopies, !isHeld, scenario.copies[key % scenario.copies.count] > 1, scenario.keepsAll {
                problem = "key \(key): all copies of \(promised[key]) are lost with peer \(victim), at \(now / 1_000_000) ms"
            }
            if !hadCopies || !isHeld { promised[key] = .zero }
            assured[key] = .zero
        }
        for key in newest.indices where guardStamp(victim, key) >= newest[key] && !isKnown(key, newest[key]) {
            trace?("\(now / 1_000_000) key \(key): \(newest[key].clock) is lost")
            newest[key] = peers.indices.filter { peers[$0].isAlive }.map { guardStamp($0, key) }.max() ?? .zero
            confirmed[key] = 0
        }
    }

    /// Every slot has its copies, for each cache.
    private func isHeldByAll(_ table: Table) -> Bool {
        let indices = table.placement.members.map { member in peers.firstIndex { $0.id == member.id } ?? 0 }
        let (fewest, most) = (scenario.copies.min() ?? 0, scenario.copies.max() ?? 0)
        return (0..<Slot.count).compactMap(Slot.init(index:)).allSatisfy { slot in
            table.placement.peerIndices(of: slot, copies: most).enumerated().allSatisfy { rank, member in
                let index = indices[Int(member)]
                return peers[index].store.isHeld(slot) && (rank >= fewest || !peers[index].partlyHeld.contains(slot))
            }
        }
    }

    /// Everybody agrees, nothing is left to do, nothing stale is held.
    mutating func checkEnd() {
        guard let table else { return }
        for index in table.present where peers[index].isAlive {
            let machine = peers[index].machine
            if machine.unsettledCount + machine.owedCount + machine.dirtyCount > 0 {
                problem =
                    "peer \(index): \(machine.unsettledCount) slots unsettled, \(machine.owedCount) owed, \(machine.dirtyCount) dirty at the end"
            }
            if let broken = peers[index].store.checkInvariants() { problem = "peer \(index): \(broken)" }
        }
        if scenario.surges, problem == nil, !isHeldByAll(table) { problem = "a slot has not all its copies" }
        checkCopies()
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

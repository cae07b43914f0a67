import PeerCacheCore

/// Who is there, and who knows of it.
extension SimulatedQuorum {
    /// A new table, known to its members one after another.
    mutating func publish(_ members: [Int], spread: Int) {
        let version = addTable(members)
        // Now and then one hears of it long after the others, and perhaps of the next one first.
        let late = Int.random(in: 0..<4, using: &random) == 0 ? members.randomElement(using: &random) : nil
        for peer in members {
            let spread = Int64(peer == late && !isHealed ? 5 * spread : spread) * 1_000_000
            schedule(.learn(peer, version: version), at: now + Int64.random(in: 0..<spread, using: &random))
        }
    }

    /// - Returns: its version.
    mutating func addTable(_ members: [Int]) -> Int {
        tables.append(Table(digest: UInt64(tables.count) + 1, members: members.sorted()))
        trace?("\(now / 1_000) table \(tables.count - 1): \(members)")
        return tables.count - 1
    }

    mutating func learn(_ index: Int, _ version: Int) {
        guard peers[index].isAlive, version > peers[index].version else { return }
        peers[index].version = version
        let table = tables[version]
        let digest = scenario.mutant == .idWithoutHistory ? table.members.reduce(0) { $0 | 1 << UInt64($1) } : table.digest
        let placement = placements.placement(of: table.members, digest: digest)
        let present = table.members.filter { $0 != index }.map { peers[$0].id }.sorted()
        trace?("\(now / 1_000) peer \(index) learns table \(version)")
        step(index, .placement(placement, present: present))
    }

    mutating func change() throws {
        guard !isHealed else { return }
        let alive = peers.indices.filter { peers[$0].isAlive }
        guard let table = tables.last, let victim = alive.randomElement(using: &random) else { return }
        let choice = Int.random(in: 0..<8, using: &random)
        if scenario.crashes, choice < 5 || !scenario.splits {
            // A process dies; its successor joins at once or later, or nobody does.
            crash(victim)
            guard peers.count < PlacementCache.idsMax, choice > 0 else {
                return publish(table.members.filter { $0 != victim && peers[$0].isAlive }, spread: 20)
            }
            let next = try addPeer()
            side[next] = side[victim]
            publish(table.members.filter { peers[$0].isAlive } + [next], spread: 20)
        } else if scenario.splits, choice < 3, alive.count > 2 {
            // In two: each side soon has a table of its own.
            figures.splits += 1
            for index in alive { side[index] = Int.random(in: 0..<2, using: &random) }
            for part in 0..<2 {
                let members = alive.filter { side[$0] == part }
                if !members.isEmpty { publish(members, spread: 20) }
            }
        } else if scenario.splits, choice == 3 {
            for index in alive { side[index] = 0 }
            publish(alive, spread: 20)
        } else if scenario.splits, choice < 6, alive.count > scenario.scheme.copies {
            // Some hold others for dead that hear everything and know nothing of it.
            let some = alive.shuffled(using: &random).prefix(Int.random(in: scenario.scheme.copies...alive.count, using: &random))
            publish(Array(some), spread: 20)
        } else if scenario.splits {
            // Held for dead, and back.
            let others = alive.filter { $0 != victim && side[$0] == side[victim] }
            if !others.isEmpty { publish(others, spread: 15) }
            publish(alive.filter { side[$0] == side[victim] }, spread: 40)
        }
    }

    mutating func crash(_ index: Int) {
        trace?("\(now / 1_000) peer \(index) dies")
        peers[index].isAlive = false
        crashed += 1
        figures.crashes += 1
    }

    mutating func heal() {
        isHealed = true
        for index in side.indices { side[index] = 0 }
        trace?("\(now / 1_000) healed")
        publish(peers.indices.filter { peers[$0].isAlive }, spread: 5)
    }

    /// Nothing is under way.
    var isQuiet: Bool {
        operations.allSatisfy { $0.ended != nil || $0.isVoid || $0.caller < 0 || !peers[$0.caller].isAlive }
            && peers.allSatisfy { !$0.isAlive || $0.machine.silentCount == 0 }
    }
}

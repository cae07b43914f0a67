import PeerCacheCore

/// Who joins, leaves, crashes and is cut off, and when the others hear of it.
extension SimulatedReplicas {
    mutating func addPeer() throws {
        let id = PeerID(high: UInt64.random(in: 1 ... .max, using: &random), low: UInt64.random(in: 1 ... .max, using: &random))
        let store = try ByteStore(limit: 2 << 20, shards: 1, seed: 1)
        var configuration = ReplicaConfiguration()
        configuration.transferBytesPerSecond = 1 << (scenario.surges ? Int.random(in: 20...30, using: &random) : 30)
        configuration.repairCycle = .seconds(8)
        for cache in scenario.copies.indices { _ = try store.register("\(cache)") }
        peers.append(
            Peer(
                id: id, machine: ReplicaMachine(configuration, me: id), store: store,
                offset: UInt64.random(in: 0..<400, using: &random)))
        side.append(0)
        peers[peers.count - 1].began = reading(peers.count - 1)
        queue.push(.tick(peers.count - 1), at: now + 1)
    }

    /// The last one that is meant for all.
    var table: Table? { tables.last { !$0.isApart } }

    func isApart(_ index: Int) -> Bool { peers[index].version >= 0 && tables[peers[index].version].isApart }

    mutating func publish(placed: [Int], present: [Int], isApart: Bool = false) {
        let members = placed.map { PlacementMember(id: peers[$0].id, started: peers[$0].began) }
        guard let placement = try? Placement.build(members: members, digest: UInt64(tables.count) + 1, ranks: 7) else { return }
        tables.append(Table(placed: placed, present: present, isApart: isApart, placement: placement))
        trace?("\(now / 1_000_000) table \(tables.count - 1): \(placed) placed, \(present) there")
        let version = tables.count - 1
        for peer in present { queue.push(.learn(peer, version: version), at: now + Int64.random(in: 0..<150_000_000, using: &random)) }
    }

    mutating func learn(_ index: Int, _ version: Int) {
        guard peers[index].isAlive, version > peers[index].version else { return }
        let table = tables[version]
        peers[index].version = version
        trace?("\(now / 1_000_000) peer \(index) learns table \(version)")
        let present = table.present.filter { $0 != index && peers[$0].isAlive }.map { peers[$0].id }.sorted()
        step(index, .placement(table.placement, present: present, copies: Set(scenario.copies).sorted()), table.placement)
    }

    mutating func change() throws {
        if isSplit { return heal() }
        guard started < scenario.operations, scenario.silentLosses == 0 else { return }
        queue.push(.change, at: now + Int64(Int.random(in: scenario.changesEvery, using: &random)) * 1_000_000)
        guard let table, !scenario.isFilled || started > scenario.keys else { return }
        if scenario.isGated || scenario.surges {
            let isSettled = isSettled(table)
            if isSettled, scenario.surges { checkCopies() }
            if scenario.isGated, !isSettled { return }
        }
        if scenario.surges, Int.random(in: 0..<4, using: &random) > 0 { return surge(table.placed) }
        if table.present.count != table.placed.count { return }
        if scenario.splits, Bool.random(using: &random) { return split(table.placed) }
        switch Int.random(in: 0..<(scenario.crashes ? 3 : 2), using: &random) {
        case 0 where table.placed.count < 7:
            try addPeer()
            figures.joins += 1
            publish(placed: table.placed + [peers.count - 1], present: table.present + [peers.count - 1])
        case 1 where table.placed.count > 2:
            guard let leaver = table.placed.randomElement(using: &random) else { return }
            figures.leaves += 1
            peers[leaver].leavesAt = now + 500_000_000
            publish(placed: table.placed.filter { $0 != leaver }, present: table.present)
        case 2 where table.placed.count > 2:
            guard let victim = table.placed.randomElement(using: &random) else { return }
            figures.crashes += 1
            peers[victim].isAlive = false
            trace?("\(now / 1_000_000) peer \(victim) crashes")
            peers[victim].hasCrashed = true
            forgetLost(with: victim)
            now += 700_000_000  // until the others know
            publish(placed: table.placed.filter { $0 != victim }, present: table.present.filter { $0 != victim })
        default: break
        }
    }

    func isSettled(_ table: Table) -> Bool {
        moving == 0
            && table.present.allSatisfy {
                let machine = peers[$0].machine
                return peers[$0].placement.digest == table.placement.digest
                    && machine.unsettledCount + machine.owedCount + machine.dirtyCount == 0
            }
    }

    /// Each side soon holds the other for dead.
    private mutating func split(_ members: [Int]) {
        isSplit = true
        figures.splits += 1
        for index in members { side[index] = Int.random(in: 0..<2, using: &random) }
        for part in 0..<2 {
            let members = members.filter { side[$0] == part }
            if !members.isEmpty { publish(placed: members, present: members) }
        }
    }

    private mutating func heal() {
        queue.push(.change, at: now + Int64(Int.random(in: scenario.changesEvery, using: &random)) * 1_000_000)
        isSplit = false
        let members = peers.indices.filter { peers[$0].isAlive }
        // Who hears that it was held for dead takes what it has for doubtful.
        for index in members { queue.push(.returned(index), at: now + Int64.random(in: 0..<150_000_000, using: &random)) }
        for index in side.indices { side[index] = 0 }
        publish(placed: members, present: members)
    }

    mutating func leaveIfDone(_ index: Int) {
        guard let at = peers[index].leavesAt, now >= at, let table, peers[index].placement.digest == table.placement.digest else { return }
        guard peers[index].machine.owedCount + peers[index].machine.dirtyCount == 0 || now - at > 20_000_000_000 else { return }
        peers[index].leavesAt = nil
        peers[index].isAlive = false
        publish(placed: table.placed, present: table.present.filter { $0 != index })
    }
}

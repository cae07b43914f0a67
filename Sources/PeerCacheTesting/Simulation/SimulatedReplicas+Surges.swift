/// Several peers that come or leave within some hundred milliseconds.
extension SimulatedReplicas {
    private static let peersMax = 9

    mutating func surge(_ placed: [Int]) {
        let count = Int.random(in: 2...5, using: &random)
        if Bool.random(using: &random) {
            join(min(count, Self.peersMax - placed.count - moving))
        } else if moving == 0 {
            for leaver in placed.shuffled(using: &random).prefix(max(0, min(count, placed.count - 2))) {
                moving += 1
                figures.surges += 1
                queue.push(.leave(leaver), at: soon(400))
            }
        }
    }

    private mutating func soon(_ milliseconds: Int64) -> Int64 { now + Int64.random(in: 0..<milliseconds * 1_000_000, using: &random) }

    /// One after another, or such as find each other first.
    private mutating func join(_ count: Int) {
        var left = count
        while left > 0 {
            let group = Bool.random(using: &random) ? 1 : Int.random(in: 1...left, using: &random)
            left -= group
            moving += group
            figures.surges += group
            queue.push(.start(group), at: soon(400))
        }
    }

    mutating func start(_ count: Int) throws {
        let group = Array(peers.count..<peers.count + count)
        for _ in group { try addPeer() }
        figures.joins += count
        if count == 1, Bool.random(using: &random) { return meet(group) }
        // They own all that there is, with nothing in it.
        figures.apart += count
        publish(placed: group, present: group, isApart: true)
        queue.push(.meet(group), at: soon(800))
    }

    mutating func meet(_ group: [Int]) {
        moving -= group.count
        guard let table else { return }
        publish(placed: table.placed + group, present: table.present + group)
    }

    mutating func leave(_ index: Int) {
        moving -= 1
        guard let table, peers[index].isAlive, table.placed.contains(index), table.placed.count > 1 else { return }
        figures.leaves += 1
        peers[index].leavesAt = now + 500_000_000
        publish(placed: table.placed.filter { $0 != index }, present: table.present)
    }
}

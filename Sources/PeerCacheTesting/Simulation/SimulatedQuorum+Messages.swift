import PeerCacheCore

/// The network.
extension SimulatedQuorum {
    /// Lost, repeated and overtaken, as the scenario says.
    mutating func send(_ from: Int, _ to: Int, _ message: Message) {
        if isScripted { return held.append(.init(from: from, to: to, message: message)) }
        if to == from { return schedule(.deliver(from: from, to: to, message), at: now + 1_000) }
        let isLost = !isHealed && Int.random(in: 0..<1_000, using: &random) < scenario.lost
        let copies = !isHealed && Int.random(in: 0..<1_000, using: &random) < scenario.duplicated ? 2 : 1
        if isLost || side[from] != side[to] || !peers[to].isAlive { return unheard(from, to, message) }
        for _ in 0..<copies {
            // Most are quick, and some come when the others are long done.
            let isSlow = !isHealed && Int.random(in: 0..<1_000, using: &random) < scenario.slow
            let delayMax = Int64(isSlow ? scenario.delayMax : 2) * 1_000_000
            schedule(.deliver(from: from, to: to, message), at: now + Int64.random(in: 100_000..<delayMax, using: &random))
        }
    }

    mutating func unheard(_ from: Int, _ to: Int, _ message: Message) {
        let (asker, id): (Int, VoterMachine.CallID)
        switch message {
        case .sealed(let call, _), .page(let call, _, _): (asker, id) = (to, call)
        case .seal(let call, _), .pull(let call, _): (asker, id) = (from, call)
        default: return
        }
        if isScripted { noAnswer(asker, id) } else { schedule(.noAnswer(asker, id), at: now + 20_000_000) }
    }

    mutating func noAnswer(_ index: Int, _ id: VoterMachine.CallID) { if peers[index].isAlive { step(index, .answered(id, .none)) } }

    mutating func deliver(_ message: Message, from: Int, to: Int) {
        guard peers[to].isAlive else { return unheard(from, to, message) }
        _ = peers[to].clock.merge(reading(from), wallMilliseconds: wall(to), offsetMillisecondsMax: 10_000)
        switch message {
        case .seal(let id, let bytes): send(to, from, .sealed(id, answer(to, bytes, from: from)))
        case .sealed(let id, let bytes): sealed(to, id, bytes)
        case .pull(let id, let pull): send(to, from, .page(id, pull, page(to, pull)))
        case .page(let id, let pull, let bytes): took(to, id, pull, bytes)
        case .ask(let attempt, let key, let wantsValue): ask(to, from, attempt, key, wantsValue)
        case .told(let attempt, let answer, let value): told(attempt, answer, value: value)
        case .apply(let attempt, let key, let stamp, let content): apply(to, from, attempt, key, stamp, content)
        case .applied(let attempt, let stamp, let result): applied(attempt, stamp, result)
        case .compare(let pull): send(to, from, .compared(pull, page(to, pull)))
        case .compared(let pull, let bytes): compared(to, with: from, pull, bytes)
        case .ship(let key, let stamp, let content): shipped(to, key, stamp, content)
        }
    }

    /// One of two that disagree has an older table: the other brings it up.
    mutating func synchronize(_ one: Int, _ other: Int) {
        let version = max(peers[one].version, peers[other].version)
        guard version >= 0, side[one] == side[other] else { return }
        let behind = peers[one].version < peers[other].version ? one : other
        guard tables[version].members.contains(behind) else { return }
        schedule(.learn(behind, version: version), at: now + 1_000_000)
    }
}

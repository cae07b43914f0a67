import PeerCacheCore

/// One machine on a bench: feeds it inputs at a virtual time and returns what it wants done. A class, so that `#expect` can call it.
final class GossipBench {
    typealias Effect = GossipMachine.Effect

    var machine: GossipMachine
    var now: Instant
    private var accepted: UInt64 = 0

    /// Ids on the bench: `id(1)` < `id(2)` …, each with its own origin tag.
    static func id(_ number: UInt64) -> PeerID { PeerID(high: number, low: number) }

    static func record(_ number: UInt64, incarnation: UInt32 = 1) -> MemberRecord {
        var record = MemberRecord(id: id(number), address: GossipNetwork.address(Int(number)))
        record.incarnation = incarnation
        return record
    }

    static func hours(_ count: UInt64) -> UInt64 { (count * 3_600_000) << 16 }

    init(
        _ number: UInt64 = 5, me: MemberRecord? = nil, configuration: GossipConfiguration = GossipConfiguration(), joined: Bool = true
    ) throws {
        machine = try GossipMachine(configuration, me: me ?? Self.record(number), seed: 1)
        now = Instant(nanoseconds: 0, hlc: Self.hours(500_000))
        if joined { _ = handle(.command(.join)) }
    }

    /// Answers every ping of those peers at once, for so long, and hands out what else was wanted.
    func advance(by duration: Duration, answering peers: [UInt64]) -> [Effect] {
        var effects: [Effect] = []
        for _ in 0..<Int(duration.nanosecondsSaturating / 10_000_000) {
            effects += answer(advance(by: .milliseconds(10)), of: peers)
        }
        return effects
    }

    /// The peers among `peers` that were asked something answer: their pings, and that they cannot reach whom they should relay to.
    /// - Returns: the effects and those of the answers.
    func answer(_ asked: [Effect], of peers: [UInt64]) -> [Effect] {
        var effects = asked, fresh = asked
        for _ in 0..<3 {
            fresh = fresh.flatMap { effect -> [Effect] in
                guard case .send(let message, let to, let connection?) = effect, peers.contains(where: { Self.id($0) == to }) else {
                    return []
                }
                let placement = machine.snapshot().digest
                switch message {
                case .ping(let sequence, _, _):
                    return handle(.message(.ack(sequence: sequence, placement: placement, claims: []), from: to, on: connection))
                case .relay(let sequence, _, _): return handle(.message(.nack(sequence: sequence, claims: []), from: to, on: connection))
                default: return []
                }
            }
            effects += fresh
        }
        return effects
    }

    func handle(_ input: GossipMachine.Input) -> [Effect] {
        var effects: [Effect] = []
        machine.handle(input, now: now, into: &effects)
        return effects
    }

    /// Runs every timer until `duration` has passed.
    func advance(by duration: Duration) -> [Effect] {
        var effects: [Effect] = []
        let end = now + duration
        while let due = machine.nextDeadline, due <= end {
            move(to: due)
            machine.handle(.tick, now: now, into: &effects)
        }
        move(to: end)
        return effects
    }

    private func move(to later: Instant) {
        let passed = max(0, later.nanoseconds - now.nanoseconds)
        now = Instant(nanoseconds: now.nanoseconds + passed, hlc: now.hlc + UInt64(passed / 1_000_000) << 16)
    }

    /// A peer dials us and its handshake finishes. Returns the connection.
    func accept(_ record: MemberRecord) -> ConnectionID {
        accepted += 1
        let connection = GossipMachine.inbound(accepted)
        _ = handle(.connection(connection, .established(record)))
        return connection
    }

    /// Runs timers until the next dial starts, at most 10 s.
    func nextDial() -> (id: ConnectionID, address: PeerAddress, expecting: PeerID?)? {
        for _ in 0..<10_000 {
            for effect in advance(by: .milliseconds(1)) {
                if case .dial(let id, let address, let expecting, _) = effect { return (id, address, expecting) }
            }
        }
        return nil
    }

    func status(_ number: UInt64) -> MemberStatus? { machine.snapshot().member(Self.id(number))?.status }
}

extension [GossipMachine.Effect] {
    var events: [MembershipEvent] {
        compactMap { if case .event(let event) = $0, !event.isPlacementChange { event } else { nil } }
    }
    var traces: [GossipTrace] { compactMap { if case .trace(let trace) = $0 { trace } else { nil } } }
    var dialled: [PeerAddress] { compactMap { if case .dial(_, let address, _, _) = $0 { address } else { nil } } }
    var dialIDs: [ConnectionID] { compactMap { if case .dial(let id, _, _, _) = $0 { id } else { nil } } }
    var resolves: Int { count { $0 == .resolve } }
    /// Claims by receiver, on whatever message.
    func claims(_ number: UInt64) -> [MemberClaim] {
        flatMap { effect -> [MemberClaim] in
            guard case .send(let message, GossipBench.id(number), _) = effect else { return [] }
            switch message {
            case .ping(_, _, let claims), .ack(_, _, let claims), .claims(_, let claims), .relay(_, _, let claims): return claims
            default: return []
            }
        }
    }
    typealias Question = (sequence: UInt64, claims: [MemberClaim], connection: ConnectionID?)
    func pings(_ number: UInt64) -> [Question] {
        compactMap {
            if case .send(.ping(let sequence, _, let claims), GossipBench.id(number), let on) = $0 { (sequence, claims, on) } else { nil }
        }
    }
    func acks(_ number: UInt64) -> [Question] {
        compactMap {
            if case .send(.ack(let sequence, _, let claims), GossipBench.id(number), let on) = $0 { (sequence, claims, on) } else { nil }
        }
    }
    func sent(to number: UInt64) -> [GossipMessage] {
        compactMap { if case .send(let message, GossipBench.id(number), _) = $0 { message } else { nil } }
    }
    var relays: [(sequence: UInt64, target: PeerID, to: PeerID)] {
        compactMap { if case .send(.relay(let sequence, let target, _), let to, _) = $0 { (sequence, target, to) } else { nil } }
    }
    var accusations: [Accusation] { compactMap { if case .send(.accusation(let step), _, _) = $0 { step } else { nil } } }
}

extension MembershipEvent {
    var isPlacementChange: Bool { if case .placementChanged = self { true } else { false } }
}

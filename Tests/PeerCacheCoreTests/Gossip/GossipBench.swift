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

    init(_ number: UInt64 = 5, configuration: GossipConfiguration = GossipConfiguration(), joined: Bool = true) throws {
        machine = try GossipMachine(configuration, me: Self.record(number), seed: 1)
        now = Instant(nanoseconds: 0, hlc: Self.hours(500_000))
        if joined { _ = handle(.command(.join)) }
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
    /// Syncs by receiver, as (status, incarnation) of each entry.
    func told(_ number: UInt64) -> [Member] {
        flatMap { effect -> [Member] in
            if case .send(.sync(let members, _), GossipBench.id(number), _) = effect { members } else { [] }
        }
    }
}

extension MembershipEvent {
    var isPlacementChange: Bool { if case .placementChanged = self { true } else { false } }
}

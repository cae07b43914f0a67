import PeerCacheCore
import WireSamples

/// A membership machine that hears decoded messages and evidence in any order: its bounds and its own record hold.
enum GossipFuzz {
    private static let me = PeerID(high: 0xA0, low: 3)

    static func run(_ input: FuzzInput) {
        var random = FuzzRandom(input)
        var samples = RandomMessages()
        samples.memberIDs = (1...10).map { PeerID(high: 0xA0, low: $0) } + [PeerID(high: 0xA1, low: 3), PeerID(high: .max, low: .max)]
        var configuration = GossipConfiguration()
        configuration.membersMax = 6
        configuration.departedMax = 3
        let record = MemberRecord(id: me, address: PeerAddress(host: "127.0.0.1", port: 7600))
        guard var machine = try? GossipMachine(configuration, me: record, seed: random.next()) else { fatalError("fuzz: configuration") }
        var now = Instant(nanoseconds: 0, hlc: 1_700_000_000_000 << 16)
        var effects: [GossipMachine.Effect] = []
        var connections: [(id: ConnectionID, peer: PeerID)] = [], dials: [ConnectionID] = []
        var accepted: UInt64 = 0, wasLeft = false

        while !random.isEmpty {
            now = Instant(nanoseconds: now.nanoseconds + Int64(random.next() % 3_000_000_000), hlc: now.hlc &+ (random.next() % 5000) << 16)
            effects.removeAll(keepingCapacity: true)
            let input = draw(&random, samples, &connections, &dials, &accepted)
            machine.handle(input, now: now, into: &effects)
            for effect in effects {
                switch effect {
                case .dial(let id, _, _, _): dials.append(id)
                case .close(let id, _): connections.removeAll { $0.id == id }
                case .send(let message, _, let id):
                    require(id != nil, "a message without a connection")
                    if case .sync(let members, _) = message { require(members.count <= configuration.membersMax + 1, "a long message") }
                default: break
                }
            }
            if case .command(.stopped) = input { wasLeft = true }
            check(machine, configuration, now, wasLeft: wasLeft)
        }
    }

    private static func draw(
        _ random: inout FuzzRandom, _ samples: RandomMessages, _ connections: inout [(id: ConnectionID, peer: PeerID)],
        _ dials: inout [ConnectionID], _ accepted: inout UInt64
    ) -> GossipMachine.Input {
        let connection = connections.isEmpty ? nil : connections[Int(random.next() % UInt64(connections.count))]
        switch random.next() % 16 {
        case 0...5:
            // What arrives has been decoded.
            let payload = SampleFrame.payload(of: [.gossip(samples.gossip(using: &random))])
            guard case .success(let messages) = SampleFrame.decode(payload), case .gossip(let message)? = messages.first else {
                return .tick
            }
            return .message(message, from: connection?.peer ?? PeerID(high: 9, low: 9), on: connection?.id ?? 12345)
        case 6, 7:
            accepted += 1
            let record = samples.record(using: &random)
            let id = GossipMachine.inbound(accepted)
            connections.append((id, record.id))
            return .connection(id, .established(record))
        case 8:
            guard let id = dials.popLast() else { return .tick }
            let record = samples.record(using: &random)
            connections.append((id, record.id))
            return .connection(id, .established(record))
        case 9:
            let evidence: [GossipMachine.Evidence] = [.refused, .timedOut, .foreign(.cluster), .foreign(.isSelf), .foreign(.clock)]
            return .connection(dials.popLast() ?? 77, evidence[Int(random.next() % 5)])
        case 10:
            let evidence: [GossipMachine.Evidence] = [
                .resetByPeer, .timedOut, .closedByPeer(nil), .closedByPeer(.leaving), .closedByPeer(.duplicate),
            ]
            guard let connection else { return .tick }
            connections.removeAll { $0.id == connection.id }
            return .connection(connection.id, evidence[Int(random.next() % 5)])
        case 11:
            let found = (0..<Int(random.next() % 5)).map { _ in samples.record(using: &random).address }
            return .discovered(found, failed: random.next() % 4 == 0)
        case 12: return .command([.join, .leave, .stopped, .join][Int(random.next() % 4)])
        case 13: return .command(.sync(with: connection?.peer ?? me))
        case 14:
            return .command(.update(metadata: [UInt8](repeating: 1, count: Int(random.next() % 600)), weight: UInt16(random.next() % 2000)))
        default: return .tick
        }
    }

    private static func check(_ machine: GossipMachine, _ configuration: GossipConfiguration, _ now: Instant, wasLeft: Bool) {
        let view = machine.snapshot()
        require(view.members.count <= configuration.membersMax + 1, "\(view.members.count) members")
        require(zip(view.members, view.members.dropFirst()).allSatisfy { $0.record.id < $1.record.id }, "order")
        require(view.digest == MembershipView.digest(of: view.members), "digest")
        guard let mine = view.member(me) else { return require(false, "this peer is missing") }
        require(mine.record == machine.me, "own record")
        require(wasLeft || (mine.status != .dead && mine.status != .left && mine.status != .suspect), "own status \(mine.status)")
        var tags: Set<UInt32> = []
        for member in view.members {
            require(member.record.problem == nil, "a record with a problem")
            require((member.status == .dead) == (member.cause != nil), "cause")
            require(member.status.isPresent ? member.since == 0 : member.since <= now.hlc, "since")
            if member.status.isPresent { require(tags.insert(member.record.id.originTag).inserted, "origin tag twice") }
        }
    }
}

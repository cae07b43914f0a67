internal import CPeerWire
internal import CProtobufC

extension WireEncoder {
    /// Appends one gossip message as field 5 of the frame.
    package static func gossip(_ gossip: GossipMessage, append: Append) {
        var message = Peercache__Gossip()
        peercache__gossip__init(&message)
        switch gossip {
        case .ping(let sequence, let placement, let claims): pack(&message, 3, sequence, placement, claims, append)
        case .ack(let sequence, let placement, let claims): pack(&message, 4, sequence, placement, claims, append)
        case .nack(let sequence, let claims): pack(&message, 5, sequence, 0, claims, append)
        case .relay(let sequence, let target, let claims):
            (message.id_high, message.id_low) = (target.high, target.low)
            pack(&message, 6, sequence, 0, claims, append)
        case .claims(let placement, let claims): pack(&message, 7, 0, placement, claims, append)
        case .accusation(let accusation):
            message.kind = 8
            (message.id_high, message.id_low) = (accusation.subject.high, accusation.subject.low)
            message.incarnation = accusation.incarnation
            message.step = UInt32(accusation.step.rawValue) + 1
            pack(&message.base, field: 5, append)
        case .digest(let digest):
            (message.kind, message.digest, message.cutoff) = (9, digest.low, digest.cutoff)
            pack(&message, words: [digest.high], states: [], append)
        case .ranges(let cutoff, let sums):
            (message.kind, message.cutoff) = (10, cutoff)
            pack(&message, words: sums, states: [], append)
        case .summary(let summary): pack(&message, summary, append)
        case .fetch(let ids):
            message.kind = 12
            pack(&message, words: ids.flatMap { [$0.high, $0.low] }, states: [], append)
        case .sync(let members, let wantsReply):
            (message.kind, message.wants_reply) = (2, wantsReply ? 1 : 0)
            pack(&message, members.map { MemberBytes($0) }, append)
        case .unreachable(let address):
            (message.kind, message.port) = (13, UInt32(address.port))
            var host = address.host
            host.withUTF8 { bytes in
                message.host = .init(UnsafeRawBufferPointer(bytes))
                pack(&message.base, field: 5, append)
            }
        }
    }

    private static func pack(
        _ message: inout Peercache__Gossip, _ kind: UInt32, _ sequence: UInt64, _ placement: UInt64, _ claims: [MemberClaim],
        _ append: Append
    ) {
        (message.kind, message.sequence, message.digest) = (kind, sequence, placement)
        if claims.isEmpty { return pack(&message.base, field: 5, append) }
        pack(&message, claims.map { MemberBytes($0) }, append)
    }

    /// The strings stay alive in `storage` while the C structs point at them.
    private static func pack(_ message: inout Peercache__Gossip, _ storage: [MemberBytes], _ append: Append) {
        withPointers(to: storage.map(\.message)) { pointers in
            message.n_members = pointers.count
            message.members = pointers.baseAddress
            pack(&message.base, field: 5, append)
        }
        withExtendedLifetime(storage) {}
    }

    private static func pack(_ message: inout Peercache__Gossip, _ summary: TableSummary, _ append: Append) {
        (message.kind, message.cutoff, message.wants_reply) = (11, summary.cutoff, summary.isComplete ? 1 : 0)
        (message.id_high, message.id_low) = (summary.from.high, summary.from.low)
        var words = [summary.through.high, summary.through.low]
        words.reserveCapacity(2 + 2 * summary.entries.count)
        for entry in summary.entries {
            words.append(entry.id.high)
            words.append(entry.id.low)
        }
        let states = summary.entries.map { UInt64($0.incarnation) << 3 | UInt64($0.status.rawValue) }
        pack(&message, words: words, states: states, append)
    }

    private static func pack(_ message: inout Peercache__Gossip, words: [UInt64], states: [UInt64], _ append: Append) {
        var words = words, states = states
        words.withUnsafeMutableBufferPointer { words in
            states.withUnsafeMutableBufferPointer { states in
                (message.n_words, message.words) = (words.count, words.baseAddress)
                (message.n_states, message.states) = (states.count, states.baseAddress)
                pack(&message.base, field: 5, append)
            }
        }
    }
}

extension WireDecoder {
    /// Nil: a kind of a later version.
    static func gossip(_ message: Peercache__Gossip) throws(WireError) -> GossipMessage? {
        let id = PeerID(high: message.id_high, low: message.id_low)
        guard message.n_members <= WireLimits.membersMax, message.n_words <= 2 * WireLimits.membersMax + 2 else { throw .tooManyItems }
        let words = UnsafeBufferPointer(start: message.words, count: message.n_words)
        switch message.kind {
        case 2:
            var members: [Member] = []
            members.reserveCapacity(message.n_members)
            for pointer in elements(message.members, message.n_members) { members.append(try Member(pointer.pointee)) }
            return .sync(members: members, wantsReply: message.wants_reply != 0)
        case 3: return .ping(sequence: message.sequence, placement: message.digest, claims: try claims(message))
        case 4: return .ack(sequence: message.sequence, placement: message.digest, claims: try claims(message))
        case 5: return .nack(sequence: message.sequence, claims: try claims(message))
        case 6: return .relay(sequence: message.sequence, target: id, claims: try claims(message))
        case 7: return .claims(placement: message.digest, try claims(message))
        case 8:
            // A step of a later version is one that this version cannot take.
            guard let step = message.step == 0 ? nil : UInt8(exactly: message.step - 1).flatMap(Accusation.Step.init(rawValue:)) else {
                return nil
            }
            guard id != .none, message.incarnation > 0 else { throw .badMember }
            return .accusation(Accusation(step, id, incarnation: message.incarnation))
        case 9:
            guard let high = words.first else { throw .badMember }
            return .digest(TableDigest(low: message.digest, high: high, cutoff: message.cutoff))
        case 10: return .ranges(cutoff: message.cutoff, sums: Array(words))
        case 11: return .summary(try summary(message, words))
        case 12: return .fetch(try ids(words.dropFirst(0)))
        case 13:
            guard let port = UInt16(exactly: message.port), message.host.len <= 255,
                let host = String(validating: UnsafeRawBufferPointer(message.host), as: UTF8.self)
            else { throw .badMember }
            return .unreachable(PeerAddress(host: host, port: port))
        default: return nil
        }
    }

    private static func claims(_ message: Peercache__Gossip) throws(WireError) -> [MemberClaim] {
        if message.n_members == 0 { return [] }
        var claims: [MemberClaim] = []
        claims.reserveCapacity(message.n_members)
        for pointer in elements(message.members, message.n_members) { claims.append(try MemberClaim(pointer.pointee)) }
        return claims
    }

    private static func ids(_ words: Slice<UnsafeBufferPointer<UInt64>>) throws(WireError) -> [PeerID] {
        guard words.count.isMultiple(of: 2) else { throw .badMember }
        var ids: [PeerID] = []
        ids.reserveCapacity(words.count / 2)
        for index in stride(from: words.startIndex, to: words.endIndex, by: 2) {
            ids.append(PeerID(high: words[index], low: words[index + 1]))
        }
        return ids
    }

    private static func summary(
        _ message: Peercache__Gossip, _ words: UnsafeBufferPointer<UInt64>
    ) throws(WireError) -> TableSummary {
        guard words.count >= 2, words.count - 2 == 2 * message.n_states else { throw .badMember }
        let ids = try ids(words.dropFirst(2)), states = UnsafeBufferPointer(start: message.states, count: message.n_states)
        var entries: [TableSummary.Entry] = []
        entries.reserveCapacity(ids.count)
        for (id, state) in zip(ids, states) {
            guard let incarnation = UInt32(exactly: state >> 3), incarnation > 0, id != .none,
                let status = MemberStatus(rawValue: UInt8(truncatingIfNeeded: state & 7)), entries.last.map({ $0.id < id }) ?? true
            else { throw .badMember }
            entries.append(TableSummary.Entry(id: id, incarnation: incarnation, status: status))
        }
        let from = PeerID(high: message.id_high, low: message.id_low), through = PeerID(high: words[0], low: words[1])
        return TableSummary(
            from: from, through: through, entries: entries, isComplete: message.wants_reply != 0, cutoff: message.cutoff)
    }
}

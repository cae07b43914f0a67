package import PeerCacheCore

/// Draws messages whose fields are random, often at their limits. Everything repeats from the generator.
package struct RandomMessages {
    /// Names of caches to ask for; a random one is used now and then.
    package var caches: [[UInt8]] = [Array("rows".utf8)]
    package var valueBytesMax = 2000
    package var membersMax = 5
    package var keysMax = 5
    /// Ids of members to speak of. Few, so that tables stay small.
    package var memberIDs = (1...8).map { PeerID(high: 0xA0, low: $0) }

    package init() {}

    /// A message of any kind but hello, which is valid only at the start.
    package func message(using random: inout some RandomNumberGenerator) -> OwnedMessage {
        switch random.next() % 16 {
        case 0...5: .request(request(using: &random))
        case 6...8: .response(response(using: &random))
        case 9: .chunk(id: number(using: &random), isResponse: random.next() % 2 == 0, bytes: bytes(upTo: valueBytesMax, using: &random))
        case 10, 11: .gossip(gossip(using: &random))
        case 12, 13:
            .invalidation(
                WireInvalidation(
                    random.next() % 8 == 0 ? .everything : .key(hash: number(using: &random), below: stamp(using: &random)),
                    number: number(using: &random)))
        case 14:
            random.next() % 2 == 0 ? .cancel(id: number(using: &random)) : .taken(chunks: Int(UInt32(truncatingIfNeeded: random.next())))
        default: .goodbye(Goodbye(rawValue: UInt8(random.next() % 5)) ?? .idle)
        }
    }

    package func hello(using random: inout some RandomNumberGenerator) -> OwnedMessage {
        var settings = SettingsFingerprint(hashKey: number(using: &random))
        settings.placementRule = UInt32(truncatingIfNeeded: number(using: &random))
        settings.slots = UInt32(truncatingIfNeeded: number(using: &random))
        settings.bucketsPerSlot = UInt32(truncatingIfNeeded: number(using: &random))
        return .hello(record(using: &random), settings)
    }

    package func request(using random: inout some RandomNumberGenerator) -> OwnedRequest {
        var request = OwnedRequest(kind: RequestKind(rawValue: UInt32(1 + random.next() % 8)) ?? .get)
        request.id = number(using: &random)
        request.deadlineMilliseconds = UInt32(truncatingIfNeeded: number(using: &random))
        request.cache = cache(using: &random)
        request.type = random.next() % 4 == 0 ? UInt32(truncatingIfNeeded: number(using: &random)) : 0
        request.key = bytes(upTo: WireLimits.keyBytesMax, using: &random)
        if request.kind == .set || request.kind == .apply { request.value = bytes(upTo: valueBytesMax, using: &random) }
        if request.kind == .getMany {
            for _ in 0..<Int(random.next() % UInt64(keysMax + 1)) {
                bytes(upTo: 64, using: &random).withUnsafeBytes { WireKeys.append($0, to: &request.value) }
            }
        }
        request.ttlMilliseconds = ttl(using: &random)
        request.stamp = stamp(using: &random)
        request.flags = UInt32(random.next() % 8) | (random.next() % 2 == 0 ? RequestFlags.near.rawValue : 0)
        if random.next() % 8 == 0 { request.chunkedBytes = number(using: &random) % UInt64(WireLimits.valueBytesCeiling + 1) }
        request.placement = number(using: &random)
        request.scheme = UInt32(truncatingIfNeeded: number(using: &random))
        return request
    }

    package func response(using random: inout some RandomNumberGenerator) -> OwnedResponse {
        var response = OwnedResponse(id: number(using: &random), status: status(using: &random))
        response.value = bytes(upTo: valueBytesMax, using: &random)
        response.ttlMilliseconds = ttl(using: &random)
        response.stamp = stamp(using: &random)
        if random.next() % 8 == 0 { response.chunkedBytes = number(using: &random) % UInt64(WireLimits.valueBytesCeiling + 1) }
        response.message = bytes(upTo: WireLimits.messageBytesMax, using: &random)
        response.placement = number(using: &random)
        if random.next() % 2 == 0 { response.near = number(using: &random) }
        if random.next() % 2 == 0 { response.copiedThrough = number(using: &random) }
        return response
    }

    package func gossip(using random: inout some RandomNumberGenerator) -> GossipMessage {
        let sequence = number(using: &random), placement = number(using: &random)
        switch random.next() % 12 {
        case 0: return .ping(sequence: sequence, placement: placement, claims: claims(using: &random))
        case 1: return .ack(sequence: sequence, placement: placement, claims: claims(using: &random))
        case 2: return .nack(sequence: sequence, claims: claims(using: &random))
        case 3: return .relay(sequence: sequence, target: id(using: &random), claims: claims(using: &random))
        case 4: return .claims(placement: placement, claims(using: &random))
        case 5:
            let step = Accusation.Step(rawValue: UInt8(random.next() % 3)) ?? .accuse
            return .accusation(Accusation(step, id(using: &random), incarnation: incarnation(using: &random)))
        case 6: return .digest(TableDigest(low: placement, high: sequence, cutoff: number(using: &random)))
        case 7: return .ranges(cutoff: placement, sums: (0..<64).map { _ in number(using: &random) })
        case 8:
            let ids = Set((0..<Int(random.next() % UInt64(membersMax + 1))).map { _ in id(using: &random) }).sorted()
            let entries = ids.map { id in
                TableSummary.Entry(
                    id: id, incarnation: incarnation(using: &random),
                    status: MemberStatus(rawValue: UInt8(random.next() % 5)) ?? .alive)
            }
            return .summary(
                TableSummary(
                    from: PeerID(high: 0, low: 0), through: PeerID(high: .max, low: number(using: &random)), entries: entries,
                    isComplete: random.next() % 2 == 0, cutoff: placement))
        case 9: return .fetch((0..<Int(random.next() % UInt64(membersMax + 1))).map { _ in id(using: &random) })
        case 10: return .unreachable(record(using: &random).address)
        default:
            let members = (0..<Int(random.next() % UInt64(membersMax + 1))).map { _ in member(using: &random) }
            return .sync(members: members, wantsReply: random.next() % 2 == 0)
        }
    }

    private func claims(using random: inout some RandomNumberGenerator) -> [MemberClaim] {
        (0..<Int(random.next() % UInt64(membersMax + 1))).map { _ in
            MemberClaim(
                member(using: &random), accuser: UInt32(truncatingIfNeeded: number(using: &random)), withRecord: random.next() % 2 == 0)
        }
    }

    private func id(using random: inout some RandomNumberGenerator) -> PeerID {
        memberIDs.randomElement(using: &random) ?? PeerID(high: 1, low: 1)
    }

    private func incarnation(using random: inout some RandomNumberGenerator) -> UInt32 {
        max(1, UInt32(truncatingIfNeeded: number(using: &random)))
    }

    package func member(using random: inout some RandomNumberGenerator) -> Member {
        let status = MemberStatus(rawValue: UInt8(random.next() % 5)) ?? .alive
        let cause = status == .dead ? DeathCause(rawValue: UInt8(random.next() % 3)) : nil
        return Member(record(using: &random), status: status, cause: cause, since: number(using: &random))
    }

    /// Addresses are loopback ones at which nobody listens: whoever believes the record dials them.
    package func record(using random: inout some RandomNumberGenerator) -> MemberRecord {
        let id = memberIDs.randomElement(using: &random) ?? PeerID(high: 1, low: 1)
        let host = "127.0.0.\(2 + random.next() % 200)"
        var record = MemberRecord(id: id, address: PeerAddress(host: host, port: UInt16(1 + random.next() % 8)))
        record.incarnation = max(1, UInt32(truncatingIfNeeded: number(using: &random)))
        record.name = text(using: &random)
        record.zone = text(using: &random)
        record.region = text(using: &random)
        record.weight = UInt16(random.next() % 1001)
        record.metadata = bytes(upTo: 512, using: &random)
        record.versionLow = UInt16(truncatingIfNeeded: number(using: &random))
        record.versionHigh = UInt16.random(in: record.versionLow...(.max), using: &random)
        record.hlc = number(using: &random)
        record.started = number(using: &random)
        return record
    }

    /// 64 bits of any size, with the extremes more often than chance has them.
    package func number(using random: inout some RandomNumberGenerator) -> UInt64 {
        switch random.next() % 8 {
        case 0: [0, 1, 127, 128, UInt64(UInt32.max), UInt64(UInt32.max) + 1, UInt64(Int64.max), .max].randomElement(using: &random) ?? 0
        default: random.next() >> (random.next() % 64)
        }
    }

    private func bytes(upTo max: Int, using random: inout some RandomNumberGenerator) -> [UInt8] {
        let count: Int =
            switch random.next() % 8 {
            case 0: 0
            case 1: max
            case 2: Int(random.next() % UInt64(max + 1))
            default: Int(random.next() % UInt64(min(max, 40) + 1))
            }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count { withUnsafeBytes(of: random.next()) { bytes.append(contentsOf: $0) } }
        return Array(bytes.prefix(count))
    }

    private func cache(using random: inout some RandomNumberGenerator) -> [UInt8] {
        random.next() % 8 == 0 ? bytes(upTo: WireLimits.cacheNameBytesMax, using: &random) : caches.randomElement(using: &random) ?? []
    }

    private func status(using random: inout some RandomNumberGenerator) -> ResponseStatus {
        ResponseStatus(rawValue: UInt32(1 + random.next() % 22)) ?? .ok
    }

    /// Not the largest number: the wire has no room for it (0 stands for nil).
    private func ttl(using random: inout some RandomNumberGenerator) -> UInt64? {
        random.next() % 2 == 0 ? nil : min(number(using: &random), .max - 1)
    }

    private func stamp(using random: inout some RandomNumberGenerator) -> Stamp {
        Stamp(clock: number(using: &random), origin: UInt32(truncatingIfNeeded: random.next()))
    }

    private func text(using random: inout some RandomNumberGenerator) -> String {
        ["", "a", "zone-1", "größer", String(repeating: "x", count: 64)].randomElement(using: &random) ?? ""
    }
}

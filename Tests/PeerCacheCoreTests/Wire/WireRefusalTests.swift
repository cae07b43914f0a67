import PeerCacheCore
import PeerCacheTesting
import Testing
import WireSamples

/// SEC23: what protobuf-c lets through and we do not; and what a later version may send.
@Suite struct WireRefusalTests {
    private let samples = RandomMessages()

    private func error(of payload: [UInt8]) -> WireError? {
        if case .failure(let error) = SampleFrame.decode(payload) { error } else { nil }
    }
    private func error(of message: OwnedMessage) -> WireError? { error(of: SampleFrame.payload(of: [message])) }

    private func member(_ change: (inout Member) -> Void = { _ in }) -> Member {
        var member = Member(MemberRecord(id: PeerID(high: 1, low: 2), address: PeerAddress(host: "a", port: 1)), status: .alive)
        change(&member)
        return member
    }
    private func gossip(_ change: (inout Member) -> Void) -> OwnedMessage {
        .gossip(.sync(members: [member(change)], wantsReply: false))
    }

    @Test func longKeysAndNames() {
        var request = OwnedRequest(kind: .get)
        request.key = [UInt8](repeating: 1, count: WireLimits.keyBytesMax)
        request.cache = [UInt8](repeating: 1, count: WireLimits.cacheNameBytesMax)
        #expect(error(of: .request(request)) == nil)
        var long = request
        long.key.append(1)
        #expect(error(of: .request(long)) == .keyTooLong)
        long.key = []
        long.cache.append(1)
        #expect(error(of: .request(long)) == .nameTooLong)
    }

    @Test func chunkedSizesAboveTheCeiling() {
        var request = OwnedRequest(kind: .set)
        request.chunkedBytes = UInt64(WireLimits.valueBytesCeiling)
        #expect(error(of: .request(request)) == nil)
        for bytes in [UInt64(WireLimits.valueBytesCeiling) + 1, .max] {
            request.chunkedBytes = bytes
            #expect(error(of: .request(request)) == .frameTooLong)
            var response = OwnedResponse(id: 1, status: .ok)
            response.chunkedBytes = bytes
            #expect(error(of: .response(response)) == .frameTooLong)
        }
    }

    @Test func tooManyItemsOfOneField() {
        let most = [OwnedMessage](repeating: .cancel(id: 1), count: WireLimits.itemsMax)
        #expect(error(of: SampleFrame.payload(of: most + [.cancel(id: 1)])) != nil)
        let members = [Member](repeating: member(), count: WireLimits.membersMax)
        #expect(error(of: .gossip(.sync(members: members, wantsReply: true))) == nil)
        #expect(error(of: .gossip(.sync(members: members + [member()], wantsReply: true))) == .tooManyItems)
    }

    /// Whoever reads a list need not sort it.
    @Test func summariesAreInIDOrder() {
        func error(of numbers: [UInt64]) -> WireError? {
            let entries = numbers.map { TableSummary.Entry(id: PeerID(high: $0, low: 1), incarnation: 1, status: .alive) }
            let range = (from: PeerID(high: 0, low: 0), through: PeerID(high: .max, low: .max))
            return self.error(
                of: .gossip(
                    .summary(TableSummary(from: range.from, through: range.through, entries: entries, isComplete: true, cutoff: 0))))
        }
        #expect(error(of: []) == nil && error(of: [1]) == nil && error(of: [1, 2, 3]) == nil)
        #expect(error(of: [1, 3, 2]) == .badMember && error(of: [1, 1]) == .badMember)
    }

    @Test func longFramesAreNotLookedAt() {
        #expect(error(of: [UInt8](repeating: 0, count: WireLimits.frameBytesMax + 1)) == .frameTooLong)
    }

    @Test func impossibleMembers() {
        #expect(error(of: gossip { _ in }) == nil)
        #expect(error(of: gossip { $0.record.id = .none }) == .badMember)
        #expect(error(of: gossip { $0.record.incarnation = 0 }) == .badMember)
        #expect(error(of: gossip { $0.record.weight = 1001 }) == .badMember)
        #expect(error(of: gossip { ($0.record.versionLow, $0.record.versionHigh) = (2, 1) }) == .badMember)
        #expect(error(of: gossip { $0.record.address.host = "" }) == .badMember)
        #expect(error(of: gossip { $0.record.address.host = String(repeating: "h", count: 256) }) == .badMember)
        #expect(error(of: gossip { $0.record.name = String(repeating: "n", count: 65) }) == .badMember)
        #expect(error(of: gossip { $0.record.zone = String(repeating: "z", count: 65) }) == .badMember)
        #expect(error(of: gossip { $0.record.region = String(repeating: "r", count: 65) }) == .badMember)
        #expect(error(of: gossip { $0.record.metadata = [UInt8](repeating: 0, count: 513) }) == .badMember)
    }

    /// Fields that our encoder cannot put out of range, written by hand.
    @Test func memberFieldsOutOfRange() {
        let valid = RawProto.member()
        #expect(error(of: RawProto.frame(gossip: valid)) == nil)
        for (field, value) in [(4, 5), (4, 1 << 31), (6, 65_536), (10, 1001), (10, 1 << 20), (12, 65_536), (13, 65_536)] as [(Int, UInt64)]
        {
            #expect(error(of: RawProto.frame(gossip: valid + RawProto.varint(field, value))) == .badMember, "field \(field)")
        }
        for field in [5, 7, 8, 9] {
            #expect(
                error(of: RawProto.frame(gossip: valid + RawProto.bytes(field, [0xC3, 0x28]))) == .badMember, "field \(field) is no UTF-8")
        }
        #expect(error(of: RawProto.bytes(6, RawProto.varint(3, 1))) == .badMember, "a hello without a member")
    }

    @Test func unknownFieldsAreSkipped() {
        var random = SeededRandom(seed: 3)
        let unknown =
            RawProto.varint(100, .max) + RawProto.bytes(101, [1, 2, 3]) + RawProto.tag(102, 5) + [1, 2, 3, 4]
            + RawProto.tag(103, 1) + [UInt8](repeating: 8, count: 8)
        for _ in 0..<50 {
            let message = samples.message(using: &random)
            #expect(SampleFrame.decode(SampleFrame.payload(of: [message]) + unknown) == .success([message]))
        }
        // And inside a message.
        let request = RawProto.varint(1, 7) + RawProto.varint(2, 1) + unknown
        var expected = OwnedRequest(kind: .get)
        expected.id = 7
        #expect(SampleFrame.decode(RawProto.bytes(2, request)) == .success([.request(expected)]))
    }

    @Test func whatALaterVersionMaySend() {
        #expect(SampleFrame.decode(RawProto.bytes(2, RawProto.varint(1, 7) + RawProto.varint(2, 99))) == .success([.unknownRequest(id: 7)]))
        #expect(SampleFrame.decode(RawProto.bytes(2, RawProto.varint(1, 7))) == .success([.unknownRequest(id: 7)]))
        let response = OwnedMessage.response(OwnedResponse(id: 7, status: .unsupported))
        #expect(SampleFrame.decode(RawProto.bytes(3, RawProto.varint(1, 7) + RawProto.varint(2, 99))) == .success([response]))
        #expect(SampleFrame.decode(RawProto.bytes(5, RawProto.varint(1, 99))) == .success([]))
        #expect(SampleFrame.decode(RawProto.varint(7, 99)) == .success([.goodbye(.idle)]))
        #expect(SampleFrame.decode(RawProto.varint(7, UInt64(UInt32.max))) == .success([.goodbye(.idle)]))
        var flagged = OwnedRequest(kind: .get)
        flagged.flags = RequestFlags.all.rawValue
        let request = RawProto.varint(2, 1) + RawProto.varint(11, UInt64(UInt32.max))
        #expect(SampleFrame.decode(RawProto.bytes(2, request)) == .success([.request(flagged)]))
        // A cause of death of a later version, and none at all.
        for cause in [99, UInt64(UInt32.max), 0] {
            let dead = RawProto.member() + RawProto.varint(4, UInt64(MemberStatus.dead.rawValue)) + RawProto.varint(15, cause)
            guard case .success(let messages) = SampleFrame.decode(RawProto.frame(gossip: dead)),
                case .gossip(.sync(let members, _)) = messages.first
            else { Issue.record("refused"); continue }
            #expect(members.first?.cause == .silent)
        }
    }

    @Test func longTextForPeopleIsCut() {
        var response = OwnedResponse(id: 1, status: .loadFailed)
        response.message = [UInt8](repeating: 65, count: 5000)
        let decoded = SampleFrame.decode(SampleFrame.payload(of: [.response(response)]))
        response.message = [UInt8](repeating: 65, count: WireLimits.messageBytesMax)
        #expect(decoded == .success([.response(response)]))
    }
}

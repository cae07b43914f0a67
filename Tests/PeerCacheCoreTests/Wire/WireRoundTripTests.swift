import PeerCacheCore
import PeerCacheTesting
import Testing
import WireSamples

/// What was encoded is what is decoded: every message, random fields, seeds in the failure.
@Suite struct WireRoundTripTests {
    private let samples = RandomMessages()

    @Test(arguments: Seeds.chosen(1...20)) func everyMessageComesBack(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let decoder = WireDecoder()
        for _ in 0..<300 {
            let message = random.next() % 16 == 0 ? samples.hello(using: &random) : samples.message(using: &random)
            let payload = SampleFrame.payload(of: [message], hlc: random.next())
            #expect(SampleFrame.decode(payload, with: decoder) == .success([message]), "PEERCACHE_SEED=\(seed)")
        }
    }

    @Test(arguments: Seeds.chosen(1...20)) func manyMessagesOfAFrameComeBackByKind(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<30 {
            var messages = (0..<Int(random.next() % 20)).map { _ in samples.message(using: &random) }
            // A frame has one field for a goodbye: the last one counts.
            messages.removeAll { if case .goodbye = $0 { true } else { false } }
            if random.next() % 2 == 0 { messages.append(.goodbye(.leaving)) }
            let payload = SampleFrame.payload(of: messages, hlc: random.next())
            #expect(SampleFrame.decode(payload) == .success(messages.inDeliveryOrder), "PEERCACHE_SEED=\(seed)")
        }
    }

    @Test func everyKindOfRequestAndStatusComesBack() {
        for kind in (1...8).compactMap({ RequestKind(rawValue: $0) }) {
            var request = OwnedRequest(kind: kind)
            (request.id, request.cache, request.key, request.flags) = (7, [1], [2, 3], 7)
            #expect(SampleFrame.decode(SampleFrame.payload(of: [.request(request)])) == .success([.request(request)]))
        }
        for status in (1...22).compactMap({ ResponseStatus(rawValue: $0) }) {
            let response = OwnedMessage.response(OwnedResponse(id: .max, status: status))
            #expect(SampleFrame.decode(SampleFrame.payload(of: [response])) == .success([response]))
        }
        for goodbye in (0...4).compactMap({ Goodbye(rawValue: $0) }) {
            #expect(SampleFrame.decode(SampleFrame.payload(of: [.goodbye(goodbye)])) == .success([.goodbye(goodbye)]))
        }
    }

    @Test func theLongestLifetimeLosesItsLastMillisecond() {
        var request = OwnedRequest(kind: .set)
        request.ttlMilliseconds = .max
        let decoded = SampleFrame.decode(SampleFrame.payload(of: [.request(request)]))
        request.ttlMilliseconds = .max - 1
        #expect(decoded == .success([.request(request)]))
    }

    @Test func theLargestFrameComesBack() {
        let message = OwnedMessage.chunk(id: .max, isResponse: true, bytes: [UInt8](repeating: 9, count: WireLimits.chunkBytes))
        let decoder = WireDecoder()
        #expect(SampleFrame.decode(SampleFrame.payload(of: [message]), with: decoder) == .success([message]))
        // Twice: the block above the first was given back.
        #expect(SampleFrame.decode(SampleFrame.payload(of: [message]), with: decoder) == .success([message]))
    }

    @Test(arguments: [0, 1, UInt64(UInt32.max), .max] as [UInt64]) func theClockIsReadWithoutDecoding(hlc: UInt64) {
        let payload = SampleFrame.payload(of: [.cancel(id: 1)], hlc: hlc)
        let clock = payload.withUnsafeBytes { WireDecoder.clock(of: $0) }
        #expect(clock == hlc)
    }

    @Test func aFrameWithoutAClockInFrontHasNone() {
        let payload = SampleFrame.payload(of: [.cancel(id: 1)], hlc: 5)
        let without: [[UInt8]] = [[], [0x09], Array(payload.prefix(8)), Array(payload.dropFirst(9)), [0x08] + payload.dropFirst()]
        for bytes in without {
            let clock = bytes.withUnsafeBytes { WireDecoder.clock(of: $0) }
            #expect(clock == nil)
        }
    }
}

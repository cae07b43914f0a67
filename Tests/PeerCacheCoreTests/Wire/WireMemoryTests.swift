import CPeerWire
import CProtobufC
import PeerCacheCore
import PeerCacheTesting
import Testing
import WireSamples

/// SEC21, SEC22: what a frame can cost.
@Suite struct WireMemoryTests {
    /// As many copies of `part` as fit the largest frame.
    private func bomb(_ part: [UInt8], in field: Int? = nil, frameBytes: Int = WireLimits.frameBytesMax) -> [UInt8] {
        let content = Array(repeatElement(part, count: (frameBytes - 16) / part.count).joined())
        return field.map { RawProto.bytes($0, content) } ?? content
    }

    @Test func bombsStayBelowTheCap() {
        let bombs: [(String, [UInt8])] = [
            ("empty requests", bomb([0x12, 0])), ("empty responses", bomb([0x1A, 0])), ("empty chunks", bomb([0x22, 0])),
            ("empty gossip", bomb([0x2A, 0])), ("one hello, repeated", bomb([0x32, 0])), ("cancels", bomb([0x40, 1])),
            ("packed cancels", bomb([1], in: 8)), ("chunks taken", bomb([0x50, 1])), ("packed chunks taken", bomb([1], in: 10)),
            ("empty invalidations", bomb([0x4A, 0])), ("unknown numbers", bomb([0x58, 0])), ("unknown empty bytes", bomb([0x5A, 0])),
            ("one key, repeated", bomb([0x32, 0], in: 2)), ("unknown fields of a request", bomb([0x7A, 0], in: 2)),
            ("unknown fields of a response", bomb([0x52, 0], in: 3)), ("empty members", bomb([0x22, 0], in: 5)),
            ("one member of a hello, repeated", bomb([0x0A, 0], in: 6)),
            ("hellos with a member", bomb([0x32, 2, 0x0A, 0])), ("gossip with a member", bomb([0x2A, 2, 0x22, 0])),
            ("nested groups of later versions", bomb([0x5B])),
        ]
        for (name, frame) in bombs {
            for count in [frame.count, 60_000, 5_000, 300, 1] {
                let decoder = WireDecoder()
                let frame = Array(frame.prefix(count))
                _ = SampleFrame.decode(frame, with: decoder)
                let cap = WireDecoder.arenaCap(frameBytes: frame.count)
                #expect(decoder.arenaBytesTaken <= cap && cap <= 4 << 20, "\(name), \(frame.count) bytes")
                // The decoder is as good as new afterwards.
                #expect(SampleFrame.decode(SampleFrame.payload(of: [.cancel(id: 5)]), with: decoder) == .success([.cancel(id: 5)]))
                #expect(decoder.arenaBytesTaken < 4096)
            }
        }
    }

    @Test func theCapGrowsWithTheFrameUpToItsLimit() {
        #expect(WireDecoder.arenaCap(frameBytes: 0) == 256 * 1024)
        #expect(WireDecoder.arenaCap(frameBytes: 100) == 256 * 1024 + 1600)
        #expect(WireDecoder.arenaCap(frameBytes: WireLimits.frameBytesMax) == 4 << 20)
    }

    @Test(arguments: Seeds.chosen(1...10)) func randomAndMutatedFramesStayBelowTheCap(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let samples = RandomMessages(), decoder = WireDecoder()
        for _ in 0..<2000 {
            var payload = SampleFrame.payload(of: [samples.message(using: &random), samples.message(using: &random)])
            for _ in 0...random.next() % 8 {
                payload[Int(random.next() % UInt64(payload.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            if case .success(let messages) = SampleFrame.decode(payload, with: decoder) {
                for case .request(let request) in messages {
                    #expect(request.key.count <= WireLimits.keyBytesMax && request.cache.count <= WireLimits.cacheNameBytesMax)
                }
            }
            #expect(decoder.arenaBytesTaken <= WireDecoder.arenaCap(frameBytes: payload.count), "PEERCACHE_SEED=\(seed)")
        }
    }

    /// SEC22: unpacking recurses, so the schema must not.
    @Test func noMessageContainsItselfAndNestingIsAtMostFour() throws {
        var frame = Peercache__PeerFrame()
        peercache__peer_frame__init(&frame)
        let depth = try depth(of: #require(frame.base.descriptor), inside: [])
        #expect(depth == 3)
    }

    private struct Recursion: Error {
        let message: String
    }

    private func depth(of message: UnsafePointer<ProtobufCMessageDescriptor>, inside: [UnsafeRawPointer]) throws -> Int {
        let name = String(cString: message.pointee.name)
        guard !inside.contains(UnsafeRawPointer(message)) else { throw Recursion(message: name) }
        var deepest = 0
        for field in UnsafeBufferPointer(start: message.pointee.fields, count: Int(message.pointee.n_fields))
        where field.type == PROTOBUF_C_TYPE_MESSAGE {
            let nested = try #require(field.descriptor).assumingMemoryBound(to: ProtobufCMessageDescriptor.self)
            deepest = max(deepest, try depth(of: nested, inside: inside + [UnsafeRawPointer(message)]))
        }
        #expect(deepest + 1 <= 4, "\(name)")
        return deepest + 1
    }
}

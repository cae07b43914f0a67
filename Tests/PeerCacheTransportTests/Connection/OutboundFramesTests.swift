import NIOCore
import PeerCacheCore
import PeerCacheTesting
import PeerCacheTransport
import Testing
import WireSamples

@Suite struct OutboundFramesTests {
    private func payloads(_ stream: ByteBuffer) throws -> [[UInt8]] {
        var splitter = FrameSplitter()
        splitter.push(stream)
        var payloads: [[UInt8]] = []
        while let frame = try splitter.next() { payloads.append(Array(frame.readableBytesView)) }
        #expect(splitter.pendingBytes == 0)
        return payloads
    }

    private func decoded(_ payloads: [[UInt8]]) throws -> [OwnedMessage] { try payloads.flatMap { try SampleFrame.decode($0).get() } }

    @Test func smallItemsShareAFrame() throws {
        var frames = OutboundFrames()
        #expect(frames.isEmpty && frames.byteCount == 0)
        frames.append(cancel: 1)
        frames.append(WireResponse(id: 2, status: .absent))
        frames.append(Goodbye.idle)
        #expect(!frames.isEmpty)
        let sent = try payloads(frames.take(hlc: 77))
        #expect(sent.count == 1)
        let clock = sent[0].withUnsafeBytes { WireDecoder.clock(of: $0) }
        #expect(clock == 77)
        #expect(try decoded(sent) == [.response(OwnedResponse(id: 2, status: .absent)), .cancel(id: 1), .goodbye(.idle)])
        #expect(frames.isEmpty && frames.byteCount == 0)
        let nothing = frames.take(hlc: 78)
        #expect(nothing.readableBytes == 0)
    }

    @Test(arguments: Seeds.chosen(1...20)) func framesSplitAtTheirTarget(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var frames = OutboundFrames()
        for round in 0..<3 {
            var sent: [OwnedMessage] = []
            for id in 0..<200 {
                let chunk = [UInt8](repeating: UInt8(truncatingIfNeeded: id), count: Int(random.next() % 3000))
                sent.append(.chunk(id: UInt64(id), isResponse: false, bytes: chunk))
                chunk.withUnsafeBytes { frames.append(chunk: $0, id: UInt64(id), isResponse: false) }
            }
            let received = try payloads(frames.take(hlc: 1))
            #expect(received.count > 1)
            #expect(received.allSatisfy { $0.count + 4 <= WireLimits.frameBytesTarget })
            #expect(try decoded(received) == sent, "PEERCACHE_SEED=\(seed), round \(round)")
        }
    }

    @Test func anItemAboveTheTargetHasAFrameOfItsOwn() throws {
        var frames = OutboundFrames()
        frames.append(cancel: 1)
        let chunk = [UInt8](repeating: 5, count: WireLimits.chunkBytes)
        chunk.withUnsafeBytes { frames.append(chunk: $0, id: 2, isResponse: true) }
        frames.append(cancel: 3)
        let received = try payloads(frames.take(hlc: 1))
        #expect(received.count == 3)
        #expect(received.allSatisfy { $0.count <= WireLimits.frameBytesMax })
        #expect(try decoded(received) == [.cancel(id: 1), .chunk(id: 2, isResponse: true, bytes: chunk), .cancel(id: 3)])
    }

    /// The receiver refuses frames of too many items and frames that decode into too much memory: what a busy tick gathers must be neither.
    @Test func manySmallestItemsAreAcceptedByTheReceiver() throws {
        let empty = UnsafeRawBufferPointer(start: nil, count: 0)
        let member = Member(MemberRecord(id: PeerID(high: 0, low: 1), address: PeerAddress(host: "h", port: 1)), status: .alive)
        let appends: [(String, (inout OutboundFrames, UInt64) -> Void)] = [
            ("cancels", { $0.append(cancel: $1) }),
            ("responses", { $0.append(WireResponse(id: $1, status: .absent)) }),
            (
                "requests",
                { frames, id in
                    var request = WireRequest(kind: .get, cache: empty)
                    request.id = id
                    frames.append(request)
                }
            ),
            ("chunks", { frames, _ in frames.append(chunk: empty, id: 0, isResponse: false) }),
            ("invalidations", { frames, _ in frames.append(WireInvalidation(.everything, number: 0)) }),
            ("pings", { frames, _ in frames.append(GossipMessage.ping(sequence: 1, placement: 0, claims: [])) }),
            ("syncs", { frames, _ in frames.append(GossipMessage.sync(members: [member], wantsReply: false)) }),
        ]
        for (name, append) in appends {
            var frames = OutboundFrames()
            for id in 0..<20_000 { append(&frames, UInt64(id)) }
            var count = 0
            for payload in try payloads(frames.take(hlc: 1)) {
                switch SampleFrame.decode(payload) {
                case .success(let messages): count += messages.count
                case .failure(let error): Issue.record("\(name): a frame of \(payload.count) bytes is refused: \(error)")
                }
            }
            #expect(count == 20_000, "\(name)")
        }
    }
}

import NIOCore
import PeerCacheCore
import PeerCacheTesting
import PeerCacheTransport
import Testing
import WireSamples

@Suite struct FrameSplitterTests {
    private func payloads(of splitter: inout FrameSplitter) throws -> [[UInt8]] {
        var payloads: [[UInt8]] = []
        while let frame = try splitter.next() { payloads.append(Array(frame.readableBytesView)) }
        return payloads
    }

    @Test(arguments: Seeds.chosen(1...50)) func cutsDoNotMatter(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let sent = (0..<20).map { _ in [UInt8](repeating: UInt8(truncatingIfNeeded: random.next()), count: Int(random.next() % 600)) }
        let stream = sent.flatMap { SampleFrame.framed($0) }
        var splitter = FrameSplitter()
        var received: [[UInt8]] = []
        var rest = stream[...]
        while !rest.isEmpty {
            let count = min(rest.count, Int(1 + random.next() % (random.next() % 2 == 0 ? 4 : 1500)))
            splitter.push(ByteBuffer(bytes: rest.prefix(count)))
            rest = rest.dropFirst(count)
            if random.next() % 3 != 0 { received += try payloads(of: &splitter) }
        }
        received += try payloads(of: &splitter)
        #expect(received == sent, "PEERCACHE_SEED=\(seed)")
        #expect(splitter.pendingBytes == 0)
    }

    @Test func theLargestFramePasses() throws {
        var splitter = FrameSplitter()
        splitter.push(ByteBuffer(bytes: SampleFrame.framed([UInt8](repeating: 1, count: WireLimits.frameBytesMax))))
        let frame = try splitter.next()
        #expect(frame?.readableBytes == WireLimits.frameBytesMax)
    }

    /// Refused by its length alone, before any of its bytes are waited for.
    @Test(arguments: [UInt32(WireLimits.frameBytesMax) + 1, 1 << 31, .max]) func aLongerFrameIsRefusedAtItsLength(length: UInt32) {
        var splitter = FrameSplitter()
        splitter.push(ByteBuffer(integer: length))
        #expect(throws: WireError.frameTooLong) { _ = try splitter.next() }
    }

    @Test func emptyFramesAreFrames() throws {
        var splitter = FrameSplitter()
        splitter.push(ByteBuffer(repeating: 0, count: 12))
        let payloads = try payloads(of: &splitter)
        #expect(payloads == [[], [], []])
    }
}

internal import DequeModule
package import NIOCore
package import PeerCacheCore

/// Frames that wait for the next flush: items are encoded in place, many to a frame. A value type under the connection's lock.
package struct OutboundFrames {
    /// Frames that are finished but for the clock and leave together. Blocks of a bounded size, so that something more urgent can go first.
    private struct Block {
        var buffer: ByteBuffer
        var frameStarts: [Int]
    }
    /// A block takes no new frame above this size.
    static let blockBytes = 128 * 1024

    private var full = Deque<Block>()
    private var fullBytes = 0
    private var buffer = ByteBuffer()
    /// Where the frame that takes items began.
    private var frameStart = 0
    private var frameStarts: [Int] = []
    /// Items in the frame at hand.
    private var frameItems = 0
    private let allocator = ByteBufferAllocator()
    private var capacityHint = 1024

    package init() {}

    package var isEmpty: Bool { frameStarts.isEmpty && full.isEmpty }
    package var byteCount: Int { fullBytes + buffer.readableBytes }

    package mutating func append(_ request: WireRequest) { WireEncoder.request(request) { append($0, $1) } }
    package mutating func append(_ response: WireResponse) { WireEncoder.response(response) { append($0, $1) } }
    package mutating func append(_ gossip: GossipMessage) { WireEncoder.gossip(gossip) { append($0, $1) } }
    /// An item that was encoded before.
    mutating func append(encoded item: ByteBuffer) {
        item.withUnsafeReadableBytes { bytes in
            append(bytes.count) { target in
                if let base = bytes.baseAddress { target.copyMemory(from: base, byteCount: bytes.count) }
            }
        }
    }
    package mutating func append(_ hello: WireHello) { WireEncoder.hello(hello) { append($0, $1) } }
    package mutating func append(_ goodbye: Goodbye) { WireEncoder.goodbye(goodbye) { append($0, $1) } }
    package mutating func append(_ invalidation: WireInvalidation) { WireEncoder.invalidation(invalidation) { append($0, $1) } }
    package mutating func append(cancel id: UInt64) { WireEncoder.cancel(id: id) { append($0, $1) } }
    package mutating func append(takenChunks count: Int) { WireEncoder.taken(chunks: count) { append($0, $1) } }
    package mutating func append(chunk: UnsafeRawBufferPointer, id: UInt64, isResponse: Bool) {
        WireEncoder.chunk(id: id, isResponse: isResponse, bytes: chunk) { append($0, $1) }
    }

    /// Takes all frames out, as ``takeBlock(hlc:)``.
    package mutating func take(hlc: UInt64) -> ByteBuffer {
        var all = takeBlock(hlc: hlc)
        while !isEmpty { all.writeImmutableBuffer(takeBlock(hlc: hlc)) }
        return all
    }

    /// Takes the oldest frames out, about ``blockBytes`` of them or all there are. The clock is written now, so that a frame never carries an
    /// older reading than its stamps.
    mutating func takeBlock(hlc: UInt64) -> ByteBuffer {
        if var block = full.popFirst() {
            fullBytes -= block.buffer.readableBytes
            Self.writeHeaders(into: &block.buffer, block.frameStarts, hlc)
            return block.buffer
        }
        // In place: this is the path of every small call.
        Self.writeHeaders(into: &buffer, frameStarts, hlc)
        let taken = buffer
        capacityHint = max(1024, min(taken.readableBytes, WireLimits.frameBytesTarget))
        buffer = ByteBuffer()
        frameStarts.removeAll(keepingCapacity: true)
        return taken
    }

    private static func writeHeaders(into buffer: inout ByteBuffer, _ frameStarts: [Int], _ hlc: UInt64) {
        for (index, start) in frameStarts.enumerated() {
            let end = index + 1 < frameStarts.count ? frameStarts[index + 1] : buffer.writerIndex
            buffer.withVeryUnsafeMutableBytes { bytes in
                guard let base = bytes.baseAddress else { return }
                WireEncoder.writeHeader(into: base + start, frameBytes: end - start, hlc: hlc)
            }
        }
    }

    private mutating func append(_ count: Int, _ write: (UnsafeMutableRawPointer) -> Void) {
        if buffer.readableBytes >= Self.blockBytes {
            fullBytes += buffer.readableBytes
            full.append(Block(buffer: buffer, frameStarts: frameStarts))
            (buffer, frameStarts) = (ByteBuffer(), [])
        }
        if frameStarts.isEmpty { buffer = allocator.buffer(capacity: capacityHint) }
        if frameStarts.isEmpty || buffer.writerIndex - frameStart + count > WireLimits.frameBytesTarget
            || frameItems >= WireLimits.frameItemsTarget
        {
            frameStart = buffer.writerIndex
            frameItems = 0
            frameStarts.append(frameStart)
            buffer.writeRepeatingByte(0, count: WireEncoder.headerBytes)
        }
        frameItems += 1
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            write(base)
            return count
        }
    }
}

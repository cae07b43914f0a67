internal import DequeModule
internal import NIOCore
internal import PeerCacheCore

/// Gossip that waits for the socket, ahead of everything else (`GOSSIP.md` §5). A value type under the connection's lock.
struct GossipLane {
    static let bytesMax = 64 * 1024

    /// Encoded, oldest first.
    private var messages = Deque<ByteBuffer>()
    private(set) var byteCount = 0

    var isEmpty: Bool { messages.isEmpty }

    /// - Parameter isStalled: the socket takes nothing. What it would take at once may be more, such as a list in parts.
    /// - Returns: how many messages had to give way, oldest first. The newest stays, however long.
    mutating func append(_ gossip: GossipMessage, isStalled: Bool) -> Int {
        var message = ByteBuffer()
        WireEncoder.gossip(gossip) { count, write in
            message.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
                guard let base = bytes.baseAddress else { return 0 }
                write(base)
                return count
            }
        }
        byteCount += message.readableBytes
        messages.append(message)
        var dropped = 0
        while isStalled, byteCount > Self.bytesMax, messages.count > 1, let oldest = messages.popFirst() {
            byteCount -= oldest.readableBytes
            dropped += 1
        }
        return dropped
    }

    mutating func move(to frames: inout OutboundFrames) {
        for message in messages { frames.append(encoded: message) }
        messages.removeAll()
        byteCount = 0
    }
}

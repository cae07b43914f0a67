package import NIOCore
package import PeerCacheCore

/// Cuts a stream of bytes into frames: 4 bytes of length, big endian, then the payload. The length is checked before anything is kept.
package struct FrameSplitter {
    private var buffer = ByteBuffer()

    package init() {}

    /// Takes in what the socket brought. Bytes are copied only when a frame is incomplete.
    package mutating func push(_ bytes: ByteBuffer) {
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            var bytes = bytes
            buffer.discardReadBytes()
            buffer.writeBuffer(&bytes)
        }
    }

    /// The next complete frame's payload, or nil when more bytes are needed.
    package mutating func next() throws(WireError) -> ByteBuffer? {
        guard let length: UInt32 = buffer.getInteger(at: buffer.readerIndex) else { return nil }
        guard length <= UInt32(WireLimits.frameBytesMax) else { throw .frameTooLong }
        guard buffer.readableBytes - 4 >= Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: 4)
        return buffer.readSlice(length: Int(length))
    }

    /// Bytes kept for an incomplete frame: at most one frame and what one read of the socket brings.
    package var pendingBytes: Int { buffer.readableBytes }
}

internal import PeerCacheCore

/// Bounds of one connection.
package struct ConnectionLimits: Sendable {
    /// Calls of this side without an answer yet; beyond it calls fail with `overloaded`.
    package var requestsMax = 8192
    /// Bytes that wait for the socket, and bytes of large values that wait for their turn: each of the two. Beyond it calls fail with
    /// `overloaded`; so do large answers, and small ones close the connection.
    package var outboundBytesMax = 16 * 1024 * 1024
    /// A connection that could not send anything for this long is closed.
    package var stalledMax: Duration = .seconds(5)
    /// From a goodbye to the end of its connection: for what is still to be sent, and for the other side to read it and close as well.
    package var goodbyeMax: Duration = .seconds(2)
    /// A peer from which nothing came for this long does not answer: what it was asked before fails. It is asked for a sign of life
    /// when less than half of this has passed.
    package var silentMax: Duration = .milliseconds(Int64(WireLimits.silentMilliseconds))
    /// Chunked requests being assembled at a time.
    package var assembliesMax = 256
    /// Bytes of chunked values being assembled at a time.
    package var assemblyBytesMax = 64 * 1024 * 1024
    package var assemblyTimeout: Duration = .seconds(10)
    /// A longer value is refused.
    package var valueBytesMax = 8 * 1024 * 1024

    package init() {}
}

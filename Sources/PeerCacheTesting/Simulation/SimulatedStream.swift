internal import PeerCacheCore

/// What travels on a stream, each whole: the handshake, frames, the end.
enum StreamPayload {
    /// Hello of the dialer, answer of the listener, finish of the dialer (`GOSSIP.md` §5: two round trips with that of TCP).
    case hello
    case answer(HandshakeAnswer)
    case finish(MemberRecord)
    /// One frame as the codec wrote it, without its length.
    case frame([UInt8])
    /// The sender closed, with or without a goodbye.
    case end(Goodbye?)
}

enum HandshakeAnswer {
    case accepted(MemberRecord)
    case foreign(ForeignReason)
}

/// A TCP connection. End 0 dialled.
final class SimulatedStream {
    enum Stage { case none, dialling, connected, established, closed }
    struct End {
        /// Where it is, and which process of the owner has it.
        var host: Int
        var process = -1
        var connection: ConnectionID = 0
        var stage = Stage.none
        var sender = StreamSender()
        var receiver = StreamReceiver()
        /// Arrival of the last packet sent to this end: packets of one direction keep their order.
        var lastArrival: Int64 = 0
        /// When the timer event of the sender is due; later events of older timers do nothing.
        var timerSetFor: Int64?
        /// Data that was not acknowledged on the wire yet, counted lazily on loss-free links.
        var owedAt: Int64?
    }
    let number: Int
    let address: PeerAddress
    let dialledAt: Int64
    var ends: [End]

    init(number: Int, from host: Int, to address: PeerAddress, at time: Int64) {
        self.number = number
        self.address = address
        dialledAt = time
        ends = [End(host: host), End(host: -1)]
        ends[0].stage = .dialling
    }
}

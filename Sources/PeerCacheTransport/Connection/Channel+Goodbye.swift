internal import NIOCore
internal import PeerCacheCore

extension Channel {
    /// Sends the last bytes and closes: our direction when they are out, the other when the peer closes. Closed at once, bytes of the peer
    /// that nobody read would make it a reset, which overtakes the goodbye. Event loop only.
    func close(after last: ByteBuffer?, within limit: Duration) {
        guard let last else { return close(promise: nil) }
        let deadline = eventLoop.scheduleTask(in: .nanoseconds(limit.nanosecondsSaturating)) { self.close(promise: nil) }
        closeFuture.whenComplete { _ in deadline.cancel() }
        writeAndFlush(last).whenComplete { _ in self.close(mode: .output, promise: nil) }
    }
}

internal import DequeModule
internal import NIOCore
package import PeerCacheCore

/// What leaves the connection, in which order, and how it ends.
extension PeerConnection {
    /// It was superfluous, and both sides had sent all they had before it ended: nothing is lost.
    package var hasEndedInOrder: Bool {
        state.withLock { $0.ending.hasSaidGoodbye && $0.ending.hasHeardGoodbye && !$0.ending.isFinal }
    }

    var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Calls in flight. For tests and the snapshot.
    package var requestsInFlight: Int { state.withLock { $0.table.count } }

    func enqueue(_ value: ByteBuffer, id: UInt64, isResponse: Bool, _ state: inout State) {
        state.large.append(LargeValue(id: id, isResponse: isResponse, rest: value))
        state.largeBytes += value.readableBytes
    }

    func beginFlush(_ state: inout State) -> Bool {
        if state.isFlushScheduled { return false }
        state.isFlushScheduled = true
        return true
    }

    func scheduleFlush() { channel.eventLoop.execute { self.flush() } }

    /// Behind so many bytes chunks wait: small items go first, unless they never end.
    private static let aheadOfChunks = 512 * 1024

    /// Sends gossip, then what has gathered in blocks, with one chunk after each, while the socket takes it. Event loop only.
    func flush() {
        while true {
            let isWritable = channel.isWritable
            let (gossip, bytes, again): (ByteBuffer?, ByteBuffer?, Bool) = state.withLock { state in
                guard isWritable, !state.isClosed else {
                    // Goes on in `writabilityChanged`; until then the flush counts as scheduled, so that nobody wakes the loop in vain.
                    state.isFlushScheduled = true
                    if state.stalledSince == nil { state.stalledSince = ClusterClock.monotonicNanoseconds }
                    return (nil, nil, false)
                }
                state.stalledSince = nil
                if state.window.isOpen, state.frames.byteCount < Self.aheadOfChunks, var value = state.large.popFirst() {
                    if let chunk = value.rest.readSlice(length: min(value.rest.readableBytes, WireLimits.chunkBytes)) {
                        let isWhole = chunk.readableBytes == WireLimits.chunkBytes
                        state.window.sent(at: ClusterClock.monotonicNanoseconds, isWhole: isWhole)
                        state.largeBytes -= chunk.readableBytes
                        chunk.withUnsafeReadableBytes { state.frames.append(chunk: $0, id: value.id, isResponse: value.isResponse) }
                    }
                    if value.rest.readableBytes > 0 { state.large.append(value) }
                }
                // Read under the lock: a frame's clock is never behind a stamp in it.
                let gossip = takeUrgent(&state)
                let bytes = state.frames.isEmpty ? nil : state.frames.takeBlock(hlc: clock.reading())
                let again = !state.frames.isEmpty || (!state.large.isEmpty && state.window.isOpen)
                state.isFlushScheduled = again
                return (gossip, bytes, again)
            }
            if let gossip {
                if bytes == nil { channel.writeAndFlush(gossip, promise: nil) } else { channel.write(gossip, promise: nil) }
            }
            if let bytes { channel.writeAndFlush(bytes, promise: nil) }
            if !again { return }
        }
    }

    /// Gossip, and what lets chunks follow.
    private func takeUrgent(_ state: inout State) -> ByteBuffer? {
        if state.gossip.isEmpty, state.chunksTaken == 0 { return nil }
        var frames = OutboundFrames()
        if state.chunksTaken > 0 { frames.append(takenChunks: state.chunksTaken) }
        state.chunksTaken = 0
        state.gossip.move(to: &frames)
        return frames.take(hlc: clock.reading())
    }

    /// Event loop only.
    func writabilityChanged() {
        if channel.isWritable { flush() }
    }

    /// Ends the connection on purpose. No new call is sent here. With `.duplicate` it closes when both sides have the answers they wait for,
    /// after ten seconds at the latest; otherwise calls end at once, and the connection within ``ConnectionLimits/goodbyeMax``.
    package func close(_ goodbye: Goodbye) {
        guard goodbye == .duplicate else {
            let waiters: [PendingCall]? = state.withLock { state in
                if state.ending.isFinal { return nil }
                state.ending.isFinal = true
                state.ending.deadline = ClusterClock.monotonicNanoseconds &+ limits.goodbyeMax.nanosecondsSaturating
                state.ending.hasSaidGoodbye = true
                return state.table.takeAll()
            }
            guard let waiters else { return }
            for waiter in waiters { waiter.resume(returning: .failure(.closed)) }
            return channel.eventLoop.execute { self.channel.close(after: self.lastFrame(goodbye), within: self.limits.goodbyeMax) }
        }
        let deadline = ClusterClock.monotonicNanoseconds &+ 10_000_000_000
        state.withLock { $0.ending.deadline = $0.ending.deadline ?? deadline }
        channel.eventLoop.execute { self.advanceEnding() }
    }

    /// The other end said goodbye. Event loop only.
    func heardGoodbye(_ goodbye: Goodbye) {
        guard goodbye == .duplicate else { return }  // it closes by itself
        state.withLock { $0.ending.hasHeardGoodbye = true }
        close(.duplicate)
    }

    /// Event loop only.
    func advanceEnding() {
        let now = ClusterClock.monotonicNanoseconds
        let (says, closes): (Bool, Bool) = state.withLock { state in
            guard let deadline = state.ending.deadline, !state.isClosed else { return (false, false) }
            let isIdle = state.table.count == 0 && state.frames.isEmpty && state.large.isEmpty && state.gossip.isEmpty
            let says = isIdle && !state.ending.hasSaidGoodbye
            if says { state.ending.hasSaidGoodbye = true }
            return (says, now >= deadline || (state.ending.hasSaidGoodbye && state.ending.hasHeardGoodbye))
        }
        if says, let last = lastFrame(.duplicate) { channel.writeAndFlush(last, promise: nil) }
        if closes { channel.close(promise: nil) }
    }

    private func lastFrame(_ goodbye: Goodbye) -> ByteBuffer? {
        state.withLock { state in
            guard !state.isClosed else { return nil }
            state.frames.append(goodbye)
            var last = takeUrgent(&state) ?? ByteBuffer()
            last.writeImmutableBuffer(state.frames.take(hlc: clock.reading()))
            return last
        }
    }
}

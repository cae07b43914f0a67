internal import DequeModule
internal import NIOCore
internal import PeerCacheCore

/// What ends calls, and the connection itself, when the other side is silent, slow or gone.
extension PeerConnection {
    /// The caller of a large answer no longer waits.
    func drop(largeResponse id: UInt64) {
        state.withLock { state in
            guard let index = state.large.firstIndex(where: { $0.isResponse && $0.id == id }) else { return }
            state.largeBytes -= state.large[index].rest.readableBytes
            state.large.remove(at: index)
        }
    }

    /// The channel is closed: everybody who waits is told.
    func closed() {
        let waiters = state.withLock { state in
            state.isClosed = true
            state.large.removeAll()
            return state.table.takeAll()
        }
        for waiter in waiters { waiter.resume(returning: .failure(.closed)) }
    }

    /// Ends calls whose deadline has passed and a connection that makes no progress.
    func sweep(nowNanoseconds: Int64) {
        let (expired, isStalled, asks) = state.withLock { state in
            let silentSince = nowNanoseconds - limits.silentMax.nanosecondsSaturating
            let isSilent = state.heardNanoseconds < silentSince
            let expired = state.table.takeExpired(nowNanoseconds: nowNanoseconds, sentBefore: isSilent ? silentSince : .min)
            for (id, _) in expired { state.frames.append(cancel: id) }
            let waitingSince = state.stalledSince ?? (state.large.isEmpty ? nil : state.window.waitingSince)
            let isStalled = waitingSince.map { nowNanoseconds - $0 > limits.stalledMax.nanosecondsSaturating } ?? false
            return (expired, isStalled, askForLife(&state, nowNanoseconds))
        }
        for (_, waiter) in expired { waiter.resume(returning: .failure(.timedOut)) }
        if isStalled { giveUp() } else if !expired.isEmpty || asks { flush() }
        advanceEnding()
    }

    /// In a large cluster gossip rarely comes over this connection, so a peer that takes long to answer a call is asked something that takes
    /// no time. Nobody waits under the id; any frame shows that it lives.
    private func askForLife(_ state: inout State, _ nowNanoseconds: Int64) -> Bool {
        let before = nowNanoseconds - limits.silentMax.nanosecondsSaturating * 2 / 5
        guard state.table.count > 0, state.heardNanoseconds < before, state.askedNanoseconds < before else { return false }
        state.askedNanoseconds = nowNanoseconds
        state.transfers &+= 1
        var question = WireRequest(kind: .readClock, cache: UnsafeRawBufferPointer(start: nil, count: 0))
        question.id = 1 << 63 | state.transfers
        state.frames.append(question)
        return true
    }
}

internal import PeerCacheCore

/// Hands each event to every subscriber, without waiting for any.
final class EventBroadcast: Sendable {
    private static let buffered = 1024

    private struct Subscriber: Sendable {
        var continuation: AsyncStream<PeerEvent>.Continuation
        /// Events were lost: the next thing it gets is a snapshot.
        var hasLost = false
    }
    private struct State {
        var subscribers: [(number: UInt64, subscriber: Subscriber)] = []
        var lastNumber: UInt64 = 0
        var isFinished = false
    }
    private let state = Lock(State())

    func subscribe() -> AsyncStream<PeerEvent> {
        let (stream, continuation) = AsyncStream.makeStream(of: PeerEvent.self, bufferingPolicy: .bufferingOldest(Self.buffered))
        let number: UInt64? = state.withLock { state in
            if state.isFinished { return nil }
            state.lastNumber += 1
            state.subscribers.append((state.lastNumber, Subscriber(continuation: continuation)))
            return state.lastNumber
        }
        guard let number else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { $0.subscribers.removeAll { $0.number == number } }
        }
        return stream
    }

    /// - Parameter members: those present after the event.
    func send(_ event: PeerEvent, members: () -> [PeerEvent.Member]) {
        state.withLock { state in
            for index in state.subscribers.indices {
                let subscriber = state.subscribers[index].subscriber
                // The snapshot is newer than the event, which it stands for too.
                let next = subscriber.hasLost ? PeerEvent.snapshot(members()) : event
                if case .dropped = subscriber.continuation.yield(next) {
                    state.subscribers[index].subscriber.hasLost = true
                } else {
                    state.subscribers[index].subscriber.hasLost = false
                }
            }
        }
    }

    func finish() {
        let subscribers = state.withLock { state in
            state.isFinished = true
            defer { state.subscribers = [] }
            return state.subscribers
        }
        for (_, subscriber) in subscribers { subscriber.continuation.finish() }
    }
}

internal import PeerCacheCore

/// Hands each event to every subscriber, without waiting for any.
final class EventBroadcast: Sendable {
    /// Weak: a stream that nobody keeps takes its subscriber along.
    private struct Entry: Sendable { weak let subscriber: Subscriber? }
    private struct State {
        var entries: [Entry] = []
        var isFinished = false
    }
    private let state = Lock(State())

    func subscribe() -> AsyncStream<PeerEvent> {
        let subscriber = Subscriber()
        let isFinished = state.withLock { state in
            state.entries.removeAll { $0.subscriber?.isFinished ?? true }
            if !state.isFinished { state.entries.append(Entry(subscriber: subscriber)) }
            return state.isFinished
        }
        if isFinished { subscriber.finish() }
        return AsyncStream(unfolding: { await subscriber.next() }, onCancel: { subscriber.finish() })
    }

    private var subscribers: [Subscriber] {
        state.withLock { $0.entries }.compactMap(\.subscriber).filter { !$0.isFinished }
    }

    /// Those that still listen. For tests.
    var subscriberCount: Int { subscribers.count }

    /// One call at a time.
    /// - Parameter members: those present after the event; asked for with no lock held, when a subscriber is too slow.
    func send(_ event: PeerEvent, members: () -> [PeerEvent.Member]) {
        let slow = subscribers.filter { !$0.take(event) }
        if slow.isEmpty { return }
        let snapshot = PeerEvent.snapshot(members())
        for subscriber in slow { subscriber.startOver(with: [snapshot, event]) }
    }

    func finish() {
        let entries = state.withLock { state in
            state.isFinished = true
            defer { state.entries = [] }
            return state.entries
        }
        for entry in entries { entry.subscriber?.finish() }
    }
}

/// The events that one stream has not given out yet.
private final class Subscriber: Sendable {
    private static let buffered = 1024

    private struct State {
        /// Oldest first, from `first` on.
        var events: [PeerEvent] = []
        var first = 0
        /// Who reads and has to wait: usually one.
        var readers: [UnsafeContinuation<PeerEvent?, Never>] = []
        var isFinished = false
    }
    private let state = Lock(State())

    var isFinished: Bool { state.withLock { $0.isFinished } }

    /// False: there is no room.
    func take(_ event: PeerEvent) -> Bool {
        let (isTaken, reader): (Bool, UnsafeContinuation<PeerEvent?, Never>?) = state.withLock { state in
            if state.isFinished { return (true, nil) }
            if !state.readers.isEmpty { return (true, state.readers.removeFirst()) }
            guard state.events.count - state.first < Self.buffered else { return (false, nil) }
            state.events.append(event)
            return (true, nil)
        }
        reader?.resume(returning: event)
        return isTaken
    }

    /// Drops what waits. The reader may have caught up meanwhile and wait itself.
    func startOver(with events: [PeerEvent]) {
        let reader: UnsafeContinuation<PeerEvent?, Never>? = state.withLock { state in
            (state.events, state.first) = (events, state.readers.isEmpty ? 0 : 1)
            return state.readers.isEmpty ? nil : state.readers.removeFirst()
        }
        reader?.resume(returning: events.first)
    }

    /// Nil: there will be no more.
    func next() async -> PeerEvent? {
        await withUnsafeContinuation { continuation in
            let (event, isOver): (PeerEvent?, Bool) = state.withLock { state in
                if state.first < state.events.count {
                    let event = state.events[state.first]
                    state.first += 1
                    // Seldom enough to cost nothing, often enough to keep what was read no longer than the rest.
                    if state.first * 2 > state.events.count {
                        state.events.removeFirst(state.first)
                        state.first = 0
                    }
                    return (event, false)
                }
                if !state.isFinished { state.readers.append(continuation) }
                return (nil, state.isFinished)
            }
            if event != nil || isOver { continuation.resume(returning: event) }
        }
    }

    /// What waits is still given out.
    func finish() {
        let readers = state.withLock { state in
            state.isFinished = true
            defer { state.readers = [] }
            return state.readers
        }
        for reader in readers { reader.resume(returning: nil) }
    }
}

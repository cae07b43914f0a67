internal import DequeModule
package import NIOCore
package import PeerCacheCore
internal import Synchronization

/// Why a call to a peer did not bring an answer.
package enum PeerCallError: Error, Hashable, Sendable {
    /// No answer before the deadline. The request may have been carried out.
    case timedOut
    /// The connection ended. The request may have been carried out.
    case closed
    /// A queue of this connection is full; nothing was sent.
    case overloaded
    /// The calling task was cancelled.
    case cancelled
    /// There is no connection to the peer; nothing was sent.
    case unreachable
}

/// An answer, in memory of its own.
package struct PeerResponse: Sendable {
    package var status: ResponseStatus
    package var value = ByteBuffer()
    package var ttlMilliseconds: UInt64?
    package var stamp = Stamp.zero
    package var placement: UInt64 = 0
    /// Number of the last invalidation before this answer; 0: no near copy may be kept.
    package var near: UInt64 = 0
    /// All writes of the answering peer up to this clock have a copy.
    package var copiedThrough: UInt64 = 0
    /// Of what is held, in caches that have versions of their source.
    package var sourceVersion: UInt64 = 0
    /// What few answers have, out of the way of those that are copied most.
    private var rare: Rare?

    /// For people; usually empty.
    package var message: String { rare?.message ?? "" }

    private final class Rare: Sendable {
        let message: String

        init(message: String) { self.message = message }
    }

    package init(status: ResponseStatus) { self.status = status }

    /// Copies what the wire's pointers lead to.
    init(_ wire: WireResponse) {
        status = wire.status
        if wire.value.count > 0 { value = ByteBuffer(bytes: wire.value) }
        ttlMilliseconds = wire.ttlMilliseconds
        stamp = wire.stamp
        placement = wire.placement
        near = wire.near
        copiedThrough = wire.copiedThrough
        sourceVersion = wire.sourceVersion
        if wire.message.count > 0 { rare = Rare(message: String(decoding: wire.message, as: UTF8.self)) }
    }

    /// The head of an answer whose value follows in chunks.
    func withoutContent() -> PeerResponse {
        var head = self
        (head.value, head.rare) = (ByteBuffer(), nil)
        return head
    }
}

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

/// Who waits for an answer.
enum PendingCall: Sendable {
    case task(UnsafeContinuation<Result<PeerResponse, PeerCallError>, Never>)
    case callback(@Sendable (Result<PeerResponse, PeerCallError>) -> Void)

    func resume(returning answer: Result<PeerResponse, PeerCallError>) {
        switch self {
        case .task(let continuation): continuation.resume(returning: answer)
        case .callback(let completion): completion(answer)
        }
    }
}

/// One authenticated connection to a peer, used by both sides for calls, copies and gossip.
///
/// Any thread may call: items are encoded under one lock into the frame at hand, and one flush per event-loop tick sends what has gathered.
/// Values above 256 KiB follow their header in chunks, one chunk per flush and no more on their way than ``ChunkWindow`` says, so that small
/// items pass between them.
package final class PeerConnection: Sendable {
    package typealias Answer = Result<PeerResponse, PeerCallError>

    /// A value that is being sent in chunks.
    struct LargeValue {
        let id: UInt64
        let isResponse: Bool
        var rest: ByteBuffer
    }

    struct State {
        var gossip = GossipLane()
        var frames = OutboundFrames()
        var table: RequestTable<PendingCall>
        var large = Deque<LargeValue>()
        var largeBytes = 0
        var window = ChunkWindow()
        /// Chunks of the peer that were taken in, of which it has not been told.
        var chunksTaken = 0
        var isFlushScheduled = false
        var isClosed = false
        var stalledSince: Int64?
        var hasGivenUp = false
        var heardNanoseconds: Int64
        /// When the peer was last asked for a sign of life.
        var askedNanoseconds: Int64 = .min
        /// Gossip that was received and not yet handled, and the most there ever was.
        var gossipQueued = 0
        var gossipQueuedMost = 0
        /// Ids of chunked values that nobody waits for.
        var transfers: UInt64 = 0
        var ending = Ending()
    }

    /// How far a superfluous connection has come on its way out: no new calls, then a goodbye from either side, then the close.
    struct Ending {
        var deadline: Int64?
        var hasSaidGoodbye = false
        var hasHeardGoodbye = false
        /// The goodbye was another one than `duplicate`: it closes without waiting for answers.
        var isFinal = false
    }

    package let id: ConnectionID
    /// The authenticated other end.
    package let peer: PeerID
    package let record: MemberRecord
    package let role: PeerRole
    let channel: any Channel
    package let limits: ConnectionLimits
    let clock: ClusterClock
    let state: Lock<State>

    init(
        id: ConnectionID, record: MemberRecord, role: PeerRole = .peer, channel: any Channel, clock: ClusterClock, limits: ConnectionLimits
    ) {
        self.id = id
        self.peer = record.id
        self.record = record
        self.role = role
        self.channel = channel
        self.clock = clock
        self.limits = limits
        state = Lock(
            State(table: RequestTable(countMax: limits.requestsMax), heardNanoseconds: ClusterClock.monotonicNanoseconds))
    }

    // MARK: Calls

    /// Sends a request and waits for its answer.
    ///
    /// - Parameters:
    ///   - nowNanoseconds: monotonic.
    ///   - deadlineNanoseconds: monotonic; checked every 100 ms.
    ///   - large: the value when it is above ``WireLimits/chunkBytes``; the request's `chunkedBytes` names its size.
    ///   - mustSend: a copy of a write: it is sent although the calling task has been cancelled; only the waiting ends.
    ///   - encode: appends exactly one request with the given id. Runs before this function suspends.
    package func call(
        nowNanoseconds: Int64 = ClusterClock.monotonicNanoseconds, deadlineNanoseconds: Int64, large: ByteBuffer? = nil,
        mustSend: Bool = false, _ encode: (UInt64, inout OutboundFrames) -> Void
    ) async -> Result<PeerResponse, PeerCallError> {
        if Task.isCancelled, !mustSend { return .failure(.cancelled) }
        // 0 until the call is registered; written and read under the lock.
        let registered = Atomic<UInt64>(0)
        return await withTaskCancellationHandler {
            await withUnsafeContinuation { (continuation: UnsafeContinuation<Answer, Never>) in
                let (refusal, schedules): (PeerCallError?, Bool) = state.withLock { state in
                    guard !state.isClosed, state.ending.deadline == nil else { return (.unreachable, false) }
                    guard hasRoom(state, for: large),
                        let id = state.table.insert(
                            .task(continuation), nowNanoseconds: nowNanoseconds, deadlineNanoseconds: deadlineNanoseconds)
                    else { return (.overloaded, false) }
                    registered.store(id, ordering: .relaxed)
                    encode(id, &state.frames)
                    if let large { enqueue(large, id: id, isResponse: false, &state) }
                    return (nil, beginFlush(&state))
                }
                if schedules { scheduleFlush() }
                if let refusal { continuation.resume(returning: .failure(refusal)) } else if Task.isCancelled { giveUp(registered) }
            }
        } onCancel: {
            giveUp(registered)
        }
    }

    /// As ``call(nowNanoseconds:deadlineNanoseconds:large:mustSend:_:)`` without a task: `completion` gets the answer once, on the connection's
    /// event loop, or on the calling thread when nothing was sent.
    package func call(
        nowNanoseconds: Int64, deadlineNanoseconds: Int64, large: ByteBuffer? = nil, completion: @escaping @Sendable (Answer) -> Void,
        _ encode: (UInt64, inout OutboundFrames) -> Void
    ) {
        let (refusal, schedules): (PeerCallError?, Bool) = state.withLock { state in
            guard !state.isClosed, state.ending.deadline == nil else { return (.unreachable, false) }
            guard hasRoom(state, for: large),
                let id = state.table.insert(
                    .callback(completion), nowNanoseconds: nowNanoseconds, deadlineNanoseconds: deadlineNanoseconds)
            else { return (.overloaded, false) }
            encode(id, &state.frames)
            if let large { enqueue(large, id: id, isResponse: false, &state) }
            return (nil, beginFlush(&state))
        }
        if schedules { scheduleFlush() }
        if let refusal { completion(.failure(refusal)) }
    }

    /// Sends something that has no answer; a request is encoded with the given id. False: the queue is full or the connection closed, and
    /// nothing was sent.
    @discardableResult
    package func post(large: ByteBuffer? = nil, _ encode: (UInt64, inout OutboundFrames) -> Void) -> Bool {
        let (sent, schedules): (Bool, Bool) = state.withLock { state in
            guard !state.isClosed, hasRoom(state, for: large) else { return (false, false) }
            // Chunks need an id of their own; nobody waits under it.
            var id: UInt64 = 0
            if let large {
                state.transfers &+= 1
                id = 1 << 63 | state.transfers
                enqueue(large, id: id, isResponse: false, &state)
            }
            encode(id, &state.frames)
            return (true, beginFlush(&state))
        }
        if schedules { scheduleFlush() }
        return sent
    }

    /// Sends gossip, ahead of calls and values.
    /// - Returns: how many older messages were dropped for it.
    @discardableResult
    package func post(_ gossip: GossipMessage) -> Int {
        let (dropped, schedules): (Int, Bool) = state.withLock { state in
            guard !state.isClosed, hasRoom(state) || state.stalledSince != nil else { return (1, false) }
            return (state.gossip.append(gossip, isStalled: state.stalledSince != nil), beginFlush(&state))
        }
        if schedules { scheduleFlush() }
        return dropped
    }

    /// Answers a request of the peer. A connection whose peer does not read its answers is closed.
    package func respond(_ response: WireResponse, large: ByteBuffer? = nil) {
        let (overflows, schedules): (Bool, Bool) = state.withLock { state in
            guard !state.isClosed else { return (false, false) }
            guard hasRoom(state) else { return (true, false) }
            if hasRoom(state, for: large) {
                state.frames.append(response)
                if let large { enqueue(large, id: response.id, isResponse: true, &state) }
            } else {
                // Many large answers at once are no offence: the caller is told to come again.
                state.frames.append(WireResponse(id: response.id, status: .overloaded))
            }
            return (false, beginFlush(&state))
        }
        // Not at once: the caller may hold a lock of the store, and closing calls everybody who waits.
        if overflows { channel.eventLoop.execute { self.giveUp() } }
        if schedules { scheduleFlush() }
    }

    /// This side ends a connection whose other side takes nothing: no evidence that anything is wrong there.
    func giveUp() {
        state.withLock { $0.hasGivenUp = true }
        channel.close(promise: nil)
    }

    var hasGivenUp: Bool { state.withLock { $0.hasGivenUp } }

    // MARK: Answers and ends, called by the channel handler

    /// Bytes came from the peer. What is sent while they are handled goes out with ``flush()`` when they have been, which is the caller's
    /// duty: one write for all answers, and no further turn of the event loop. Event loop only.
    func heard() {
        let now = ClusterClock.monotonicNanoseconds
        state.withLock { state in
            state.heardNanoseconds = now
            state.isFlushScheduled = true
        }
    }

    /// Lets the peer send more of them, with the ``flush()`` that ends what is being handled. Event loop only.
    func tookChunk() { state.withLock { $0.chunksTaken &+= 1 } }

    /// The peer has taken in chunks: others may follow, with the ``flush()`` that ends what is being handled. Event loop only.
    func chunksTaken(_ count: Int) {
        let now = ClusterClock.monotonicNanoseconds
        state.withLock { $0.window.taken(count, at: now) }
    }

    /// Whether somebody waits for the answer to this request.
    func awaits(_ id: UInt64) -> Bool { state.withLock { $0.table.isWaiting(id) } }

    func complete(_ id: UInt64, _ answer: Answer) {
        let waiter = state.withLock { $0.table.take(id) }
        waiter?.resume(returning: answer)
    }

    /// Gossip of one peer that waits for the membership's loop. More is dropped: it may be lost, and a list repairs itself.
    package static let gossipQueuedMax = 64

    /// False: too much waits already; drop the message. Otherwise call ``gossipHandled()`` when it has been handled.
    func mayQueueGossip() -> Bool {
        state.withLock { state in
            guard state.gossipQueued < Self.gossipQueuedMax else { return false }
            state.gossipQueued += 1
            state.gossipQueuedMost = max(state.gossipQueuedMost, state.gossipQueued)
            return true
        }
    }

    func gossipHandled() { state.withLock { $0.gossipQueued -= 1 } }

    /// The socket takes nothing more for now. For tests.
    package var isStalled: Bool { state.withLock { $0.stalledSince != nil } }

    /// For tests.
    package var gossipQueued: Int { state.withLock { $0.gossipQueued } }
    package var gossipQueuedMost: Int { state.withLock { $0.gossipQueuedMost } }

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

    /// The caller was cancelled. If it does not wait yet, it will see that itself.
    private func giveUp(_ registered: borrowing Atomic<UInt64>) {
        let (waiter, schedules) = state.withLock { state in
            let id = registered.load(ordering: .relaxed)
            guard let waiter = state.table.take(id) else { return (PendingCall?.none, false) }
            state.frames.append(cancel: id)
            return (waiter, beginFlush(&state))
        }
        if schedules { scheduleFlush() }
        waiter?.resume(returning: .failure(.cancelled))
    }

    /// Large values have a bound of their own, as small items and gossip do not wait behind them.
    private func hasRoom(_ state: borrowing State, for large: ByteBuffer? = nil) -> Bool {
        state.frames.byteCount + state.gossip.byteCount < limits.outboundBytesMax
            && (large == nil || state.largeBytes < limits.outboundBytesMax)
    }
}

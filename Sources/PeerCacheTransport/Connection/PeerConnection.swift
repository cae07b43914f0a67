internal import DequeModule
package import NIOCore
package import PeerCacheCore
internal import Synchronization

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
                let (refusal, schedules) = register(.task(continuation), nowNanoseconds, deadlineNanoseconds, large) { id, frames in
                    registered.store(id, ordering: .relaxed)
                    encode(id, &frames)
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
        let (refusal, schedules) = register(.callback(completion), nowNanoseconds, deadlineNanoseconds, large, encode)
        if schedules { scheduleFlush() }
        if let refusal { completion(.failure(refusal)) }
    }

    /// Enters a call and what it sends.
    private func register(
        _ call: PendingCall, _ nowNanoseconds: Int64, _ deadlineNanoseconds: Int64, _ large: ByteBuffer?,
        _ encode: (UInt64, inout OutboundFrames) -> Void
    ) -> (refusal: PeerCallError?, schedulesFlush: Bool) {
        state.withLock { state in
            guard !state.isClosed, state.ending.deadline == nil else { return (.unreachable, false) }
            guard hasRoom(state, for: large),
                let id = state.table.insert(call, nowNanoseconds: nowNanoseconds, deadlineNanoseconds: deadlineNanoseconds)
            else { return (.overloaded, false) }
            encode(id, &state.frames)
            if let large { enqueue(large, id: id, isResponse: false, &state) }
            return (nil, beginFlush(&state))
        }
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

    /// The socket takes nothing more for now.
    package var isStalled: Bool { state.withLock { $0.stalledSince != nil } }

    /// For tests.
    package var gossipQueued: Int { state.withLock { $0.gossipQueued } }
    package var gossipQueuedMost: Int { state.withLock { $0.gossipQueuedMost } }

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

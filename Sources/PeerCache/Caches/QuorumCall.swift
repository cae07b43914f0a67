internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// One attempt of a strict read or write under one placement: asks the voters, this peer among them, and does what the pure ``QuorumRead`` or
/// ``QuorumWrite`` says. Runs on whatever thread an answer comes on; nobody waits but the caller.
final class QuorumCall: Sendable {
    enum Outcome: Sendable {
        case hit(Found)
        /// No value; the highest stamp that voters told.
        case miss(guard: Stamp)
        case stored(Stamp)
        /// Too many voters cannot keep what was written, and will not under this placement.
        case forgotten(Stamp)
        /// Too few voters, or the placement has changed; the stamp, if one was minted.
        case noQuorum(Stamp?)
        case cancelled(Stamp?)
    }

    enum Work: Sendable {
        case read(QuorumRead)
        case write(QuorumWrite, Content)
    }

    private struct State {
        var work: Work
        /// Values by voter.
        var values: [Int: Found] = [:]
        var waiter: CheckedContinuation<Outcome, Never>?
        var outcome: Outcome?
    }

    private let cache: CacheCore
    private let key: [UInt8]
    private let hash: UInt64
    private let placement: UInt64
    /// This peer first, when it is one of them.
    private let voters: [PeerID]
    private let deadline: Int64
    private let state: Lock<State>
    /// For what a reader waits for before it asks others.
    private static let readPatience: Int64 = 500_000_000

    /// - Parameter deadline: monotonic nanoseconds.
    init(_ cache: CacheCore, _ key: [UInt8], _ hash: UInt64, _ work: Work, placement: UInt64, voters: [PeerID], deadline: Int64) {
        (self.cache, self.key, self.hash) = (cache, key, hash)
        (self.placement, self.voters, self.deadline) = (placement, voters, deadline)
        state = Lock(State(work: work))
    }

    func run() async -> Outcome {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let outcome = state.withLock { state in
                    if state.outcome == nil { state.waiter = continuation }
                    return state.outcome
                }
                if let outcome { return continuation.resume(returning: outcome) }
                advance()
            }
        } onCancel: {
            finish(.cancelled(stamp))
        }
    }

    private var stamp: Stamp? {
        state.withLock { state in
            if case .write(let write, _) = state.work { return write.stamp }
            return nil
        }
    }

    private func finish(_ outcome: Outcome) {
        let waiter = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
            guard state.outcome == nil else { return nil }
            state.outcome = outcome
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: outcome)
    }

    // MARK: Steps

    /// What to do, decided under the lock and done without it.
    private enum Action {
        case ask([Int], withValue: Bool)
        case store(Stamp, Content, to: [Int])
        case again
        case finish(Outcome)
        case wait
    }

    private func advance() {
        while true {
            let action: Action = state.withLock { state in
                if state.outcome != nil { return .wait }
                switch state.work {
                case .read(var read):
                    let step = read.next()
                    state.work = .read(read)
                    return self.action(step, version: read.version, state.values)
                case .write(var write, let content):
                    let action = self.action(&write, content)
                    state.work = .write(write, content)
                    return action
                }
            }
            switch action {
            case .wait: return
            case .finish(let outcome): return finish(outcome)
            case .again: break
            case .ask(let voters, let withValue): for voter in voters { ask(voter, withValue: withValue || voter == 0) }
            case .store(let stamp, let content, let voters): for voter in voters { store(content, stamp, at: voter) }
            }
        }
    }

    private func action(_ step: QuorumRead.Step, version: UInt64, _ values: [Int: Found]) -> Action {
        switch step {
        case .ask(let voters): return .ask(voters, withValue: false)
        case .askForValue(let voter): return .ask([voter], withValue: true)
        case .write(let stamp, let voters):
            // A removal or an expired entry has no value, and is told as a removal.
            let found = values.values.first { $0.stamp == stamp }
            cache.peer.counters.add(.writeBacks, UInt64(voters.count))
            let removal = Content.tombstone(version: cache.types.isVersioned ? version : nil)
            return .store(stamp, found.map { .value($0.bytes, ttl: cache.ttl(of: $0), isFill: false) } ?? removal, to: voters)
        case .wait: return .wait
        case .hit(_, let voter): return .finish(values[voter].map { .hit($0) } ?? .noQuorum(nil))
        case .miss(let stamp): return .finish(.miss(guard: stamp))
        case .noQuorum: return .finish(.noQuorum(nil))
        }
    }

    private func action(_ write: inout QuorumWrite, _ content: Content) -> Action {
        switch write.next() {
        case .ask(let voters): return .ask(voters, withValue: false)
        case .mint(let stamp):
            write.minted(cache.peer.mint(above: stamp))
            return .again
        case .write(let stamp): return .store(stamp, content, to: Array(voters.indices))
        case .wait: return .wait
        case .done(let stamp): return .finish(.stored(stamp))
        case .noQuorum: return .finish(.noQuorum(write.stamp))
        case .forgotten(let stamp): return .finish(.forgotten(stamp))
        }
    }

    // MARK: Questions

    private func ask(_ voter: Int, withValue: Bool) {
        let isRead = state.withLock { if case .read = $0.work { true } else { false } }
        let wantsValue = withValue && isRead
        if voters[voter] == cache.peer.me { return told(voter, cache.vote(key, hash, placement: placement, withValue: wantsValue)) }
        call(voter, nil, deadline: min(deadline, ClusterClock.monotonicNanoseconds &+ Self.readPatience)) {
            [self] id, milliseconds, frames in
            cache.withRequest(.read, key) { request in
                request.id = id
                request.deadlineMilliseconds = milliseconds
                if wantsValue { request.flags = .value }
                frames.append(complete(request))
            }
        } completion: { [self] response in
            told(voter, response.flatMap { Known($0, cache) })
        }
    }

    private func store(_ content: Content, _ stamp: Stamp, at voter: Int) {
        if voters[voter] == cache.peer.me {
            return stored(voter, stamp, cache.vote(content, key, hash, stamp, placement: placement))
        }
        cache.peer.counters.add(.copiesSent)
        call(voter, content.large, deadline: deadline) { [self] id, milliseconds, frames in
            cache.encode(.store, key, content, id: id, stamp: stamp, milliseconds: milliseconds) { frames.append(complete($0)) }
        } completion: { [self] response in
            stored(voter, stamp, response?.status)
        }
    }

    private func complete(_ request: WireRequest) -> WireRequest {
        var request = request
        request.placement = placement
        request.scheme = cache.scheme?.code ?? 0
        return request
    }

    /// `completion` gets nil when no usable answer came.
    private func call(
        _ voter: Int, _ large: ByteBuffer?, deadline: Int64, _ encode: (UInt64, UInt32, inout OutboundFrames) -> Void,
        completion: @escaping @Sendable (PeerResponse?) -> Void
    ) {
        let peer = cache.peer, other = voters[voter]
        peer.counters.add(.peerRequests)
        guard let connection = peer.directory.connection(to: other) else { return completion(nil) }
        let now = ClusterClock.monotonicNanoseconds
        let milliseconds = UInt32(clamping: max(1, (deadline - now) / 1_000_000))
        connection.call(nowNanoseconds: now, deadlineNanoseconds: deadline, large: large) { answer in
            guard case .success(let response) = answer else {
                peer.counters.add(.peerErrors)
                return completion(nil)
            }
            switch response.status {
            case .notOwner:
                peer.synchronize(with: other)
                completion(nil)
            case .abstained, .incompatible, .overloaded, .shuttingDown, .unsupported, .clockSkew: completion(nil)
            default: completion(peer.clock.accepts(response.stamp) ? response : nil)
            }
        } _: { id, frames in
            encode(id, milliseconds, &frames)
        }
    }

    // MARK: Answers

    /// Answers count only as long as this peer has the placement that they were asked under.
    private var isCurrent: Bool { cache.peer.table.routing.digest == placement }

    private func told(_ voter: Int, _ known: Known?) {
        guard isCurrent else { return finish(.noQuorum(stamp)) }
        state.withLock { state in
            switch state.work {
            case .read(var read):
                if let known { read.answered(voter, known.answer) } else { read.failed(voter) }
                if let found = known?.found { state.values[voter] = found }
                state.work = .read(read)
            case .write(var write, let content):
                if let known { write.answered(voter, guard: known.answer.guardStamp) } else { write.failed(voter) }
                state.work = .write(write, content)
            }
        }
        advance()
    }

    private func stored(_ voter: Int, _ stamp: Stamp, _ status: ResponseStatus?) {
        guard isCurrent else { return finish(.noQuorum(self.stamp)) }
        state.withLock { state in
            switch state.work {
            case .read(var read):
                switch status {
                case .ok, .superseded: read.acked(voter, stamp)
                case .forgotten where !cache.types.isVersioned: read.acked(voter, stamp)
                default: read.failed(voter)
                }
                state.work = .read(read)
            case .write(var write, let content):
                // A value that could not be kept is no copy; a removal holds in any case.
                let isTombstone = if case .tombstone = content { true } else { false }
                switch status {
                case .ok, .superseded: write.acked(voter)
                case .forgotten: if isTombstone { write.acked(voter) } else { write.forgot(voter) }
                default: write.refused(voter)
                }
                state.work = .write(write, content)
            }
        }
        advance()
    }
}

/// What a voter knows of a key, with the value if it was asked for and held.
struct Known: Sendable {
    var answer: QuorumRead.Answer
    var found: Found?

    init(_ answer: QuorumRead.Answer, found: Found?) { (self.answer, self.found) = (answer, found) }

    /// Nil: not an answer of a voter.
    init?(_ response: PeerResponse, _ cache: CacheCore) {
        switch response.status {
        case .ok:
            let found = Found(response, source: .peer)
            answer = .init(guardStamp: response.stamp, isHeld: true, hasValue: true, version: cache.version(of: found))
            self.found = found
        case .held: answer = .init(guardStamp: response.stamp, isHeld: true, version: response.sourceVersion)
        case .removed:
            answer = .init(guardStamp: response.stamp, isHeld: true, isTombstone: true, version: response.sourceVersion)
        case .absent: answer = .init(guardStamp: response.stamp, isHeld: false)
        default: return nil
        }
    }
}

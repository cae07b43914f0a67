internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// What a loader call brought.
enum LoadOutcome: Sendable {
    case value(LoadedValue)
    /// The loader says that the key does not exist.
    case absent
}

/// A loaded value in both forms, so that callers in this process need no decoding.
struct LoadedValue: Sendable {
    var bytes: ByteBuffer
    /// The boxed value, when it was loaded just now.
    var object: (any AnyObject & Sendable)?
    var stamp: Stamp
    /// Left of its time to live; nil: it does not expire.
    var ttlMilliseconds: UInt64?
    /// Whether the store kept it: only then may copies and near copies exist.
    var isStored: Bool
}

extension LoadedValue {
    /// What is held.
    init(_ found: Found) {
        self.init(bytes: found.bytes, object: nil, stamp: found.stamp, ttlMilliseconds: found.ttlMilliseconds, isStored: true)
    }
}

/// Runs what the pure ``LoadCoalescer`` says: loader tasks, waiters, deadlines.
final class LoadDriver: Sendable {
    typealias Waiter = @Sendable (Result<LoadOutcome, any Error>) -> Void
    /// Runs the loader of a key and stores what it brings.
    typealias Loader = @Sendable (_ lease: Stamp) async -> Result<LoadOutcome, any Error>

    private struct State {
        var coalescer: LoadCoalescer
        var waiters: [WaiterID: Waiter] = [:]
        var tasks: [Stamp: UInt64] = [:]
        var next: WaiterID = 0
        var isStopped = false
    }
    private let state: Lock<State>
    private let tasks: TaskOwner
    private let clock: ClusterClock
    private let counters: StripedCounters<CacheCounter>

    init(timeout: Duration, loadsMax: Int, tasks: TaskOwner, clock: ClusterClock, counters: StripedCounters<CacheCounter>) {
        self.counters = counters
        state = Lock(State(coalescer: LoadCoalescer(timeout: timeout, loadsMax: loadsMax)))
        self.tasks = tasks
        self.clock = clock
    }

    /// Joins the running load of a key or starts one. `waiter` is called once, on any thread, possibly before this returns.
    /// - Returns: to give up with, and whether the caller shares another's load.
    @discardableResult
    func join(
        _ key: LoadKey, lease: Stamp, guard guardStamp: Stamp, loader: @escaping Loader, waiter: @escaping Waiter
    ) -> (id: WaiterID, isShared: Bool) {
        let now = clock.now()
        var effects: [LoadCoalescer.Effect] = []
        let id: WaiterID? = state.withLock { state in
            if state.isStopped { return nil }
            state.next += 1
            state.waiters[state.next] = waiter
            state.coalescer.handle(.miss(key, waiter: state.next, lease: lease, guard: guardStamp), now: now, into: &effects)
            return state.next
        }
        guard let id else {
            waiter(.failure(Self.stopped))
            return (0, false)
        }
        let isShared = effects.isEmpty
        perform(effects, loader: loader)
        return (id, isShared)
    }

    /// As ``join(_:lease:guard:loader:waiter:)``, suspending. Cancelling the task leaves the load to the others.
    func load(
        _ key: LoadKey, lease: Stamp, guard guardStamp: Stamp, loader: @escaping Loader, shared: () -> Void
    ) async throws -> LoadOutcome {
        let ticket = Lock<(id: WaiterID?, isCancelled: Bool)>((nil, false))
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<LoadOutcome, any Error>) in
                let (id, isShared) = join(key, lease: lease, guard: guardStamp, loader: loader) { continuation.resume(with: $0) }
                if isShared { shared() }
                let isCancelled = ticket.withLock { ticket in
                    ticket.id = id
                    return ticket.isCancelled
                }
                if isCancelled { abandon(id) }
            }
        } onCancel: {
            let id = ticket.withLock { ticket in
                ticket.isCancelled = true
                return ticket.id
            }
            if let id { abandon(id) }
        }
    }

    /// The waiter gives up; it gets a `CancellationError` unless it has been answered.
    func abandon(_ id: WaiterID) {
        var effects: [LoadCoalescer.Effect] = []
        let waiter = state.withLock { state in
            state.coalescer.handle(.abandoned(waiter: id), now: clock.now(), into: &effects)
            return state.waiters.removeValue(forKey: id)
        }
        waiter?(.failure(CancellationError()))
        perform(effects, loader: nil)
    }

    /// Fails loads that take too long. Called every 100 ms.
    func tick() {
        var effects: [LoadCoalescer.Effect] = []
        let now = clock.now()
        state.withLock { $0.coalescer.handle(.tick, now: now, into: &effects) }
        perform(effects, loader: nil)
    }

    /// Fails everybody who waits, and whoever comes later: from now on nobody calls ``tick()``.
    func stop() {
        let waiters = state.withLock { state in
            state.isStopped = true
            defer { state.waiters = [:] }
            return state.waiters.sorted { $0.key < $1.key }.map(\.value)
        }
        for waiter in waiters { waiter(.failure(Self.stopped)) }
    }

    var count: Int { state.withLock { $0.coalescer.count } }

    private static var overloaded: PeerCacheError {
        PeerCacheError(.overloaded, "too many loaders run (limits.loadsMax), or too many callers wait for one")
    }
    private static var stopped: PeerCacheError { PeerCacheError(.shuttingDown, "the peer has stopped") }

    private func finished(_ lease: Stamp, _ result: Result<LoadOutcome, any Error>) {
        var effects: [LoadCoalescer.Effect] = []
        state.withLock { state in
            state.tasks[lease] = nil
            state.coalescer.handle(.finished(lease: lease), now: clock.now(), into: &effects)
        }
        for case .resume(let waiters, _) in effects { resume(waiters, result) }
    }

    private func perform(_ effects: [LoadCoalescer.Effect], loader: Loader?) {
        for effect in effects {
            switch effect {
            case .startLoader(_, let lease):
                guard let loader else { continue }
                start(lease, loader)
            case .resume: break  // only in answer to `.finished`, above
            case .timeOut(let waiters, let lease):
                cancel(lease)
                resume(waiters, .failure(PeerCacheError(.loadTimedOut, "the loader did not end within the cache's loadTimeout")))
            case .cancelLoader(let lease): cancel(lease)
            case .refuse(let waiter):
                counters.add(.loadsRefused)
                resume([waiter], .failure(Self.overloaded))
            }
        }
    }

    private func start(_ lease: Stamp, _ loader: @escaping Loader) {
        // Under the lock, so that the task cannot end before it is in the table: ending takes the lock.
        let isStarted = state.withLock { state in
            state.tasks[lease] = tasks.start {
                var result = await loader(lease)
                if case .failure(is CancellationError) = result, self.tasks.isStopped { result = .failure(Self.stopped) }
                self.finished(lease, result)
            }
            return state.tasks[lease] != nil
        }
        if isStarted { return }
        if !tasks.isStopped { counters.add(.loadsRefused) }
        finished(lease, .failure(tasks.isStopped ? Self.stopped : Self.overloaded))
    }

    private func cancel(_ lease: Stamp) {
        if let task = state.withLock({ $0.tasks.removeValue(forKey: lease) }) { tasks.cancel(task) }
    }

    private func resume(_ waiters: [WaiterID], _ result: Result<LoadOutcome, any Error>) {
        let callbacks = state.withLock { state in waiters.compactMap { state.waiters.removeValue(forKey: $0) } }
        for callback in callbacks { callback(result) }
    }
}

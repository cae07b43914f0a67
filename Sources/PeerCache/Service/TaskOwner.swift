internal import PeerCacheCore

/// Owns the tasks that are started from event loops, where there is no task group: it cancels them all when the peer stops, and starts none
/// after that.
final class TaskOwner: Sendable {
    private struct State {
        var tasks: [UInt64: Task<Void, Never>] = [:]
        var next: UInt64 = 0
        var isStopped = false
    }
    private let state = Lock(State())

    private let countMax: Int

    /// - Parameter countMax: tasks at a time, those included that were cancelled and have not ended.
    init(countMax: Int) { self.countMax = countMax }

    /// Starts a task; nil when the peer has stopped or too many run. Cancel it with ``cancel(_:)``.
    @discardableResult
    func start(_ body: @escaping @Sendable () async -> Void) -> UInt64? {
        state.withLock { state in
            guard !state.isStopped, state.tasks.count < countMax else { return nil }
            state.next += 1
            let id = state.next
            // The task cannot end before it is in the table: ending takes the lock.
            state.tasks[id] = Task {
                await body()
                self.state.withLock { $0.tasks[id] = nil }
            }
            return id
        }
    }

    func cancel(_ id: UInt64) { state.withLock { $0.tasks[id] }?.cancel() }

    var isStopped: Bool { state.withLock { $0.isStopped } }

    /// Tasks that run.
    var count: Int { state.withLock { $0.tasks.count } }

    /// Cancels all and waits for none.
    func stop() {
        let tasks = state.withLock { state in
            state.isStopped = true
            return Array(state.tasks.values)
        }
        for task in tasks { task.cancel() }
    }
}

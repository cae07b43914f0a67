package import PeerCacheCore
internal import Synchronization

/// The established connections by peer, and who waits for one.
package final class ConnectionDirectory: Sendable {
    private struct State {
        var byID: [ConnectionID: PeerConnection] = [:]
        /// The one to use first. Usually one; two for a moment when both sides dialled.
        var byPeer: [PeerID: [PeerConnection]] = [:]
        /// The first of each peer, kept ready for broadcasts.
        var all: [PeerConnection] = []
        var waiters: [PeerID: [(id: UInt64, continuation: CheckedContinuation<PeerConnection?, Never>)]] = [:]
        var nextWaiter: UInt64 = 0
        var isStopped = false
    }
    private let state = Mutex(State())

    package init() {}

    /// The connection to use for a call to this peer. O(1), one lock.
    package func connection(to peer: PeerID) -> PeerConnection? { state.withLock { $0.byPeer[peer]?.first } }

    func connection(_ id: ConnectionID) -> PeerConnection? { state.withLock { $0.byID[id] } }

    /// One connection to each connected peer, in order of peer ids. O(1).
    package func all() -> [PeerConnection] { state.withLock { $0.all } }

    /// The connection to a peer that is about to be dialled, or nil when none comes within `timeout`.
    package func connection(to peer: PeerID, waiting timeout: Duration) async -> PeerConnection? {
        if let connection = connection(to: peer) { return connection }
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return await withTaskGroup(of: PeerConnection?.self) { group in
            group.addTask { await self.wait(for: peer, id) }
            group.addTask {
                try? await Task.sleep(for: timeout)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
    }

    private func wait(for peer: PeerID, _ id: UInt64) async -> PeerConnection? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (known, isOver) = state.withLock { state -> (PeerConnection?, Bool) in
                    if let known = state.byPeer[peer]?.first { return (known, true) }
                    if state.isStopped || Task.isCancelled { return (nil, true) }
                    state.waiters[peer, default: []].append((id, continuation))
                    return (nil, false)
                }
                if isOver { continuation.resume(returning: known) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<PeerConnection?, Never>? in
                guard let index = state.waiters[peer]?.firstIndex(where: { $0.id == id }) else { return nil }
                let waiter = state.waiters[peer]?.remove(at: index).continuation
                if state.waiters[peer]?.isEmpty == true { state.waiters[peer] = nil }
                return waiter
            }
            waiter?.resume(returning: nil)
        }
    }

    func add(_ connection: PeerConnection) {
        let waiters = state.withLock { state in
            state.byID[connection.id] = connection
            state.byPeer[connection.peer, default: []].append(connection)
            Self.refresh(&state)
            return state.waiters.removeValue(forKey: connection.peer) ?? []
        }
        for waiter in waiters { waiter.continuation.resume(returning: connection) }
    }

    /// The connection takes no new calls; it still ends the old ones.
    func retire(_ id: ConnectionID) {
        state.withLock { state in
            guard let connection = state.byID[id] else { return }
            Self.remove(connection, from: &state)
        }
    }

    func remove(_ connection: PeerConnection) {
        state.withLock { state in
            state.byID[connection.id] = nil
            Self.remove(connection, from: &state)
        }
    }

    /// Takes all out and lets nobody wait any more.
    func stop() -> [PeerConnection] {
        let (connections, waiters) = state.withLock { state in
            state.isStopped = true
            defer { (state.byID, state.byPeer, state.waiters, state.all) = ([:], [:], [:], []) }
            return (
                state.byID.sorted { $0.key < $1.key }.map(\.value), state.waiters.sorted { $0.key < $1.key }.flatMap(\.value)
            )
        }
        for waiter in waiters { waiter.continuation.resume(returning: nil) }
        return connections
    }

    private static func remove(_ connection: PeerConnection, from state: inout State) {
        state.byPeer[connection.peer]?.removeAll { $0 === connection }
        if state.byPeer[connection.peer]?.isEmpty == true { state.byPeer[connection.peer] = nil }
        refresh(&state)
    }

    private static func refresh(_ state: inout State) {
        state.all = state.byPeer.sorted { $0.key < $1.key }.compactMap(\.value.first)
    }
}

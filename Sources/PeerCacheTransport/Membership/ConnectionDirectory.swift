package import PeerCacheCore

/// The established connections by peer.
package final class ConnectionDirectory: Sendable {
    private struct State {
        var byID: [ConnectionID: PeerConnection] = [:]
        /// The one to use first. Usually one; two for a moment when both sides dialled.
        var byPeer: [PeerID: [PeerConnection]] = [:]
        /// The first of each peer, in order of peer ids: for broadcasts, and found faster than by hashing while clusters are small.
        var all: [PeerConnection] = []
        /// The peers of `all`.
        var peers: [PeerID] = []
        /// Apart: whatever id an observer has, no call to a peer may end there.
        var observers: [PeerConnection] = []
        /// Peers without a connection: since when, in monotonic nanoseconds.
        var lost: [PeerID: Int64] = [:]
    }
    private let state = Lock(State())

    package init() {}

    /// The connection to use for a call to this peer. O(log peers), one lock.
    package func connection(to peer: PeerID) -> PeerConnection? {
        state.withLock { state in
            var low = 0, high = state.peers.count
            while low < high {
                let middle = (low + high) / 2
                if state.peers[middle] < peer { low = middle + 1 } else { high = middle }
            }
            return low < state.peers.count && state.peers[low] == peer ? state.all[low] : nil
        }
    }

    /// Since when there is no connection to this peer, in monotonic nanoseconds; nil: there is one, or it is none of the members.
    package func lostSince(_ peer: PeerID) -> Int64? { state.withLock { $0.byPeer[peer] == nil ? $0.lost[peer] : nil } }

    /// Notes which of the members have no connection, and forgets everybody else.
    package func follow(_ members: [PeerID], nowNanoseconds: Int64) {
        state.withLock { state in
            let before = state.lost
            state.lost = [:]
            for peer in members where state.byPeer[peer] == nil { state.lost[peer] = before[peer] ?? nowNanoseconds }
        }
    }

    func connection(_ id: ConnectionID) -> PeerConnection? { state.withLock { $0.byID[id] } }

    /// One connection to each connected peer, in order of peer ids. O(1).
    package func all() -> [PeerConnection] { state.withLock { $0.all } }

    /// Connections of observers. O(1).
    package var observerCount: Int { state.withLock { $0.observers.count } }

    func add(_ connection: PeerConnection) {
        state.withLock { state in
            state.byID[connection.id] = connection
            guard connection.role == .peer else {
                state.observers.append(connection)
                return Self.refresh(&state)
            }
            state.byPeer[connection.peer, default: []].append(connection)
            state.lost[connection.peer] = nil
            Self.refresh(&state)
        }
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
            // Another transport of this process, under another id, numbers its connections anew.
            if state.byID[connection.id] === connection { state.byID[connection.id] = nil }
            Self.remove(connection, from: &state)
        }
    }

    /// Takes all out, in order of their ids.
    func takeAll() -> [PeerConnection] {
        state.withLock { state in
            defer { state = State() }
            return state.byID.sorted { $0.key < $1.key }.map(\.value)
        }
    }

    private static func remove(_ connection: PeerConnection, from state: inout State) {
        state.observers.removeAll { $0 === connection }
        state.byPeer[connection.peer]?.removeAll { $0 === connection }
        if state.byPeer[connection.peer]?.isEmpty == true {
            state.byPeer[connection.peer] = nil
            state.lost[connection.peer] = ClusterClock.monotonicNanoseconds
        }
        refresh(&state)
    }

    private static func refresh(_ state: inout State) {
        state.all = state.byPeer.sorted { $0.key < $1.key }.compactMap(\.value.first)
        state.peers = state.all.map(\.peer)
    }
}

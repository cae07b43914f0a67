package import PeerCacheCore

/// The established connections by peer.
package final class ConnectionDirectory: Sendable {
    private struct State {
        var byID: [ConnectionID: PeerConnection] = [:]
        /// The one to use first. Usually one; two for a moment when both sides dialled.
        var byPeer: [PeerID: [PeerConnection]] = [:]
        /// The first of each peer, kept ready for broadcasts.
        var all: [PeerConnection] = []
    }
    private let state = Lock(State())

    package init() {}

    /// The connection to use for a call to this peer. O(1), one lock.
    package func connection(to peer: PeerID) -> PeerConnection? { state.withLock { $0.byPeer[peer]?.first } }

    func connection(_ id: ConnectionID) -> PeerConnection? { state.withLock { $0.byID[id] } }

    /// One connection to each connected peer, in order of peer ids. O(1).
    package func all() -> [PeerConnection] { state.withLock { $0.all } }

    func add(_ connection: PeerConnection) {
        state.withLock { state in
            state.byID[connection.id] = connection
            state.byPeer[connection.peer, default: []].append(connection)
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
            state.byID[connection.id] = nil
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
        state.byPeer[connection.peer]?.removeAll { $0 === connection }
        if state.byPeer[connection.peer]?.isEmpty == true { state.byPeer[connection.peer] = nil }
        refresh(&state)
    }

    private static func refresh(_ state: inout State) {
        state.all = state.byPeer.sorted { $0.key < $1.key }.compactMap(\.value.first)
    }
}

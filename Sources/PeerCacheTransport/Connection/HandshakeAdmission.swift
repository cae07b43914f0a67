internal import NIOCore
internal import PeerCacheCore

/// Bounds what strangers can cost before they have proved anything (`SECURITY.md` §4).
///
/// Where too many shake hands, the one that has been at it longest gives way: an honest handshake is over within milliseconds, so strangers
/// that only hold connections keep nobody out.
final class HandshakeAdmission: Sendable {
    /// Accepted connections, members' included.
    static let connectionsMax = 4096
    /// Accepted connections without a finished handshake.
    static let pendingMax = 64
    /// Of those, from one address. Members may share one (NAT, the host's network, loopback) and come back all at once; who is cut off here
    /// takes it for a refusal, which is evidence of a crash.
    static let pendingPerHostMax = 32
    /// Key agreements per second.
    static let agreementsPerSecond = 200

    private struct Pending {
        let id: ConnectionID
        let host: String
        let channel: any Channel
    }
    private struct State {
        var nextID: UInt64 = 0
        var count = 0
        /// Oldest first.
        var pending: [Pending] = []
        var agreements = Double(HandshakeAdmission.agreementsPerSecond)
        var refilledNanoseconds: Int64 = 0
    }
    private let state = Lock(State())

    /// Takes in an accepted channel. Nil: there are too many. Otherwise tell ``finished(_:)`` and ``ended(_:)``.
    /// - Returns: the channel's id, and the one to close for it.
    func begin(_ channel: any Channel) -> (id: ConnectionID, displaced: (any Channel)?)? {
        let host = channel.remoteAddress?.ipAddress ?? ""
        return state.withLock { state in
            guard state.count < Self.connectionsMax else { return nil }
            var oldest = state.pending.count < Self.pendingMax ? nil : state.pending.startIndex
            if state.pending.count(where: { $0.host == host }) >= Self.pendingPerHostMax {
                oldest = state.pending.firstIndex { $0.host == host }
            }
            let displaced = oldest.map { state.pending.remove(at: $0).channel }
            state.count += 1
            state.nextID &+= 1
            let id = GossipMachine.inbound(state.nextID)
            state.pending.append(Pending(id: id, host: host, channel: channel))
            return (id, displaced)
        }
    }

    /// The other end has proved who it is.
    func finished(_ id: ConnectionID) { state.withLock { $0.pending.removeAll { $0.id == id } } }

    /// The channel is closed.
    func ended(_ id: ConnectionID) {
        state.withLock { state in
            state.count -= 1
            state.pending.removeAll { $0.id == id }
        }
    }

    /// A token bucket of key agreements.
    func mayAgree(nowNanoseconds: Int64) -> Bool {
        state.withLock { state in
            let full = Double(Self.agreementsPerSecond)
            let elapsed = Double(nowNanoseconds - state.refilledNanoseconds) / 1e9
            state.agreements = min(full, state.agreements + max(0, elapsed) * full)
            state.refilledNanoseconds = nowNanoseconds
            guard state.agreements >= 1 else { return false }
            state.agreements -= 1
            return true
        }
    }
}

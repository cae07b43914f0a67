internal import PeerCacheCore

/// Bounds what strangers can cost before they have proved anything (`SECURITY.md` §4).
final class HandshakeAdmission: Sendable {
    /// Accepted connections, members' included.
    static let connectionsMax = 4096
    /// Key agreements per second.
    static let agreementsPerSecond = 200
    /// Connections from one address that is not loopback: tests and demos put a whole cluster behind loopback.
    static let connectionsPerHostMax = 256

    private struct State {
        var nextID: UInt64 = 0
        var count = 0
        var byHost: [String: Int] = [:]
        var agreements = Double(HandshakeAdmission.agreementsPerSecond)
        var refilledNanoseconds: Int64 = 0
    }
    private let state = Lock(State())

    func inboundID() -> ConnectionID {
        state.withLock { state in
            state.nextID &+= 1
            return GossipMachine.inbound(state.nextID)
        }
    }

    /// Nil: too many. Give the ticket back with ``end(_:)`` when the channel is closed.
    func begin(host: String) -> String? {
        state.withLock { state in
            let ofHost = state.byHost[host, default: 0]
            let isLoopback = host.hasPrefix("127.") || host == "::1"
            guard state.count < Self.connectionsMax, isLoopback || ofHost < Self.connectionsPerHostMax else { return nil }
            state.count += 1
            state.byHost[host] = ofHost + 1
            return host
        }
    }

    func end(_ host: String) {
        state.withLock { state in
            state.count -= 1
            let rest = state.byHost[host, default: 1] - 1
            state.byHost[host] = rest > 0 ? rest : nil
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

internal import NIOCore
internal import NIOPosix
internal import PeerCacheCore

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

typealias Evidence = GossipMachine.Evidence

extension GossipMachine.Evidence {
    /// What a failed dial or a broken connection says about the other end (`GOSSIP.md` §7).
    init(_ error: any Error) {
        switch (error as? IOError)?.errnoCode ?? Self.errno(ofConnectionError: error) {
        case ECONNREFUSED: self = .refused
        case ECONNRESET, EPIPE: self = .resetByPeer
        default: self = .timedOut
        }
    }

    private static func errno(ofConnectionError error: any Error) -> CInt? {
        guard let failures = (error as? NIOConnectionError)?.connectionErrors else { return nil }
        let codes = failures.map { ($0.error as? IOError)?.errnoCode }
        // Several addresses of one name: refused only if all refused. A reset may come before we have seen that the kernel accepted.
        return codes.allSatisfy { $0 == ECONNREFUSED || $0 == ECONNRESET } && !codes.isEmpty ? ECONNREFUSED : nil
    }
}

extension ForeignReason {
    init(_ error: HandshakeError) {
        switch error {
        case .refused(.secret), .wrongProof, .lowOrderPoint: self = .secret
        case .refused(.cluster): self = .cluster
        case .refused(.version), .malformed, .outOfOrder: self = .version
        case .refused(.isSelf): self = .isSelf
        }
    }
}

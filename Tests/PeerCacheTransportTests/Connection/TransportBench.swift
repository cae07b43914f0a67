import Logging
import NIOCore
import NIOPosix
import PeerCacheCore
import PeerCacheTransport
import Testing

/// One insecure transport on a loopback port, without anything behind it.
final class TransportBench: Sendable {
    static let id = PeerID(high: 0xE0, low: 0xE1)
    let transport: PeerTransport
    let handler = RequestCounter()
    let settings = SettingsFingerprint(hashKey: 7)
    let port: UInt16

    init(limits: (inout ConnectionLimits) -> Void = { _ in }) async throws {
        var configuration = TransportConfiguration(
            handshake: try HandshakeConfiguration(cluster: "bench", security: .insecure, me: Self.id), settings: settings,
            bind: PeerAddress(host: "127.0.0.1", port: 0),
            record: MemberRecord(id: Self.id, address: PeerAddress(host: "127.0.0.1", port: 0)),
            group: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() })
        configuration.limits.requestsMax = 100
        // A test's peer says only what the test needs, however slow the machine is.
        configuration.limits.silentMax = .seconds(100)
        limits(&configuration.limits)
        configuration.gossip.period = .seconds(60)
        transport = PeerTransport(configuration, clock: ClusterClock(), directory: ConnectionDirectory(), requestHandler: handler)
        port = try await transport.start().port
    }

    /// What a peer of this id sends first.
    func introduction(of id: PeerID) throws -> [UInt8] {
        RawPeer.introduction(of: id, try HandshakeConfiguration(cluster: "bench", security: .insecure, me: id), settings)
    }

    func connection(to id: PeerID) async throws -> PeerConnection {
        _ = try await eventually { self.transport.directory.connection(to: id) != nil }
        return try #require(transport.directory.connection(to: id))
    }

    static func run(
        limits: (inout ConnectionLimits) -> Void = { _ in }, _ body: (TransportBench) async throws -> Void
    ) async throws {
        let bench = try await TransportBench(limits: limits)
        do { try await body(bench) } catch {
            await bench.transport.stop()
            throw error
        }
        await bench.transport.stop()
    }
}

/// Answers nothing.
final class RequestCounter: PeerRequestHandler {
    private let state = Lock(0)
    var requests: Int { state.withLock { $0 } }

    func handle(_ request: WireRequest, on connection: PeerConnection) { state.withLock { $0 += 1 } }
    func cancelled(requestID: UInt64, on connection: PeerConnection) {}
    func invalidated(_ invalidation: WireInvalidation, by peer: PeerID) {}
    func closed(_ connection: PeerConnection) {}
}

/// Polls until the condition holds; the time is only a bound.
func eventually(_ condition: () -> Bool) async throws -> Bool {
    let deadline = ContinuousClock.now + .seconds(20)
    while ContinuousClock.now < deadline {
        if condition() { return true }
        try await Task.sleep(for: .milliseconds(5))
    }
    return condition()
}

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
    let address: PeerAddress
    var port: UInt16 { address.port }
    private let heard: Recorder<MembershipEvent>
    private let reported: Recorder<GossipMachine.Evidence>
    private let running: Task<Void, Never>

    init(
        _ id: PeerID = TransportBench.id, clock: ClusterClock = ClusterClock(),
        configure: (inout TransportConfiguration) -> Void = { _ in }, onEvent: @escaping @Sendable (MembershipEvent) -> Void = { _ in }
    ) async throws {
        var configuration = TransportConfiguration(
            handshake: try Self.handshake(of: id), settings: settings,
            bind: PeerAddress(host: "127.0.0.1", port: 0), record: MemberRecord(id: id, address: PeerAddress(host: "127.0.0.1", port: 0)),
            group: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() })
        configuration.limits.requestsMax = 100
        // A test's peer says only what the test needs, however slow the machine is.
        configuration.limits.silentMax = .seconds(100)
        configuration.gossip.period = .seconds(60)
        configure(&configuration)
        let heard = Recorder<MembershipEvent>(), reported = Recorder<GossipMachine.Evidence>()
        self.reported = reported
        self.heard = heard
        let transport = PeerTransport(
            configuration, clock: clock, directory: ConnectionDirectory(), requestHandler: handler,
            onEvent: { event, _ in
                heard.append(event)
                onEvent(event)
            },
            onEvidence: { reported.append($1) })
        self.transport = transport
        address = try await transport.start()
        running = Task { await transport.run() }
    }

    /// What it has told of the membership so far.
    var events: [MembershipEvent] { heard.all }

    /// What the membership was told of dials and connections so far, but for handshakes.
    var evidence: [GossipMachine.Evidence] { reported.all.filter { if case .established = $0 { false } else { true } } }

    func stop() async {
        running.cancel()
        await transport.stop()
    }

    /// What a peer of this id sends first.
    func introduction(of id: PeerID, hlc: UInt64 = 0) throws -> [UInt8] {
        RawPeer.introduction(of: id, try Self.handshake(of: id), settings, hlc: hlc)
    }

    static func handshake(of id: PeerID) throws -> HandshakeConfiguration {
        try HandshakeConfiguration(cluster: "bench", security: .insecure, me: id)
    }

    /// A raw peer of this id that is connected.
    func peer(_ id: PeerID, windowBytes: CInt = 0) async throws -> (RawPeer, PeerConnection) {
        let introduction = try introduction(of: id), port = port
        let peer = try await RawPeer.blocking {
            let peer = try RawPeer(port: port, windowBytes: windowBytes)
            _ = peer.write(introduction)
            _ = peer.readAnswer()
            return UncheckedBox(peer)
        }
        return (peer.value, try await connection(to: id))
    }

    func connection(to id: PeerID) async throws -> PeerConnection {
        _ = try await eventually { self.transport.directory.connection(to: id) != nil }
        return try #require(transport.directory.connection(to: id))
    }

    static func run(
        limits: (inout ConnectionLimits) -> Void = { _ in }, _ body: (TransportBench) async throws -> Void
    ) async throws {
        let bench = try await TransportBench { limits(&$0.limits) }
        do { try await body(bench) } catch {
            await bench.stop()
            throw error
        }
        await bench.stop()
    }
}

/// Keeps everything.
final class Recorder<Element: Sendable>: Sendable {
    private let elements = Lock<[Element]>([])
    var all: [Element] { elements.withLock { $0 } }

    func append(_ element: Element) { elements.withLock { $0.append(element) } }
}

/// Answers nothing.
final class RequestCounter: PeerRequestHandler {
    private let state = Lock((requests: 0, closed: 0))
    var requests: Int { state.withLock { $0.requests } }
    /// Connections that have ended.
    var closed: Int { state.withLock { $0.closed } }

    func handle(_ request: WireRequest, on connection: PeerConnection) { state.withLock { $0.requests += 1 } }
    func cancelled(requestID: UInt64, on connection: PeerConnection) {}
    func invalidated(_ invalidation: WireInvalidation, by peer: PeerID) {}
    func closed(_ connection: PeerConnection) { state.withLock { $0.closed += 1 } }
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

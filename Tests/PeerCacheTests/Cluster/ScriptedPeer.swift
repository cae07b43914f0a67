import NIOCore
import NIOPosix
import PeerCache
import PeerCacheCore
import PeerCacheTransport
import Testing

/// A member that speaks the protocol and answers requests as the test wants.
final class ScriptedPeer: Sendable {
    /// What to answer; nil: nothing.
    typealias Script = @Sendable (RequestKind) -> ResponseStatus?
    /// Answers a request with more than a status; false: the script does.
    typealias Answer = @Sendable (WireRequest, PeerConnection) -> Bool

    let id: PeerID
    private let transport: PeerTransport
    private let handler: Handler
    private let directory = ConnectionDirectory()

    private init(id: PeerID, seed: PeerAddress, weight: UInt16, script: @escaping Script, answer: @escaping Answer) throws {
        self.id = id
        let configuration = testConfiguration()
        let security = HandshakeSecurity.sharedSecret(try KeyRing(current: ClusterSecret("a secret of the tests, long enough")))
        var record = MemberRecord(id: id, address: PeerAddress(host: "127.0.0.1", port: 0))
        record.weight = weight
        var transport = TransportConfiguration(
            handshake: try HandshakeConfiguration(cluster: configuration.cluster, security: security, me: id),
            settings: SettingsFingerprint(hashKey: try HashKey(nil, security: security, cluster: configuration.cluster).fingerprint),
            bind: record.address, record: record, group: MultiThreadedEventLoopGroup.singleton, logger: configuration.logger)
        transport.discovery = { [seed] }
        handler = Handler(script: script, answer: answer)
        self.transport = PeerTransport(transport, clock: ClusterClock(), directory: directory, requestHandler: handler)
    }

    /// Joins a peer's cluster while `body` runs. With a weight it owns keys.
    /// - Parameter high: of its id; a low one comes first.
    static func join(
        _ peer: CachePeer, weight: UInt16, high: UInt64 = .random(in: 1 ... .max), script: @escaping Script = { _ in nil },
        answer: @escaping Answer = { _, _ in false },
        _ body: (ScriptedPeer, PeerConnection) async throws -> Void
    ) async throws {
        let address = try #require(peer.address.flatMap { PeerAddress($0) })
        let peerID = try #require(PeerID(peer.id))
        let scripted = try ScriptedPeer(
            id: PeerID(high: high, low: .random(in: .min ... .max)), seed: address, weight: weight, script: script, answer: answer)
        let transport = scripted.transport
        _ = try await transport.start()
        let discovery = Task { await transport.run() }
        do {
            try await eventually("the scripted peer is a member") {
                peer.snapshot().members.contains { $0.id == scripted.id.description } && scripted.directory.connection(to: peerID) != nil
            }
            try await body(scripted, try #require(scripted.directory.connection(to: peerID)))
        } catch {
            discovery.cancel()
            await transport.stop()
            throw error
        }
        discovery.cancel()
        await transport.stop()
    }

    /// The connection to a peer, if there is one now.
    func connection(to peer: PeerID) -> PeerConnection? { directory.connection(to: peer) }

    /// Requests of a kind so far.
    func count(of kind: RequestKind) -> Int { handler.kinds.withLock { $0.count { $0 == kind } } }

    private final class Handler: PeerRequestHandler {
        let kinds = Lock<[RequestKind]>([])
        let script: Script
        let answer: Answer

        init(script: @escaping Script, answer: @escaping Answer) {
            self.script = script
            self.answer = answer
        }

        func handle(_ request: WireRequest, on connection: PeerConnection) {
            kinds.withLock { $0.append(request.kind) }
            if answer(request, connection) { return }
            if request.id != 0, let status = script(request.kind) { connection.respond(WireResponse(id: request.id, status: status)) }
        }
        func cancelled(requestID: UInt64, on connection: PeerConnection) {}
        func invalidated(_ invalidation: WireInvalidation, by peer: PeerID) {}
        func closed(_ connection: PeerConnection) {}
    }
}

import NIOCore
import NIOPosix
import PeerCache
import PeerCacheCore
import PeerCacheTesting
import PeerCacheTransport
import Synchronization
import Testing
import WireSamples

/// Strangers that do not know the secret (SEC5, SEC15): whatever they send, they become no member, are gone in time, and cost nobody.
@Suite(.timeLimit(.minutes(3))) struct HostileHandshakeTests {
    private static let connections = 400

    /// What one stranger sends, and whether it stays silent from then on.
    private func script(_ number: Int, _ random: inout SeededRandom, hello: [UInt8], cluster: String) throws -> [UInt8] {
        func noise(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
        switch number % 8 {
        case 0: return []
        case 1: return noise(Int(1 + random.next() % 127))
        case 2: return noise(160)
        case 3: return noise(100_000)
        case 4: return Array(hello.prefix(Int(random.next() % 128)))  // cut
        case 5: return hello + noise(32) + noise(1000)  // replayed, with a made-up proof
        case 6:
            var changed = hello
            changed[Int(random.next() % 128)] ^= 1 << UInt8(random.next() % 8)
            return changed + noise(32)
        default:
            // The right cluster with another secret, and frames at once.
            let secret = try ClusterSecret("another secret, also long enough")
            let ring = HandshakeSecurity.sharedSecret(try KeyRing(current: secret))
            let configuration = try HandshakeConfiguration(cluster: cluster, security: ring, me: PeerID(high: 3, low: random.next()))
            return DialerHandshake(configuration, expecting: nil).hello + noise(32) + HostileFrames.last
        }
    }

    @Test(arguments: Seeds.chosen(1...1)) func strangersGetNowhere(seed: UInt64) async throws {
        try await withCluster(of: 2) { peers in
            let caches = peers.map { $0.cache("rows", key: Int.self, value: String.self, options: .init(nearFor: .zero)) }
            for key in 0..<50 { try await caches[0].set(key, "row \(key)") }
            let address = try #require(peers[0].address.flatMap { PeerAddress($0) })
            // What a member has sent once, as an eavesdropper has it.
            let ring = HandshakeSecurity.sharedSecret(try KeyRing(current: ClusterSecret("a secret of the tests, long enough")))
            let member = try HandshakeConfiguration(cluster: "test", security: ring, me: PeerID(high: 4, low: 4))
            let hello = DialerHandshake(member, expecting: nil).hello
            var random = SeededRandom(seed: seed)
            let scripts = try (0..<Self.connections).map { try script($0, &random, hello: hello, cluster: "test") }
            try await withThrowingTaskGroup(of: [UInt8].self) { group in
                for script in scripts { group.addTask { try await Stranger.run(with: Int(address.port), script) } }
                // The members work on meanwhile.
                for key in 0..<50 { for cache in caches { try await cache.expect(key, "row \(key)") } }
                // Each has ended; nobody got more than one answer to a hello.
                for try await heard in group { #expect(heard.count <= HandshakeSize.answer, "PEERCACHE_SEED=\(seed)") }
            }
            for peer in peers { #expect(peer.snapshot().members.count == 2) }
            for key in 0..<50 { for cache in caches { try await cache.expect(key, "row \(key)") } }
        }
    }
}

/// A connection that sends some bytes and waits until the peer closes it.
private final class Stranger: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private var heard: [UInt8] = []
    private let ended: EventLoopPromise<[UInt8]>

    init(_ ended: EventLoopPromise<[UInt8]>) { self.ended = ended }

    /// Everything the peer said. Throws when the peer has not closed within a bound far above its own.
    static func run(with port: Int, _ script: [UInt8]) async throws -> [UInt8] {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let ended = loop.makePromise(of: [UInt8].self)
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Stranger(ended)) }
                }
                .connect(host: "127.0.0.1", port: port).get()
        } catch {
            ended.fail(error)
            throw error
        }
        let timeout = loop.scheduleTask(in: .seconds(60)) { ended.fail(NotInTime(description: "a stranger's connection is still open")) }
        channel.writeAndFlush(ByteBuffer(bytes: script), promise: nil)
        defer { timeout.cancel() }
        return try await ended.futureResult.get()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { heard += unwrapInboundIn(data).readableBytesView }
    func channelInactive(context: ChannelHandlerContext) { ended.succeed(heard) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

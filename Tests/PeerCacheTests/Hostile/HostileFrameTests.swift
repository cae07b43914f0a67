import Foundation
import NIOCore
import PeerCache
import PeerCacheCore
import PeerCacheTesting
import PeerCacheTransport
import Testing
import WireSamples

/// Random and mutated frames against a peer on a real socket: each ends with an answer or a closed connection, and the peer goes on.
///
/// `PEERCACHE_HOSTILE_FRAMES` sets how many; setting it says as well that nothing else runs in this process, so memory is checked, too:
/// `PEERCACHE_HOSTILE_FRAMES=100000 swift test -c release --filter Hostile`.
@Suite(.serialized, .timeLimit(.minutes(40))) struct HostileFrameTests {
    static let cluster = "hostile"
    /// Connections at a time: few beside other tests, which have deadlines.
    static let lanes = requested == nil ? 2 : 8
    static let residentGrowthMax = 32 << 20

    static let requested = ProcessInfo.processInfo.environment["PEERCACHE_HOSTILE_FRAMES"].flatMap { Int($0) }
    private var frames: Int { Self.requested ?? 4_000 }
    private let rounds = 10

    @Test(arguments: Seeds.chosen(1...1)) func framesAreAnsweredOrEndTheConnection(seed: UInt64) async throws {
        print("hostile frames: \(frames), PEERCACHE_SEED=\(seed)")
        try await withCluster(
            of: 1,
            configure: { configuration in
                configuration.cluster = Self.cluster
                configuration.security = .insecure
                configuration.requestTimeout = .milliseconds(200)
            }
        ) { peers in
            let attack = try Attack(on: peers[0])
            var totals = Attack.Totals()
            var resident: Int?
            for round in 0..<rounds {
                try await attack.run(frames: frames / rounds, seed: seed &* 1000 &+ UInt64(round), into: &totals)
                try await attack.expectService()
                // The store and the allocator are full by now.
                if round == rounds / 5 { resident = residentBytes() }
            }
            print("hostile frames: \(totals), resident at the start \(resident ?? 0), at the end \(residentBytes() ?? 0)")
            #expect(totals.hung == 0 && totals.refused == 0, "PEERCACHE_SEED=\(seed)")
            #expect(totals.frames >= frames / 10 * 9)
            if Self.requested != nil, let resident, let now = residentBytes() {
                #expect(now - resident < Self.residentGrowthMax, "from \(resident) to \(now) bytes, PEERCACHE_SEED=\(seed)")
            }
            try await attack.expectRecovery()
        }
    }
}

/// Several connections at a time that send hostile frames to one peer.
struct Attack: Sendable {
    struct Totals: Sendable {
        var frames = 0, connections = 0, answered = 0, closed = 0, hung = 0, refused = 0
    }

    private let peer: CachePeer
    private let cache: Cache<Int, String>
    private let port: Int
    private let settings: SettingsFingerprint

    init(on peer: CachePeer) throws {
        self.peer = peer
        cache = peer.cache("rows", key: Int.self, value: String.self) { "row \($0)" }
        // Without a loader, and with copies that nobody takes.
        _ = peer.cache("plain", key: Int.self, value: [UInt8].self, options: .init(copies: 2))
        let address = try #require(peer.address.flatMap { PeerAddress($0) })
        port = Int(address.port)
        settings = SettingsFingerprint(hashKey: try HashKey(nil, security: .insecure, cluster: HostileFrameTests.cluster).fingerprint)
    }

    func run(frames: Int, seed: UInt64, into totals: inout Totals) async throws {
        let parts = try await withThrowingTaskGroup(of: Totals.self) { group in
            for lane in 0..<HostileFrameTests.lanes {
                group.addTask {
                    try await run(lane: lane, frames: frames / HostileFrameTests.lanes, seed: seed &* 100 &+ UInt64(lane))
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        for part in parts {
            totals.frames += part.frames
            totals.connections += part.connections
            totals.answered += part.answered
            totals.closed += part.closed
            totals.hung += part.hung
            totals.refused += part.refused
        }
    }

    private func run(lane: Int, frames: Int, seed: UInt64) async throws -> Totals {
        let me = PeerID(high: 0xBAD, low: UInt64(1 + lane))
        let targets = [PeerID(peer.id)].compactMap { $0 } + (1...6).map { PeerID(high: 0xA0, low: $0) }
        var source = HostileFrames(seed: seed, caches: ["rows", "plain"], memberIDs: targets)
        var totals = Totals()
        while totals.frames < frames {
            let batch = source.batch(framesMax: frames - totals.frames)
            let outcome = try await converse(as: me, batch.bytes + HostileFrames.last, endsConnection: batch.endsConnection)
            totals.frames += batch.frameCount
            totals.connections += 1
            switch outcome {
            case .closed: totals.closed += 1
            case .answered: totals.answered += 1
            case .hung: totals.hung += 1
            case .refused: totals.refused += 1
            }
        }
        return totals
    }

    /// A member of weight 0: it answers nothing, so it must not own keys.
    private func converse(
        as me: PeerID, _ bytes: [UInt8], endsConnection: Bool, lastID: UInt64 = HostileFrames.lastID
    ) async throws -> Conversation.Outcome {
        let configuration = try HandshakeConfiguration(cluster: HostileFrameTests.cluster, security: .insecure, me: me)
        var record = MemberRecord(id: me, address: PeerAddress(host: "127.0.0.1", port: 1))
        record.weight = 0
        return try await Conversation.run(
            with: port, as: configuration, script: SampleFrame.bytes(of: [.hello(record, settings)]) + bytes,
            endsConnection: endsConnection, lastID: lastID)
    }

    /// A proper get, in the process and over a new connection. Members that the frames made up may own the key.
    func expectService() async throws {
        try await cache.expect(7, "row 7")
        let outcome = try await get()
        #expect([.answered(.ok), .answered(.notOwner)].contains(outcome))
    }

    /// The made-up members turn out to be dead, and everything is as before.
    func expectRecovery() async throws {
        try await eventually("made-up members are gone", seconds: 240) { peer.snapshot().memberCount == 1 }
        // The slots that they owned are gathered first.
        try await eventually("a get is answered") { try await get() == .answered(.ok) }
        try await eventually("nothing is under way") { peer.snapshot().caches.values.allSatisfy { $0.loadsRunning == 0 } }
    }

    private func get() async throws -> Conversation.Outcome {
        var request = OwnedRequest(kind: .get)
        (request.id, request.cache, request.key) = (9, Array("rows".utf8), withUnsafeBytes(of: Int64(7).bigEndian) { Array($0) })
        return try await converse(
            as: PeerID(high: 0x900D, low: 0x77), SampleFrame.bytes(of: [.request(request)]), endsConnection: false, lastID: 9)
    }
}

extension PeerID {
    /// From 32 hexadecimal digits.
    init?(_ text: String) {
        guard text.count == 32, let high = UInt64(text.prefix(16), radix: 16), let low = UInt64(text.suffix(16), radix: 16) else {
            return nil
        }
        self.init(high: high, low: low)
    }
}

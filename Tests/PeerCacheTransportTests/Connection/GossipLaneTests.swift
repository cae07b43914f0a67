import NIOCore
import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

/// What gossip waits for on a connection that is full of values. Counted in bytes that the other side has to read first, which on a link of
/// known speed is the latency.
@Suite(.serialized, .timeLimit(.minutes(2))) struct GossipLaneTests {
    private let id = PeerID(high: 0xF0, low: 1)
    private static let limits: @Sendable (inout ConnectionLimits) -> Void = {
        $0.outboundBytesMax = 256 << 20
        $0.stalledMax = .seconds(1000)
    }

    private func send(_ count: Int, valuesOf bytes: Int, on connection: PeerConnection) {
        let value = ByteBuffer(repeating: 1, count: bytes)
        let isLarge = bytes > WireLimits.chunkBytes
        for _ in 0..<count {
            let isSent = connection.post(large: isLarge ? value : nil) { id, frames in
                var request = WireRequest(kind: .apply, cache: UnsafeRawBufferPointer(start: nil, count: 0))
                request.id = id
                value.withUnsafeReadableBytes {
                    if isLarge { request.chunkedBytes = UInt64(bytes) } else { request.value = $0 }
                    frames.append(request)
                }
            }
            #expect(isSent)
        }
    }

    @Test(arguments: [1 << 20, 100_000]) func aPingOvertakesValues(bytes: Int) async throws {
        try await TransportBench.run(limits: Self.limits) { bench in
            let (peer, connection) = try await bench.peer(id, windowBytes: 64 << 10)
            send(64 << 20 / bytes, valuesOf: bytes, on: connection)
            // Chunks wait for each other, and not for the socket.
            if bytes <= WireLimits.chunkBytes { #expect(try await eventually { connection.isStalled }) }
            connection.post(.ping(sequence: 77, placement: 0, claims: []))
            let box = UncheckedBox(peer)
            let ahead = try await RawPeer.blocking {
                box.value.bytes { if case .gossip(.ping(77, _, _)) = $0 { true } else { false } }
            }
            print("bytes ahead of a ping behind 64 MiB in values of \(bytes) bytes: \(ahead ?? -1)")
            #expect((ahead ?? .max) < 1536 << 10)
            peer.closeBothWays()
        }
    }

    /// Large values take no room from what passes between them.
    @Test func largeValuesLeaveRoomForTheSmall() async throws {
        try await TransportBench.run(limits: { ($0.outboundBytesMax, $0.stalledMax) = (4 << 20, .seconds(1000)) }) { bench in
            let (peer, connection) = try await bench.peer(id, windowBytes: 64 << 10)
            // What is over the bound is refused, however much has left already.
            var isFull = false
            for _ in 0..<12 where !isFull {
                isFull = !connection.post(large: ByteBuffer(repeating: 1, count: 1 << 20)) { id, frames in
                    var request = WireRequest(kind: .apply, cache: UnsafeRawBufferPointer(start: nil, count: 0))
                    (request.id, request.chunkedBytes) = (id, 1 << 20)
                    frames.append(request)
                }
            }
            #expect(isFull)
            send(1, valuesOf: 100, on: connection)
            #expect(connection.post(.ping(sequence: 77, placement: 0, claims: [])) == 0)
            peer.closeBothWays()
        }
    }

    /// The newest is what counts, and memory has a bound.
    @Test func gossipThatCannotBeSentGivesWayToNewer() async throws {
        try await TransportBench.run(limits: Self.limits) { bench in
            let (peer, connection) = try await bench.peer(id, windowBytes: 64 << 10)
            send(640, valuesOf: 100_000, on: connection)
            #expect(try await eventually { connection.isStalled })
            let record = MemberRecord(id: PeerID(high: 9, low: 9), address: PeerAddress(host: "127.0.0.1", port: 9))
            let claims = Array(repeating: MemberClaim(Member(record, status: .alive), withRecord: true), count: 100)
            var dropped = 0
            for sequence in 1...100 { dropped += connection.post(.ping(sequence: UInt64(sequence), placement: 0, claims: claims)) }
            #expect(dropped > 50)
            let box = UncheckedBox(peer)
            let heard = try await RawPeer.blocking {
                var sequences: [UInt64] = []
                while sequences.last != 100, let messages = box.value.read() {
                    for case .gossip(.ping(let sequence, _, _)) in messages { sequences.append(sequence) }
                }
                return sequences
            }
            // Gossip of the transport itself may be among what was dropped.
            #expect((1...50).contains(heard.count) && heard == (0..<heard.count).map { UInt64(101 - heard.count + $0) })
            peer.closeBothWays()
        }
    }
}

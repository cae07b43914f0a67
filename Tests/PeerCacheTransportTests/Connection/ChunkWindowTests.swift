import NIOCore
import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

/// How far chunks run ahead of who takes them in.
@Suite(.serialized, .timeLimit(.minutes(1))) struct ChunkWindowTests {
    /// The share of the time in which a line is used that needs `each` for a chunk and `delay` there and back, and the window at the end.
    /// - Parameter tails: each fifth chunk takes no time.
    private func run(each: Int64, delay: Int64, tails: Bool = false, chunks: Int = 2_000) -> (share: Double, size: Int) {
        var window = ChunkWindow()
        var used: Int64 = 0
        var now: Int64 = 0, lineFree: Int64 = 0, taken: [Int64] = [], next = 0
        for index in 0..<chunks {
            let isWhole = !tails || index % 5 != 4
            while !window.isOpen {
                now = max(now, taken[next])
                window.taken(1, at: now)
                next += 1
            }
            window.sent(at: now, isWhole: isWhole)
            lineFree = max(now, lineFree) + (isWhole ? each : 1)
            used += isWhole ? each : 1
            taken.append(lineFree + delay)
        }
        return (Double(used) / Double(taken[chunks - 1]), window.size)
    }

    @Test func aShortLineHasNoQueue() {
        // 10 and 1 Gbit/s without a delay to speak of.
        for each in [200_000, 2_000_000] as [Int64] {
            let (share, size) = run(each: each, delay: 50_000)
            #expect(share > 0.75 && size <= 2)
        }
    }

    @Test func aLongLineIsFilled() {
        let (near, size) = run(each: 200_000, delay: 1_000_000)
        #expect(near > 0.9 && (5...9).contains(size))
        // The bound is 24 chunks.
        let (far, most) = run(each: 200_000, delay: 50_000_000)
        #expect(far > 0.07 && most == ChunkWindow.sizeMax)
    }

    @Test func shortChunksDoNotNarrowIt() {
        #expect(run(each: 210_000, delay: 500_000, tails: true).share > 0.8)
        #expect(run(each: 2_000_000, delay: 5_000_000, tails: true).share > 0.8)
    }

    @Test func itDoesNotGrowUnused() {
        var window = ChunkWindow()
        for second in 1...100 as ClosedRange<Int64> {
            window.sent(at: second * 1_000_000_000)
            window.taken(1, at: second * 1_000_000_000 + 200_000)
        }
        #expect(window.size == 2)  // with one chunk on its way a window of one is used
    }

    @Test func aLineThatIsSlowMakesProgress() {
        var window = ChunkWindow()
        window.sent(at: 10)
        #expect(window.waitingSince == 10)
        window.taken(1, at: 20)
        while window.isOpen { window.sent(at: 30) }
        window.taken(1, at: 5_000)
        window.sent(at: 5_001)
        #expect(window.waitingSince ?? 5_000 >= 5_000)
    }

    /// The way has become longer: after a while that is the new measure.
    @Test func theMeasureIsOfLate() {
        var window = ChunkWindow(), now: Int64 = 0, sizes: [Int] = []
        for (count, time) in [(10, 100_000), (2_000, 1_000_000)] as [(Int, Int64)] {
            for _ in 0..<count {
                while window.isOpen { window.sent(at: now) }
                now += time
                window.taken(.max, at: now)
            }
            sizes.append(window.size)
        }
        #expect(sizes[1] > 5)
    }

    @Test func whatIsSaidToHaveBeenTakenOpensItNoFurther() {
        var window = ChunkWindow()
        window.taken(.max, at: 1)
        window.taken(-1, at: 2)
        #expect(window.size == 1)
        window.sent(at: .max)
        #expect(!window.isOpen && window.waitingSince == .max)
        window.taken(.max, at: .min + 1)  // a clock that went back
        #expect(window.isOpen)
    }

    private func send(_ bytes: Int, on connection: PeerConnection) {
        let value = ByteBuffer(repeating: 1, count: bytes)
        let isSent = connection.post(large: value) { id, frames in
            var request = WireRequest(kind: .apply, cache: UnsafeRawBufferPointer(start: nil, count: 0))
            (request.id, request.chunkedBytes) = (id, UInt64(bytes))
            frames.append(request)
        }
        #expect(isSent)
    }

    @Test func aChunkWaitsUntilTheOneBeforeWasTaken() async throws {
        try await TransportBench.run { bench in
            let (peer, connection) = try await bench.peer(PeerID(high: 0xF0, low: 1))
            let box = UncheckedBox(peer)
            @Sendable func read(until isWanted: @escaping @Sendable (OwnedMessage) -> Bool) async throws -> [OwnedMessage] {
                try await RawPeer.blocking {
                    var read: [OwnedMessage] = []
                    while !read.contains(where: isWanted), let more = box.value.read() { read += more }
                    return read
                }
            }
            @Sendable func isChunk(_ message: OwnedMessage) -> Bool { if case .chunk = message { true } else { false } }
            send(2 * WireLimits.chunkBytes, on: connection)
            #expect(try await read(until: isChunk).count(where: isChunk) == 1)
            // Small items pass.
            connection.post(.ping(sequence: 77, placement: 0, claims: []))
            let between = try await read { if case .gossip(.ping(77, _, _)) = $0 { true } else { false } }
            #expect(!between.isEmpty && !between.contains(where: isChunk))
            #expect(try await RawPeer.blocking { box.value.write(SampleFrame.bytes(of: [.taken(chunks: 1)])) })
            #expect(try await read(until: isChunk).count(where: isChunk) == 1)
            peer.closeBothWays()
        }
    }

    @Test func whoTakesNothingIsGivenUp() async throws {
        try await TransportBench.run(limits: { $0.stalledMax = .milliseconds(300) }) { bench in
            let (peer, connection) = try await bench.peer(PeerID(high: 0xF0, low: 1))
            send(2 * WireLimits.chunkBytes, on: connection)
            let box = UncheckedBox(peer)
            let messages = try await RawPeer.blocking { box.value.readAll() }
            #expect(messages.count { if case .chunk = $0 { true } else { false } } == 1)
        }
    }
}

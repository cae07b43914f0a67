import NIOCore
import PeerCacheCore
import PeerCacheTransport
import Testing
import WireSamples

/// Peers that pass the handshake and then break the rules, against a transport on a real socket.
@Suite(.timeLimit(.minutes(2))) struct HostilePeerTests {
    private func id(_ number: Int) -> PeerID { PeerID(high: 0xF0, low: UInt64(number)) }

    /// The answer cannot be sent any more while what came before the reset is still read: such a connection must not stay behind as
    /// established.
    @Test func aResetDuringTheHandshakeLeavesNothing() async throws {
        try await TransportBench.run { bench in
            let introductions = try (1...300).map { try bench.introduction(of: id($0)) }, port = bench.port
            try await RawPeer.blocking {
                for introduction in introductions {
                    let peer = try RawPeer(port: port)
                    _ = peer.write(introduction)
                    peer.closeByReset()
                }
            }
            // A last one that stays shows that all before it have been looked at.
            let introduction = try bench.introduction(of: id(999))
            let peer = try await RawPeer.blocking {
                let peer = try RawPeer(port: port)
                _ = peer.write(introduction)
                return UncheckedBox(peer)
            }
            let isAlone = try await eventually { bench.transport.directory.all().map(\.peer) == [id(999)] }
            #expect(isAlone, "\(bench.transport.directory.all().count) connections")
            withExtendedLifetime(peer) {}
        }
    }

    /// Nothing that follows a goodbye is wanted, so nothing of it may be kept.
    @Test(arguments: [Goodbye.idle, .replaced, .leaving, .protocolError]) func aGoodbyeEndsTheConnection(goodbye: Goodbye) async throws {
        try await TransportBench.run { bench in
            let introduction = try bench.introduction(of: id(1)), port = bench.port
            let isCut = try await RawPeer.blocking {
                let peer = try RawPeer(port: port)
                _ = peer.write(introduction + SampleFrame.bytes(of: [.goodbye(goodbye)]))
                let flood = SampleFrame.bytes(of: [.chunk(id: 1, isResponse: false, bytes: [UInt8](repeating: 1, count: 200_000))])
                for _ in 0..<300 where !peer.write(flood) { return true }
                return false
            }
            #expect(isCut, "60 MB were taken in after the goodbye")
        }
    }

    /// Announced values of answers to nobody must not take the room of a real one.
    @Test func chunkedAnswersToNobodyTakeNoRoom() async throws {
        try await TransportBench.run { bench in
            let introduction = try bench.introduction(of: id(1)), port = bench.port
            let value = [UInt8](repeating: 3, count: 1000)
            async let served: Bool = RawPeer.blocking {
                let peer = try RawPeer(port: port)
                var unasked = OwnedResponse(id: 0, status: .ok)
                unasked.chunkedBytes = UInt64(ConnectionLimits().valueBytesMax)
                let unaskeds = (1...64).flatMap { number in
                    unasked.id = UInt64(number) << 40 | 77
                    return SampleFrame.bytes(of: [.response(unasked)])
                }
                guard peer.write(introduction + unaskeds), peer.readAnswer() else { return false }
                while let messages = peer.read() {
                    for case .request(let request) in messages {
                        var response = OwnedResponse(id: request.id, status: .ok)
                        response.chunkedBytes = UInt64(value.count)
                        let chunk = OwnedMessage.chunk(id: request.id, isResponse: true, bytes: value)
                        return peer.write(SampleFrame.bytes(of: [.response(response), chunk])) && peer.read() != nil
                    }
                }
                return false
            }
            let connection = try await bench.connection(to: id(1))
            let answer = await connection.call(deadlineNanoseconds: ClusterClock.monotonicNanoseconds + 20_000_000_000) { id, frames in
                var request = WireRequest(kind: .get, cache: UnsafeRawBufferPointer(start: nil, count: 0))
                request.id = id
                frames.append(request)
            }
            guard case .success(let response) = answer else { Issue.record("\(answer)"); return }
            #expect(response.value == ByteBuffer(bytes: value))
            #expect(try await served)
        }
    }

    /// Its calls would fail at once: it must not be the one that calls go to, while it still waits for answers.
    @Test func aConnectionThatSaidGoodbyeAsADuplicateTakesNoCalls() async throws {
        try await TransportBench.run { bench in
            let introduction = try bench.introduction(of: id(1)), port = bench.port
            let peer = try await RawPeer.blocking {
                let peer = try RawPeer(port: port)
                _ = peer.write(introduction)
                return UncheckedBox(peer)
            }
            let directory = bench.transport.directory
            let connection = try await bench.connection(to: id(1))
            async let unanswered = connection.call(deadlineNanoseconds: .max) { id, frames in
                var request = WireRequest(kind: .get, cache: UnsafeRawBufferPointer(start: nil, count: 0))
                request.id = id
                frames.append(request)
            }
            #expect(try await eventually { connection.requestsInFlight == 1 })
            _ = peer.value.write(SampleFrame.bytes(of: [.goodbye(.duplicate)]))
            #expect(try await eventually { directory.connection(to: id(1)) == nil })
            #expect(connection.requestsInFlight == 1, "it has ended already")
            peer.value.closeBothWays()
            #expect(await unanswered.isClosed)
        }
    }

    /// The machine takes longer for a message than the connection for its bytes: what it cannot take in time is dropped, not queued.
    @Test func gossipThatComesTooFastIsDropped() async throws {
        try await TransportBench.run { bench in
            let introduction = try bench.introduction(of: id(1)), port = bench.port
            let members = (1...2000).map { number in
                var record = MemberRecord(
                    id: PeerID(high: UInt64(number), low: UInt64(number)), address: PeerAddress(host: "127.0.0.2", port: 1))
                record.weight = 0
                return Member(record, status: .left, since: 1)
            }
            let sync = OwnedMessage.gossip(.sync(members: members, wantsReply: false))
            let flood = Array(repeatElement(SampleFrame.bytes(of: [sync]), count: 20).joined())
            let peer = try await RawPeer.blocking {
                let peer = try RawPeer(port: port)
                _ = peer.write(introduction)
                return UncheckedBox(peer)
            }
            let connection = try await bench.connection(to: id(1))
            let isWritten = try await RawPeer.blocking { (1...5).allSatisfy { _ in peer.value.write(flood) } }
            #expect(isWritten)
            // Nothing waits for ever, and the connection lives.
            let ping = GossipMessage.ping(sequence: 1, placement: 1, claims: [])
            _ = peer.value.write(SampleFrame.bytes(of: [.gossip(ping), .request(OwnedRequest(kind: .readClock))]))
            #expect(try await eventually { bench.handler.requests == 1 && connection.gossipQueued == 0 })
            #expect(connection.gossipQueuedMost <= PeerConnection.gossipQueuedMax)
        }
    }
}

extension Result<PeerResponse, PeerCallError> {
    var isClosed: Bool { if case .failure(.closed) = self { true } else { false } }
}

/// For a value that one task at a time uses.
struct UncheckedBox<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

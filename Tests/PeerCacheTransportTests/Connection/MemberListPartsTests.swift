import NIOCore
import PeerCacheCore
import Testing

@testable import PeerCacheTransport

@Suite struct MemberListPartsTests {
    /// One frame of a long list would be above the receiver's limit, and the connection would be closed again and again.
    @Test func aLongMemberListGoesInFramesThatTheReceiverTakes() throws {
        let members = (1...1000).map { number in
            var record = MemberRecord(id: PeerID(high: 1, low: UInt64(number)), address: PeerAddress(host: "10.0.0.1", port: 7600))
            record.name = String(repeating: "n", count: 64)
            record.zone = String(repeating: "z", count: 64)
            record.region = String(repeating: "r", count: 64)
            record.metadata = [UInt8](repeating: 7, count: 512)
            return Member(record, status: .alive)
        }
        let parts = PeerTransport.parts(of: .sync(members: members, wantsReply: true))
        var received: [Member] = [], wantsReply: [Bool] = []
        for part in parts {
            var frames = OutboundFrames()
            frames.append(part)
            var splitter = FrameSplitter()
            splitter.push(frames.take(hlc: 1))
            let frame = try #require(try splitter.next())
            try frame.withUnsafeReadableBytes { bytes in
                try WireDecoder().decode(bytes) { message in
                    guard case .gossip(.sync(let some, let wants)) = message else { return }
                    received += some
                    wantsReply.append(wants)
                }
            }
        }
        #expect(received == members)
        #expect(wantsReply == [false, false, false, true])
    }

    @Test func aShortListStaysWhole() {
        let message = GossipMessage.sync(members: [], wantsReply: true)
        #expect(PeerTransport.parts(of: message) == [message])
    }
}

import Foundation
import NIOCore
import NIOPosix
import PeerCacheCore
import PeerCacheTransport
import Testing

/// SRV records, asked of a name server in this process.
@Suite struct ServiceRecordTests {
    /// Answers every question with these records, or with `code` as the result.
    private final class NameServer: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>

        let targets: [(port: UInt16, name: String)]
        let code: UInt8

        init(_ targets: [(port: UInt16, name: String)], code: UInt8) {
            self.targets = targets
            self.code = code
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var question = unwrapInboundIn(data)
            guard let id = question.data.readInteger(as: UInt16.self), question.data.readableBytes > 10 else { return }
            question.data.moveReaderIndex(forwardBy: 10)
            // The name, type and class of the one question; what follows (EDNS) is dropped.
            let bytes = Array(question.data.readableBytesView)
            var end = 0
            while end < bytes.count, bytes[end] != 0 { end += Int(bytes[end]) + 1 }
            guard end + 5 <= bytes.count else { return }
            var answer = ByteBuffer()
            answer.writeInteger(id)
            answer.writeInteger(UInt16(0x8180) | UInt16(code))
            for count in [1, UInt16(targets.count), 0, 0] { answer.writeInteger(count) }
            answer.writeBytes(bytes[..<(end + 5)])
            for target in targets {
                var record = ByteBuffer()
                for number in [UInt16(10), 20, target.port] { record.writeInteger(number) }
                for label in target.name.split(separator: ".") {
                    record.writeInteger(UInt8(label.utf8.count))
                    record.writeString(String(label))
                }
                record.writeInteger(UInt8(0))
                for number in [UInt16(0xC00C), 33, 1] { answer.writeInteger(number) }
                answer.writeInteger(UInt32(30))
                answer.writeInteger(UInt16(record.readableBytes))
                answer.writeBuffer(&record)
            }
            context.writeAndFlush(NIOAny(AddressedEnvelope(remoteAddress: question.remoteAddress, data: answer)), promise: nil)
        }
    }

    private func asking<Result>(
        _ targets: [(port: UInt16, name: String)], code: UInt8 = 0, _ body: (UInt16) async throws -> Result
    ) async throws -> Result {
        let server = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(NameServer(targets, code: code)) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        do {
            let result = try await body(UInt16(server.localAddress?.port ?? 0))
            try await server.close()
            return result
        } catch {
            try? await server.close()
            throw error
        }
    }

    @Test func everyTargetIsFoundWithItsPort() async throws {
        let found = try await asking([(7600, "localhost"), (7601, "localhost"), (7600, "localhost"), (9, "no-such-host.invalid")]) {
            try await AddressResolver.services(of: "_cache._tcp.example.org.", serverPort: $0, within: .seconds(60))
        }
        #expect(Set(found).isSuperset(of: [PeerAddress(host: "127.0.0.1", port: 7600), PeerAddress(host: "127.0.0.1", port: 7601)]))
        #expect(Set(found).count == found.count)
        #expect(!found.contains { $0.port == 9 })
    }

    /// A name server that does not answer for one name must not keep the others away.
    @Test func aSlowNameDoesNotHideTheOthers() async throws {
        let isOver = DispatchSemaphore(value: 0)
        defer { isOver.signal() }
        let targets = [(port: UInt16(1), name: "slow")] + (2...20).map { (port: UInt16($0), name: "quick") }
        let error = await #expect(throws: AddressResolutionError.self) {
            try await asking(targets) {
                try await AddressResolver.services(of: "_cache._tcp.example.org.", serverPort: $0, within: .seconds(3)) { host, port in
                    if host == "slow" { _ = isOver.wait(timeout: .now() + 30) }
                    return [PeerAddress(host: "127.0.0.1", port: port)]
                }
            }
        }
        #expect(error?.host == "slow")
        #expect(error?.isNameUnknown == false)
        #expect(error?.found == (2...20).map { PeerAddress(host: "127.0.0.1", port: $0) })
    }

    /// Discovery is asked again although the last time has no end.
    @Test func anAnswerOfDiscoveryThatDoesNotComeIsGivenUp() async throws {
        let asked = Lock(0)
        let bench = try await TransportBench {
            $0.discoveryMax = .milliseconds(50)
            $0.gossip.resolveEveryAlone = .milliseconds(100)
            $0.discovery = {
                asked.withLock { $0 += 1 }
                try await Task.sleep(for: .seconds(1000))
                return []
            }
        }
        #expect(try await eventually { asked.withLock { $0 } >= 2 })
        await bench.stop()
    }

    @Test func whatCannotBeFoundHasAReason() async throws {
        let error = await #expect(throws: AddressResolutionError.self) {
            try await asking([], code: 3) { try await AddressResolver.services(of: "_cache._tcp.example.org.", serverPort: $0) }
        }
        #expect(error?.isNameUnknown == true)
        #expect(error?.description == "cannot resolve \"_cache._tcp.example.org.\": no such name")
        let nobody = await #expect(throws: AddressResolutionError.self) {
            try await asking([(1, "no-such-host.invalid")]) {
                try await AddressResolver.services(of: "_cache._tcp.example.org.", serverPort: $0)
            }
        }
        #expect(nobody?.host == "no-such-host.invalid")
        let refused = await #expect(throws: AddressResolutionError.self) {
            try await asking([], code: 5) { try await AddressResolver.services(of: "_cache._tcp.example.org.", serverPort: $0) }
        }
        #expect(refused?.isNameUnknown == false)
    }

    /// One name that may exist is enough not to be sure that nobody is there.
    @Test func namesAreUnknownOnlyIfAllAre() async throws {
        func failure(_ failing: Set<String>) async -> AddressResolutionError? {
            await #expect(throws: AddressResolutionError.self) {
                try await AddressResolver.addresses(of: ["a", "b"].map { PeerAddress(host: $0, port: 7600) }) { host, _ in
                    throw AddressResolutionError(host: host, reason: "of the test", isNameUnknown: !failing.contains(host))
                }
            }
        }
        #expect(await failure([])?.isNameUnknown == true)
        for failing: Set<String> in [["a"], ["b"], ["a", "b"]] { #expect(await failure(failing)?.isNameUnknown == false) }
    }
}

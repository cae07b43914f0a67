import Foundation
import NIOCore
import PeerCacheCore
import PeerCacheTransport
import WireSamples

/// A peer that plays its side of an insecure handshake by itself and then sends what the test wants. Blocking: use it on ``blocking(_:)``.
final class RawPeer {
    struct Failed: Error { let call: String, errno: CInt }

    private let descriptor: CInt
    private var splitter = FrameSplitter()
    private var bytesRead = 0

    /// Runs work that blocks where it may: on a thread of its own, as tests that run side by side would wait for each other on a shared one.
    static func blocking<Success: Sendable>(_ body: @escaping @Sendable () throws -> Success) async throws -> Success {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
        }
    }

    /// Of a connection that was accepted.
    fileprivate init(descriptor: CInt) {
        self.descriptor = descriptor
        setPatience()
    }

    /// - Parameters:
    ///   - host: the last byte of the loopback address to dial from.
    ///   - windowBytes: what the kernel takes in for us before we read it, about; 0: the system's choice.
    init(port: UInt16, from host: UInt8 = 1, windowBytes: CInt = 0) throws {
        descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        if windowBytes > 0 {
            var bytes = windowBytes
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout.size(ofValue: bytes)))
        }
        let result = Self.withAddress(host, 0) { bind(descriptor, $0, $1) }
        guard result == 0 else { throw Failed(call: "bind", errno: errno) }
        let connected = Self.withAddress(1, port) { connect(descriptor, $0, $1) }
        guard connected == 0 else { throw Failed(call: "connect", errno: errno) }
        setPatience()
    }

    private func setPatience() {
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout.size(ofValue: patience)))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout.size(ofValue: patience)))
    }

    deinit { close(descriptor) }

    fileprivate static func withAddress(_ host: UInt8, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt) -> CInt {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = (0x7F00_0000 | UInt32(host)).bigEndian
        let size = socklen_t(MemoryLayout.size(ofValue: address))
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) }
        }
    }

    /// Hello, finish and hello frame at once: without a secret the finish is known before the answer.
    static func introduction(
        of id: PeerID, _ configuration: HandshakeConfiguration, _ settings: SettingsFingerprint, hlc: UInt64 = 0
    ) -> [UInt8] {
        DialerHandshake(configuration, expecting: nil).hello + [UInt8](repeating: 0, count: HandshakeSize.finish)
            + helloFrame(of: id, port: 1, settings, hlc)
    }

    private static func helloFrame(of id: PeerID, port: UInt16, _ settings: SettingsFingerprint, _ hlc: UInt64 = 0) -> [UInt8] {
        var record = MemberRecord(id: id, address: PeerAddress(host: "127.0.0.1", port: port))
        record.weight = 0
        return SampleFrame.bytes(of: [.hello(record, settings)], hlc: hlc)
    }

    /// The listener's side of the handshake, as a peer that is reached at `port`. False: the other end has closed.
    func welcome(as id: PeerID, port: UInt16, _ configuration: HandshakeConfiguration, _ settings: SettingsFingerprint) -> Bool {
        var handshake = ListenerHandshake(configuration)
        guard let hello = read(count: HandshakeSize.hello), case .answer(let answer) = handshake.handle(hello: hello), write(answer),
            read(count: HandshakeSize.finish) != nil
        else { return false }
        return write(Self.helloFrame(of: id, port: port, settings))
    }

    /// False: the other end has closed.
    func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// The next frames, or nil at the end of the stream.
    func read() -> [OwnedMessage]? {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        guard count > 0 else { return nil }
        bytesRead += count
        splitter.push(.init(bytes: bytes.prefix(count)))
        var messages: [OwnedMessage] = []
        while let frame = (try? splitter.next()) ?? nil {
            messages += (try? SampleFrame.decode(Array(frame.readableBytesView)).get()) ?? []
        }
        return messages
    }

    /// Reads until a message fits; how many bytes came until then, or nil at the end of the stream.
    func bytes(until isWanted: (OwnedMessage) -> Bool) -> Int? {
        let before = bytesRead
        while let messages = read() {
            if messages.contains(where: isWanted) { return bytesRead - before }
        }
        return nil
    }

    /// Skips the answer to our hello.
    func readAnswer() -> Bool { read(count: HandshakeSize.answer) != nil }

    private func read(count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return recv(descriptor, &bytes, count, CInt(MSG_WAITALL)) == count ? bytes : nil
    }

    /// All frames up to the end of the stream.
    func readAll() -> [OwnedMessage] {
        var messages: [OwnedMessage] = []
        while let more = read() { messages += more }
        return messages
    }

    func closeBothWays() { shutdown(descriptor, CInt(SHUT_RDWR)) }

    /// Makes the close a reset.
    func closeByReset() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout.size(ofValue: option)))
    }
}

/// A listening socket whose connections a test handles by itself.
final class RawListener {
    private let descriptor: CInt
    let address: PeerAddress

    /// - Parameter backlog: connections that the kernel finishes before they are accepted, about.
    init(backlog: CInt = 64) throws {
        let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        self.descriptor = descriptor
        guard RawPeer.withAddress(1, 0, { bind(descriptor, $0, $1) }) == 0, listen(descriptor, backlog) == 0 else {
            throw RawPeer.Failed(call: "listen", errno: errno)
        }
        var bound = sockaddr_in(), size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &bound) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
        }
        guard result == 0 else { throw RawPeer.Failed(call: "getsockname", errno: errno) }
        address = PeerAddress(host: "127.0.0.1", port: UInt16(bigEndian: bound.sin_port))
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout.size(ofValue: patience)))
    }

    deinit { close(descriptor) }

    /// The next connection, or nil when none came for 20 s or the listener was closed.
    func accept() -> RawPeer? {
        let accepted = systemAccept(descriptor)
        return accepted < 0 ? nil : RawPeer(descriptor: accepted)
    }

    /// Wakes who waits in ``accept()``; later dials are refused.
    func stop() { shutdown(descriptor, CInt(SHUT_RDWR)) }
}

private func systemAccept(_ descriptor: CInt) -> CInt { accept(descriptor, nil, nil) }

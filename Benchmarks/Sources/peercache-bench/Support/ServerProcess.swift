import ArgumentParser
import Foundation

/// A server program of our own on a free port, that ends with this process, however that one ends.
final class ServerProcess {
    let port: Int
    let processIdentifier: Int32
    private let shell: ChildProcess

    /// Keeps nothing on disk. A replica writes what it gets from its server into its folder.
    static func redis(_ options: String = "") throws -> ServerProcess {
        try ServerProcess("redis-server --port PORT --bind 127.0.0.1 --dir FOLDER --save '' --appendonly no \(options)")
    }

    /// - Parameter command: a shell's command with `PORT` where the port belongs, `OTHER` for another one, and `FOLDER` for an empty folder
    ///   that goes with the server.
    init(_ command: String) throws {
        port = try Self.freePort()
        let command = command.replacing("PORT", with: "\(port)").replacing("OTHER", with: "\(try Self.freePort())")
            .replacing("FOLDER", with: "\"$folder\"")
        // The shell stays until its input closes, also after an interrupt, and takes the server with it.
        shell = try ChildProcess(
            "/bin/sh",
            [
                "-c",
                "trap '' INT TERM HUP; folder=$(mktemp -d); cd \"$folder\"; \(command) >/dev/null & "
                    + "echo $!; cat >/dev/null; kill -9 $!; wait; rm -r \"$folder\"",
            ])
        processIdentifier = try Int32(shell.readLine()) ?? 0
        for _ in 0..<200 {
            if let connection = try? TextConnection(port: port) {
                connection.end()
                return
            }
            usleep(20_000)
        }
        throw ValidationError("\(command) does not listen")
    }

    func stop() { shell.stop() }

    /// A port that the kernel chose. Free again when this returns, and not given to anybody else soon.
    private static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        var address = sockaddr_in.loopback(port: 0)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isBound else { throw ValidationError("no free port on 127.0.0.1: \(String(cString: strerror(errno)))") }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}

/// A connection to a server with a protocol of lines. Blocks.
struct TextConnection {
    private let descriptor: Int32

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let address = sockaddr_in.loopback(port: UInt16(truncatingIfNeeded: port))
        let result = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            end()
            throw ValidationError("nothing listens at port \(port)")
        }
    }

    func end() { close(descriptor) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + sent }, $0.count - sent) }
            guard count > 0 else { throw ValidationError("the server closed the connection") }
            sent += count
        }
    }

    /// Everything until `text` came last.
    func receive(until text: String) throws -> String {
        var received: [UInt8] = [], part = [UInt8](repeating: 0, count: 65_536)
        while !received.suffix(text.utf8.count).elementsEqual(text.utf8) {
            let count = read(descriptor, &part, part.count)
            guard count > 0 else { throw ValidationError("the server closed the connection") }
            received += part[..<count]
        }
        return String(decoding: received, as: UTF8.self)
    }

    /// Reads and forgets so many bytes.
    func skip(_ count: Int) throws {
        var left = count, part = [UInt8](repeating: 0, count: 65_536)
        while left > 0 {
            let count = read(descriptor, &part, min(left, part.count))
            guard count > 0 else { throw ValidationError("the server closed the connection") }
            left -= count
        }
    }
}

extension sockaddr_in {
    fileprivate static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }
}

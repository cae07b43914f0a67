import ArgumentParser
import Foundation

/// Servers whose memory per entry is compared.
enum OtherServer: String, CaseIterable {
    case redis, memcached

    struct Overhead {
        var name: String
        /// Bytes per entry beyond key and value, by its own count.
        var counted: Double
        /// The same by resident memory.
        var resident: Double
    }

    /// Starts the server, fills it, reads its counters and stops it; nil when it is not installed.
    func overhead(_ shape: MemoryShape) throws -> Overhead? {
        guard ChildProcess.output(of: self == .redis ? "redis-server" : "memcached", ["--version"]) != nil else {
            Report.progress("\(rawValue) is not installed: no comparison")
            return nil
        }
        let megabytes = max(64, (shape.entries * (shape.valueBytes + 400)) >> 20)
        let server =
            try self == .redis
            ? ServerProcess.redis() : ServerProcess("memcached -p PORT -l 127.0.0.1 -U 0 -m \(megabytes) -u $(id -un)")
        defer { server.stop() }
        let connection = try TextConnection(port: server.port)
        defer { connection.end() }
        usleep(300_000)
        let countedBefore = try counted(connection), residentBefore = ResidentMemory.exact("\(server.processIdentifier)")
        try fill(connection, shape)
        sleep(2)  // memcached's table grows in the background and then frees the old one
        let bytes = try Double(counted(connection) - countedBefore)
        let resident = Double(ResidentMemory.exact("\(server.processIdentifier)") - residentBefore)
        let entries = Double(shape.entries), payload = Double(Workload.keyBytes + shape.valueBytes)
        return Overhead(name: rawValue, counted: bytes / entries - payload, resident: resident / entries - payload)
    }

    private func fill(_ connection: TextConnection, _ shape: MemoryShape) throws {
        let value = [UInt8](repeating: UInt8(ascii: "x"), count: shape.valueBytes)
        for start in stride(from: 0, to: shape.entries, by: 1000) {
            let numbers = start..<min(shape.entries, start + 1000)
            var text: [UInt8] = []
            for number in numbers {
                let key = Workload.key(number)
                switch self {
                case .redis: text += "*3\r\n$3\r\nSET\r\n$\(key.utf8.count)\r\n\(key)\r\n$\(value.count)\r\n".utf8
                case .memcached: text += "set \(key) 0 0 \(value.count)\r\n".utf8
                }
                text += value
                text += "\r\n".utf8
            }
            try connection.send(text)
            try connection.skip(numbers.count * (self == .redis ? "+OK\r\n" : "STORED\r\n").utf8.count)
        }
    }

    /// Bytes by the server's own count: redis's `used_memory`, memcached's slab pages.
    private func counted(_ connection: TextConnection) throws -> Int {
        switch self {
        case .redis:
            try connection.send(Array("INFO memory\r\nECHO end-of-info\r\n".utf8))
            return Self.number(after: "used_memory:", in: try connection.receive(until: "end-of-info\r\n"))
        case .memcached:
            try connection.send(Array("stats slabs\r\n".utf8))
            return Self.number(after: "total_malloced ", in: try connection.receive(until: "END\r\n"))
        }
    }

    private static func number(after name: String, in text: String) -> Int {
        text.firstRange(of: name).flatMap { Int(text[$0.upperBound...].prefix { $0.isNumber }) } ?? 0
    }
}

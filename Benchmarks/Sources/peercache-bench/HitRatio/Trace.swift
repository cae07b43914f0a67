import Foundation

/// A recorded sequence of requests: `NAME.bin.zst`, in it little-endian `count: UInt32, unique: UInt32`, then `count` times
/// `id: UInt32, size: UInt32`.
struct Trace {
    struct Failure: Error, CustomStringConvertible { var description: String }

    struct Request {
        var id: Int
        var size: Int
    }
    let requests: [Request]

    /// Unpacks with the `zstd` command.
    /// - Throws: when the file or the command is missing, or the content is not of the format.
    init(_ file: URL) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["zstd", "--quiet", "--decompress", "--stdout", file.path]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let data = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failure(description: "zstd could not unpack \(file.path)") }
        requests = try data.withUnsafeBytes { bytes in
            func word(_ index: Int) -> Int { Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))) }
            guard bytes.count >= 8, bytes.count == 8 + word(0) * 8 else { throw Failure(description: "\(file.path) is not a trace") }
            let unique = word(1)
            return try (0..<word(0)).map { number in
                let request = Request(id: word(2 + number * 2), size: word(3 + number * 2))
                guard request.id < unique else { throw Failure(description: "\(file.path): id \(request.id) is out of range") }
                return request
            }
        }
    }
}

import ArgumentParser
import Foundation

/// One of the programs that `Benchmarks/Peers/build` makes: another cache, filled with the same keys, that does the same work when told to.
final class PeerProgram {
    enum System: String, CaseIterable {
        case groupcache, fastcache
        case caffeine = "Caffeine"
    }

    let system: System
    private let process: ChildProcess

    var processIdentifier: Int32 { process.processIdentifier }

    /// Where the programs are unless told otherwise.
    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../Peers/.build").standardized.path

    /// Starts the program and waits until it has filled its cache; nil when it was not built.
    /// - Parameter room: entries that the cache may hold.
    init?(_ system: System, in folder: String, _ workload: Workload, valueBytes: Int, room: Int) throws {
        let isJava = system == .caffeine
        guard FileManager.default.fileExists(atPath: folder + (isJava ? "/CaffeinePeer.class" : "/go-peer")) else { return nil }
        let arguments = ["\(workload.keyCount)", "\(valueBytes)", "\(room)"] + workload.files
        self.system = system
        process =
            isJava
            ? try ChildProcess("java", ["-Xmx4g", "-cp", "/usr/share/java/caffeine.jar:\(folder)", "CaffeinePeer"] + arguments)
            : try ChildProcess(folder + "/go-peer", [system.rawValue] + arguments)
        _ = try process.readLine()
    }

    private struct Answer: Decodable {
        var nanoseconds: [Double]
        var used: [Double]
        var operations: Int
        var misses: Int
    }

    /// Blocks.
    func run(_ operation: String, threads: Int, seconds: Double) throws -> ThreadResult {
        try process.send("\(operation) \(threads) \(seconds)")
        let answer = try process.answer(Answer.self)
        return ThreadResult(
            nanoseconds: answer.nanoseconds, used: answer.used, operations: answer.operations, misses: answer.misses)
    }

    func stop() { process.stop() }

    /// Versions by name, as the build noted them.
    static func versions(in folder: String) -> [String: String] {
        guard let data = FileManager.default.contents(atPath: folder + "/versions.json") else { return [:] }
        return (try? JSONDecoder().decode([String: String].self, from: data)) ?? [:]
    }
}

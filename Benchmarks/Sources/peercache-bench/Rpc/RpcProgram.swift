import ArgumentParser
import Foundation

/// Our callers in Go (`Benchmarks/Peers/rpc`), on a memcached of our own or on groupcache over HTTP, two of whose peers have the keys.
final class RpcProgram: Rival {
    enum System: String { case memcached, groupcache }

    private let system: System
    private let callers: ChildProcess
    private let server: ServerProcess?
    private let peers: [ChildProcess]

    /// Returns when the keys are filled; nil when the system is not installed or the program not built.
    init?(_ system: System, in folder: String, keys: Int, valueBytes: Int) throws {
        let program = folder + "/rpc-load"
        guard FileManager.default.fileExists(atPath: program),
            system == .groupcache || ChildProcess.output(of: "memcached", ["--version"]) != nil
        else {
            Report.progress("\(system.rawValue): not installed, or Benchmarks/Peers/build did not run: no comparison")
            return nil
        }
        self.system = system
        switch system {
        case .memcached:
            let server = try ServerProcess("memcached -p PORT -l 127.0.0.1 -U 0 -m 1024 -c 4096 -u $(id -un)")
            self.server = server
            peers = []
            callers = try ChildProcess(program, ["memcached", "\(server.port)", "\(keys)", "\(valueBytes)"])
        case .groupcache:
            server = nil
            peers = try (0..<2).map { _ in try ChildProcess(program, ["groupcache-peer", "\(valueBytes)"]) }
            let urls = try peers.map { try $0.readLine() }.joined(separator: ",")
            callers = try ChildProcess(program, ["groupcache", urls, "\(keys)", "\(valueBytes)"])
        }
        _ = try callers.readLine()
    }

    func name(of operation: RpcLoad.Operation) -> String? {
        switch (system, operation) {
        case (.memcached, .remove): "memcached delete"
        case (.memcached, _): "memcached \(operation)"
        case (.groupcache, .get): "groupcache Get"
        case (.groupcache, _): nil
        }
    }

    func run(_ operation: RpcLoad.Operation, callers count: Int, seconds: Double) throws -> LoadResult {
        try callers.send("\(operation) \(count) \(seconds)")
        return try callers.answer(LoadResult.self)
    }

    func stop() {
        callers.stop()
        for peer in peers { peer.stop() }
        server?.stop()
    }
}

import Foundation
import Synchronization

/// Loader calls of all processes, by second.
final class LoadLog: Sendable {
    private let seconds = Mutex<[UInt64: Int]>([:])

    func add(_ count: Int) { if count > 0 { seconds.withLock { $0[Clock.nanoseconds / 1_000_000_000, default: 0] += count } } }

    var total: Int { seconds.withLock { $0.values.reduce(0, +) } }

    func count(_ second: UInt64) -> Int { seconds.withLock { $0[second] ?? 0 } }
}

/// A process of ``DeployCommand`` and what it said last.
final class DeployChild {
    private struct State {
        var isReady = false
        var loads = 0
        var members = 0
        var reasons = ""
    }
    private final class Shared: Sendable { let state = Mutex(State()) }

    let address: String
    private let process: ChildProcess
    private let shared = Shared()

    init(seeds: [String], _ log: LoadLog) throws {
        process = try ChildProcess.another(["deploy-peer"] + seeds.flatMap { ["--seed", $0] })
        var line = ""
        while !line.hasPrefix("listens ") { line = try process.readLine() }
        address = String(line.dropFirst("listens ".count))
        process.forEachLine { [shared] line in
            let words = line.split(separator: " ", maxSplits: 4)
            guard words.count >= 4, words[0] == "state", let loads = Int(words[2]), let members = Int(words[3]) else { return }
            let reasons = words.count > 4 ? String(words[4]) : ""
            let more = shared.state.withLock { state in
                defer { state = State(isReady: words[1] == "true", loads: loads, members: members, reasons: reasons) }
                return loads - state.loads
            }
            log.add(more)
        }
    }

    var description: String {
        shared.state.withLock { "\($0.isReady ? "ready" : "not ready: \($0.reasons)") with \($0.members) members" }
    }

    func isReady(members: Int) -> Bool { shared.state.withLock { $0.isReady && $0.members == members } }

    /// As Kubernetes does it. Returns when the process has ended.
    func terminate() {
        kill(process.processIdentifier, SIGTERM)
        process.waitForExit()
    }

    func killAtOnce() { process.kill() }
}

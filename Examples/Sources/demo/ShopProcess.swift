import Foundation
import NIOCore
import NIOPosix
import Subprocess
import Synchronization
import SystemPackage

/// One `shop` process that the demo started.
///
/// It ends when the task in `run` is cancelled: SIGTERM, then SIGKILL. When the demo itself is killed, the kernel closes the
/// pipe to its standard input, and the shop stops by itself (`--exit-with-parent`).
final class ShopProcess: Sendable {
    struct EndedEarly: Error, CustomStringConvertible {
        var name: String
        var status: String
        var log: String
        var description: String { "\(name) ended while it was needed (\(status)); its log is \(log)" }
    }

    /// What all shops of a run share.
    struct Settings: Sendable {
        var executable: String
        var database: String
        var logFolder: String
        var cluster: String
        var secret: String
    }

    let name: String
    /// Address of its cache peer, as the other shops know it.
    let peer: String
    let recorder = Recorder()
    var log: String { "\(settings.logFolder)/\(name).log" }

    private let settings: Settings
    private let peerPort: Int
    private let peers: [String]
    private let listening: EventLoopPromise<Int>
    private let ended: EventLoopPromise<TerminationStatus>
    private let state = Mutex(State())

    private struct State {
        var processID: pid_t?
        var isListening = false
        var isStopping = false
        var isRetired = false
    }

    /// - Parameter peers: Addresses of the cache peers to ask for the cluster; its own may be among them.
    init(name: String, peerPort: Int, peers: [String], settings: Settings) {
        self.name = name
        self.peerPort = peerPort
        self.peer = "127.0.0.1:\(peerPort)"
        self.peers = peers
        self.settings = settings
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        listening = loop.makePromise()
        ended = loop.makePromise()
    }

    /// Starts the process and returns when it has ended. Must be called exactly once, or `abandon` instead.
    func run() async {
        do {
            var options = PlatformOptions()
            options.processGroupID = 0  // Ctrl-C goes to the demo alone, which then stops its shops in its own order
            options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(5))]
            let log = try FileDescriptor.open(
                FilePath(log), .writeOnly, options: [.create, .append, .closeOnExec], permissions: .ownerReadWrite)
            let result = try await Subprocess.run(
                .path(FilePath(settings.executable)), arguments: Arguments(arguments),
                environment: .inherit.updating(["SHOP_SECRET": settings.secret]), platformOptions: options,
                input: .inputWriter, output: .sequence, error: .fileDescriptor(log, closeAfterSpawningProcess: true)
            ) { execution in
                self.state.withLock { $0.processID = execution.processIdentifier.value }
                defer { self.state.withLock { $0.processID = nil } }
                for try await line in execution.standardOutput.strings() {
                    guard let port = Self.httpPort(in: line) else { continue }
                    self.state.withLock { $0.isListening = true }
                    self.listening.succeed(port)
                }
            }
            finish(result.terminationStatus)
        } catch {
            listening.fail(error)
            ended.fail(error)
        }
    }

    /// Instead of `run`, when it will not be called: nobody waits for the process then.
    func abandon() {
        listening.fail(CancellationError())
        ended.fail(CancellationError())
    }

    private func finish(_ status: TerminationStatus) {
        listening.fail(EndedEarly(name: name, status: "\(status)", log: log))
        ended.succeed(status)
    }

    private var arguments: [String] {
        [
            "--port", "0", "--peer-port", "\(peerPort)", "--peers", peers.joined(separator: ","),
            "--database", settings.database, "--cluster", settings.cluster, "--exit-with-parent",
        ]
    }

    /// The port in `listening http=127.0.0.1:8080 peer=127.0.0.1:7600`.
    private static func httpPort(in line: String) -> Int? {
        guard line.hasPrefix("listening http=") else { return nil }
        return line.split(separator: " ")[1].split(separator: ":").last.flatMap { Int($0) }
    }

    /// The HTTP port, as soon as the shop answers on it.
    func httpPort() async throws -> Int {
        try await listening.futureResult.get()
    }

    /// Whether it has answered yet; `httpPort` waits for that.
    var isListening: Bool { state.withLock { $0.isListening } }

    /// How the process ended, when it has.
    func termination() async throws -> TerminationStatus {
        try await ended.futureResult.get()
    }

    /// Whether callers may send it requests.
    var takesTraffic: Bool { state.withLock { !$0.isRetired } }

    /// Whether it was told to stop.
    var isStopping: Bool { state.withLock { $0.isStopping } }

    /// SIGKILL; no requests are sent to it any more.
    func kill() {
        signal(SIGKILL) { $0.isRetired = true }
    }

    /// SIGTERM; requests go on until one of them fails.
    func terminate() {
        signal(SIGTERM) { $0.isStopping = true }
    }

    private func signal(_ number: Int32, _ change: (inout State) -> Void) {
        state.withLock { state in
            change(&state)
            guard let processID = state.processID else { return }
            _ = Foundation.kill(processID, number)
        }
    }
}

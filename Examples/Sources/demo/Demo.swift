import ArgumentParser
import Foundation
import UnixSignals

/// Starts a cluster of shops, shows it under load, and checks what a cache cluster promises.
@main
struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Three shops on this machine, under load: how they cache for each other, and what happens when one dies.",
        discussion: "Exits with 0 when all checks passed, 1 when one failed, 128 + the signal when interrupted. No process is left behind.")

    @Flag(help: "Print one JSON object per check and nothing else.")
    var json = false

    @Option(help: "The run ends after so many seconds; checks that were not reached have failed then. 30...3600.")
    var seconds = 110

    @Option(help: "HTTP requests per second, over all instances. 1...1000000.")
    var rate = 3_000

    @Option(help: "Callers per instance, each with one connection. 1...1000.")
    var callers = 16

    @Option(help: "Exponent of the Zipf distribution over the products: 0 is uniform. 0...3.")
    var zipf = 0.99

    @Option(help: "Seed of the traffic.")
    var seed: UInt64 = 1

    func validate() throws {
        guard (30...3_600).contains(seconds) else { throw ValidationError("--seconds is \(seconds); write 30...3600.") }
        guard (1...1_000_000).contains(rate) else { throw ValidationError("--rate is \(rate); write 1...1000000.") }
        guard (1...1_000).contains(callers) else { throw ValidationError("--callers is \(callers); write 1...1000.") }
        guard (0...3).contains(zipf) else { throw ValidationError("--zipf is \(zipf); write 0...3.") }
    }

    private enum End: Sendable {
        case finished
        case failed(String)
        case timeIsUp
        case interrupted(UnixSignal)
    }

    func run() async throws {
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup)
        let screen = Screen(isSilent: json)
        let report = Report(screen: screen)
        let folder = FileManager.default.temporaryDirectory.appending(path: "peercache-demo-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)

        // Whatever ends first ends the rest; the group returns when the last process has ended.
        let end = await withTaskGroup(of: End?.self) { group in
            let performance = Performance(demo: self, folder: folder, screen: screen, report: report)
            group.addTask {
                do { try await performance.run() } catch { return .failed("\(error)") }
                return .finished
            }
            group.addTask {
                for await signal in signals { return .interrupted(signal) }
                return nil
            }
            group.addTask { [seconds] in
                do { try await Task.sleep(for: .seconds(seconds)) } catch { return nil }
                return .timeIsUp
            }
            var first: End?
            while first == nil, let next = await group.next() { first = next }
            screen.keepTable()
            group.cancelAll()
            return first ?? .finished
        }

        var exitCode: Int32 = 0
        switch end {
        case .finished: break
        case .failed(let why): report.complete(Performance.checks, why: why)
        case .timeIsUp: report.complete(Performance.checks, why: "not done within \(seconds) seconds")
        case .interrupted(let signal):
            report.complete(Performance.checks, why: "interrupted")
            exitCode = 128 + signal.rawValue
        }
        report.finish(json: json)
        if report.hasFailures, exitCode == 0 { exitCode = 1 }
        if exitCode != 1 {  // nobody reads the logs of a run that passed or was interrupted
            try? FileManager.default.removeItem(atPath: folder)
        } else {
            FileHandle.standardError.write(Data("The logs of the instances are in \(folder)\n".utf8))
        }
        throw ExitCode(exitCode)
    }
}

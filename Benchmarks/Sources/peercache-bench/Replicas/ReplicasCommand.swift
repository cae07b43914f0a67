import ArgumentParser
import PeerCacheBenchSupport

/// Deploys on virtual time: whether slots that move ever serve what was replaced.
struct ReplicasCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replicas",
        abstract: "Simulates deploys and crashes, and checks every read.",
        discussion: """
            Each seed is a cluster of real stores and replica machines on virtual time, with 2,000 reads and writes while peers join, leave and \
            crash. A read older than what was written before it began, holders that differ in the end, or work that never ends is a failure; \
            its seed is printed and repeats it. The exit status tells.
            """)

    @Option(help: "The first seed.") var seed: UInt64 = 1
    @Option(help: "Seeds.") var count = 200
    @Option(help: "End earlier after so many minutes.") var minutes = Int.max

    func validate() throws {
        guard count >= 1, minutes >= 1, seed <= .max - UInt64(count) else {
            throw ValidationError("--count and --minutes must be positive")
        }
    }

    func run() throws {
        let end = Clock.nanoseconds.addingReportingOverflow(UInt64(minutes).multipliedReportingOverflow(by: 60_000_000_000).partialValue)
        var (runs, failures, hits, loads, warm, moves, crashes, repairs) = (0, 0, 0, 0, 0, 0, 0, 0)
        for seed in seed..<seed + UInt64(count) {
            guard end.overflow || minutes > 1_000_000 || Clock.nanoseconds < end.partialValue else { break }
            let run = try ReplicaRun(seed: seed)
            runs += 1
            hits += run.hits
            loads += run.loads
            warm += run.warmHits
            moves += run.joins + run.leaves
            crashes += run.crashes
            repairs += run.repairs
            if let problem = run.problem {
                failures += 1
                print("--seed \(seed) --count 1: \(problem)")
            }
        }
        print(
            "\(runs) runs: \(hits) hits, \(warm) of them from former owners, \(loads) loads, \(moves) joins and leaves, \(crashes) crashes, "
                + "\(repairs) repairs; \(failures) failed")
        if failures > 0 || hits == 0 || warm == 0 || moves == 0 { throw ExitCode.failure }
    }
}

import ArgumentParser
import Foundation
import PeerCacheBenchSupport
import Synchronization

/// Random histories on virtual time, checked against the contract.
@main
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peercache-sim",
        abstract: "Runs random histories of caches on virtual time, and checks each.",
        discussion: """
            Stores, voters, reads, writes and the wire codec are the library's own; losses, delays, crashes, splits, evictions and the order of \
            all events come from the seed. Histories of strict caches must be linearizable but for misses; fast caches are checked while peers \
            join, leave and crash. A failure prints the command that repeats it. The last line and the exit status tell.

            With --mutant the library makes a mistake, and it is a failure when no seed finds it.
            """)

    @Option(help: "The first seed.") var seed: UInt64 = 1
    @Option(help: "Seeds.") var count: UInt64 = 20_000
    @Option(help: "Seeds of a long run; instead of --count.") var nightly: UInt64?
    @Option(help: "End earlier after so many minutes.") var minutes: UInt64?
    @Option(help: "One profile instead of all in turn: \(HistoryRun.profiles.joined(separator: ", ")).") var profile: String?
    @Option(help: "A mistake: \(HistoryRun.mutants.joined(separator: ", ")).") var mutant: String?
    @Option(help: "Threads; all cores unless given.") var threads: Int?
    @Flag(help: "Print what happens, on one thread.") var trace = false
    @Flag(help: "Print a hash of all that happened, to be compared with another process.") var hash = false

    /// Seeds that another process runs again.
    private static let comparedMax: UInt64 = 50
    /// With so many seeds, everything that is counted has to happen.
    private static let enough: UInt64 = 20_000

    private var total: UInt64 { nightly ?? count }

    func validate() throws {
        guard total >= 1, seed <= .max - total, threads ?? 1 >= 1, minutes ?? 1 >= 1 else {
            throw ValidationError("--count, --nightly, --minutes and --threads must be positive")
        }
        if let profile, !HistoryRun.profiles.contains(profile) { throw ValidationError("no profile \(profile)") }
        if let mutant, !HistoryRun.mutants.contains(mutant) { throw ValidationError("no mutant \(mutant)") }
    }

    private struct Sums {
        var next: UInt64
        var runs = 0
        var failures = 0
        var order: [String] = []
        var counters: [String: Int] = [:]  // looked up, never iterated
        /// Of the seeds that another process runs again, whatever their order.
        var hash: UInt64 = 0

        mutating func add(_ counters: [(name: String, count: Int)]) {
            for (name, count) in counters {
                if self.counters[name] == nil { order.append(name) }
                self.counters[name, default: 0] += count
            }
        }
    }

    func run() throws {
        let shared = try HistoryRun.Shared()
        let sums = Mutex(Sums(next: seed))
        let (clock, began) = (ContinuousClock(), ContinuousClock.now)
        let end = minutes.map { began + .seconds(Double($0) * 60) }
        let threads = trace ? 1 : threads ?? ProcessInfo.processInfo.activeProcessorCount
        DispatchQueue.concurrentPerform(iterations: threads) { _ in
            while let seed = sums.withLock({ take(&$0) }) {
                if let end, clock.now >= end { return }
                one(seed, shared, sums)
            }
        }
        let result = sums.withLock { $0 }
        if hash { return print(String(result.hash, radix: 16)) }
        try finish(result, clock.now - began)
    }

    private func take(_ sums: inout Sums) -> UInt64? {
        guard sums.next < seed + total, mutant == nil || sums.failures == 0 else { return nil }
        sums.next += 1
        return sums.next - 1
    }

    private func one(_ seed: UInt64, _ shared: HistoryRun.Shared, _ sums: borrowing Mutex<Sums>) {
        let profile = profile ?? HistoryRun.profile(of: seed)
        let problem: String?
        var run: HistoryRun?
        do {
            let first = try HistoryRun(seed: seed, profile: profile, mutant: mutant, shared: shared, trace: trace ? { print($0) } : nil)
            run = first
            let isRepeated = seed % 50 == 0 && mutant == nil
            let isSame = try !isRepeated || HistoryRun(seed: seed, profile: profile, shared: shared).hash == first.hash
            problem = first.problem ?? (isSame ? nil : "the second run differs from the first")
        } catch {
            problem = "\(error)"
        }
        sums.withLock { sums in
            sums.runs += 1
            if let run {
                sums.add(run.counters)
                if seed - self.seed < Self.comparedMax { sums.hash ^= run.hash &* (2 &* seed &+ 1) }
            }
            guard let problem else { return }
            sums.failures += 1
            if hash { return }
            let mistake = mutant.map { " --mutant \($0)" } ?? ""
            print("peercache-sim --seed \(seed) --count 1 --profile \(profile)\(mistake): \(problem)")
        }
    }

    private func finish(_ sums: Sums, _ duration: Duration) throws {
        print(sums.order.map { "\($0) \(sums.counters[$0] ?? 0)" }.joined(separator: ", "))
        let seconds = Int(duration.components.seconds)
        if let mutant {
            print("\(mutant): \(sums.failures > 0 ? "found" : "not found") in \(sums.runs) histories, \(seconds) s")
            if sums.failures == 0 { throw ExitCode.failure }
            return
        }
        var failures: [String] = []
        if sums.failures > 0 { failures.append("\(sums.failures) failed") }
        if profile == nil, total >= Self.enough, sums.runs >= Int(clamping: Self.enough) {
            failures += sums.order.filter { sums.counters[$0] == 0 }.map { "never: \($0)" }
        }
        if try hashOfAnotherProcess() != String(sums.hash, radix: 16) { failures.append("another process ran the same seeds otherwise") }
        print("\(sums.runs) histories in \(seconds) s: \(failures.isEmpty ? "all right" : failures.joined(separator: "; "))")
        if !failures.isEmpty { throw ExitCode.failure }
    }

    /// Of the first seeds: hash tables have another order there.
    private func hashOfAnotherProcess() throws -> String {
        let process = Process(), output = Pipe()
        process.executableURL = Bundle.main.executableURL
        process.arguments =
            ["--seed", "\(seed)", "--count", "\(min(total, Self.comparedMax))", "--hash", "--threads", "1"]
            + (profile.map { ["--profile", $0] } ?? [])
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

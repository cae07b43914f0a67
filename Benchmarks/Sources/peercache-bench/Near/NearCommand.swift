import ArgumentParser
import PeerCache

/// Hits of near copies by `Cache.peek`, next to groupcache and Caffeine.
struct NearCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "near",
        abstract: "Near hits by peek, next to groupcache and Caffeine.",
        discussion: """
            Nanoseconds per peek and thread of a running peer, through the public API. Keys are strings of 17 bytes and chosen by Zipf's law; \
            each thread has its own strings and its own core. Values have 100 bytes: numbers without any reference, or one object with them. \
            groupcache gets a view without a copy, Caffeine hands out a reference.
            """)

    @OptionGroup var options: ContestOptions
    @Option(help: "Kinds of value, separated by commas: plain, object.") var values = "plain,object"

    func validate() throws { _ = try chosenValues }

    private enum Kind: String { case plain, object }
    private var chosenValues: [Kind] {
        get throws {
            try values.split(separator: ",").map {
                guard let kind = Kind(rawValue: String($0)) else { throw ValidationError("--values: \"\($0)\" is not allowed") }
                return kind
            }
        }
    }

    func run() async throws {
        options.printMachine()
        var contest = Contest(options)
        for keyCount in try options.keyCounts {
            let workload = try options.workload(keyCount: keyCount)
            var runs: [any NearRun] = []
            for kind in try chosenValues {
                switch kind {
                case .plain: runs.append(try await PlainRun(NearPeer(workload, PlainValue.codec) { PlainValue($0) }))
                case .object: runs.append(try await ObjectRun(NearPeer(workload, ObjectValue.codec) { ObjectValue(PlainValue($0)) }))
                }
            }
            let programs = try options.start([.groupcache, .caffeine], workload, room: keyCount + keyCount / 20)
            do { try await turns(keyCount, runs, programs, &contest) } catch {
                for run in runs { await run.stop() }
                throw error
            }
            for run in runs { await run.stop() }
            for program in programs { program.stop() }
        }
        contest.report(asJSON: options.json)
    }

    private func turns(_ keyCount: Int, _ runs: [any NearRun], _ programs: [PeerProgram], _ contest: inout Contest) async throws {
        let others = programs.map { ($0, $0.system == .groupcache ? "view" : "get") }
        for round in 1...options.rounds {
            Report.progress("near, \(keyCount) keys: round \(round) of \(options.rounds)")
            for run in runs {
                let name = "near.peek.\(run.name).\(keyCount)"
                var means: [Int: Double] = [:]
                for threads in try options.threadCounts {
                    means[threads] = try await contest.turn(name, threads: threads, seconds: options.seconds, others: others) { threads in
                        await PinnedThreads.run(threads, seconds: options.seconds) { run.peek(work: $0) }
                    }
                }
                contest.addScaling(name, means)
            }
        }
        for run in runs { try run.check() }
    }
}

import ArgumentParser
import PeerCacheBenchSupport

/// Copies out of the byte store and sets with eviction, next to groupcache, fastcache and Caffeine.
struct StoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store",
        abstract: "Reads and writes of the byte store, next to groupcache, fastcache and Caffeine.",
        discussion: """
            Nanoseconds per operation and thread. Keys have 17 bytes and are chosen by Zipf's law; each thread has its own key strings and \
            its own core. A get copies the value out (Caffeine hands out a reference instead), everything is held. A set is of a key that \
            is not held, in a cache that has room for a quarter of the keys, so that each evicts; groupcache has no set.
            """)

    @OptionGroup var options: ContestOptions
    @Option(help: "Eviction policies, separated by commas.") var policies = StoreSubject.Policy.lru.rawValue
    @Option(help: "Operations, separated by commas: get, set.") var operations = "get,set"
    @Option(help: "Keys that sets go round in.") var setKeys = 1_000_000

    func validate() throws { _ = try (chosenPolicies, chosenOperations) }

    private enum Operation: String { case get, set }
    private var chosenOperations: [Operation] {
        get throws {
            try operations.split(separator: ",").map {
                guard let operation = Operation(rawValue: String($0)) else {
                    throw ValidationError("--operations: \"\($0)\" is not allowed")
                }
                return operation
            }
        }
    }
    private var chosenPolicies: [StoreSubject.Policy] { get throws { try StoreSubject.Policy.list(policies) } }

    func run() async throws {
        options.printMachine()
        var contest = Contest(options)
        if try chosenOperations.contains(.get) {
            for keyCount in try options.keyCounts { try await get(keyCount, &contest) }
        }
        if try chosenOperations.contains(.set) { try await set(&contest) }
        contest.report(asJSON: options.json)
    }

    private func get(_ keyCount: Int, _ contest: inout Contest) async throws {
        let workload = try options.workload(keyCount: keyCount)
        let limit = max(64 << 20, keyCount * (Workload.keyBytes + options.valueBytes + 256) * 2)
        let runs = try chosenPolicies.map { try StoreRun($0, limit: limit, workload, valueBytes: options.valueBytes) }
        for run in runs { try run.fill() }
        let programs = try options.start(PeerProgram.System.allCases, workload, room: keyCount + keyCount / 20)
        defer { for program in programs { program.stop() } }
        try await turns("store.get", keyCount, runs, programs.map { ($0, "get") }, &contest) { $0.get(work: $1) }
    }

    private func set(_ contest: inout Contest) async throws {
        // In turn: until a key comes again, all others of its thread were set, and it is long gone.
        let workload = try Workload.cyclic(keyCount: setKeys, threads: options.threadCounts.max() ?? 1)
        let room = setKeys / 4
        let runs = try chosenPolicies.map {
            try StoreRun(
                $0, limit: max(2 << 20, room * (Workload.keyBytes + options.valueBytes + 64)), workload, valueBytes: options.valueBytes)
        }
        let programs = try options.start([.fastcache, .caffeine], workload, room: room)
        defer { for program in programs { program.stop() } }
        for run in runs { try run.fill(mayEvict: true) }
        try await turns("store.set", setKeys, runs, programs.map { ($0, "set") }, &contest) { $0.set(work: $1) }
        for run in runs where run.evictions == 0 { throw ValidationError("the sets evicted nothing") }
    }

    private func turns(
        _ metric: String, _ keyCount: Int, _ runs: [StoreRun], _ others: [(PeerProgram, String)], _ contest: inout Contest,
        batch: @escaping @Sendable (StoreRun, Int) -> (operations: Int, misses: Int)
    ) async throws {
        for round in 1...options.rounds {
            Report.progress("\(metric), \(keyCount) keys: round \(round) of \(options.rounds)")
            for run in runs {
                let name = "\(metric).\(run.policy.rawValue).\(keyCount)"
                var means: [Int: Double] = [:]
                for threads in try options.threadCounts {
                    means[threads] = try await contest.turn(name, threads: threads, seconds: options.seconds, others: others) { threads in
                        await PinnedThreads.run(threads, seconds: options.seconds) { batch(run, $0) }
                    }
                }
                contest.addScaling(name, means)
            }
        }
    }
}

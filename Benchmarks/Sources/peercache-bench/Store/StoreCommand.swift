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
            is not held, in a cache that has room for a quarter of the keys, so that each evicts; groupcache has no set. The hostile \
            operation reads 1,024 keys whose hashes without a seed all begin with the same 16 bits, next to as many ordinary ones.
            """)

    @OptionGroup var options: ContestOptions
    @Option(help: "Eviction policies, separated by commas.") var policies = StoreSubject.Policy.lru.rawValue
    @Option(help: "Operations, separated by commas: get, set, hostile.") var operations = "get,set,hostile"
    @Option(help: "Keys that sets go round in.") var setKeys = 1_000_000

    func validate() throws { _ = try (chosenPolicies, chosenOperations) }

    private enum Operation: String { case get, set, hostile }
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
        if try chosenOperations.contains(.hostile) { try await hostile(&contest) }
        contest.report(asJSON: options.json)
    }

    /// Keys that an attacker chose who knows the hash function, but not the store's secret.
    private func hostile(_ contest: inout Contest) async throws {
        let keyCount = 1024
        let workload = try options.workload(keyCount: keyCount)
        let colliding = Self.collidingKeys(count: keyCount)
        for policy in try chosenPolicies {
            let ordinary = try StoreRun(policy, limit: 64 << 20, workload, valueBytes: options.valueBytes)
            let hostile = try StoreRun(policy, limit: 64 << 20, workload, valueBytes: options.valueBytes, keys: colliding)
            for run in [ordinary, hostile] { try run.fill() }
            for _ in 1...options.rounds {
                try await contest.pair(
                    "store.get.\(policy.rawValue).hostile", seconds: options.seconds, ours: { hostile.get(work: $0) },
                    peer: ("ordinary", { ordinary.get(work: $0) }))
            }
        }
    }

    private static func collidingKeys(count: Int) -> [[UInt8]] {
        var keys: [[UInt8]] = []
        var number = 0
        while keys.count < count {
            let key = Array(Workload.key(number).utf8)
            if StoreSubject.unseededHash(key) >> 48 == 0 { keys.append(key) }
            number += 1
        }
        return keys
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

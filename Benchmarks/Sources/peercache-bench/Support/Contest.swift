import ArgumentParser
import Foundation

/// Options of all commands that compare operations per thread.
struct ContestOptions: ParsableArguments {
    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Turns of ours and theirs; the figures are medians.") var rounds = 5
    @Option(help: "Seconds per figure and turn.") var seconds = 0.5
    @Option(help: "Numbers of keys, separated by commas.") var keys = "10000,1000000"
    @Option(help: "Numbers of threads, separated by commas.") var threads = "1,2"
    @Option(help: "Exponent of Zipf's law by which keys are chosen.") var skew = 0.99
    @Option(help: "Bytes of a value.") var valueBytes = 100
    @Option(help: "Seed of the key sequences.") var seed: UInt64 = 1
    @Option(help: "Folder with the programs that Benchmarks/Peers/build makes.") var peers = PeerProgram.folder
    @Flag(help: "Count the CPU time of threads: for busy machines. What they wait for a lock or a core does not count then.")
    var cpuTime = false
    @Flag(help: "Without other systems.") var noPeers = false

    func validate() throws {
        guard rounds >= 1, seconds > 0, valueBytes >= 1, skew >= 0 else {
            throw ValidationError("--rounds, --seconds and --value-bytes must be positive, --skew not negative")
        }
        guard try threadCounts.max() ?? 0 <= ProcessInfo.processInfo.activeProcessorCount else {
            throw ValidationError("--threads: each thread needs a core of its own")
        }
        _ = try keyCounts
    }

    var keyCounts: [Int] { get throws { try positive(keys, "--keys") } }
    var threadCounts: [Int] { get throws { try positive(threads, "--threads") } }

    private func positive(_ text: String, _ option: String) throws -> [Int] {
        try text.split(separator: ",").map {
            guard let number = Int($0), number > 0 else { throw ValidationError("\(option): \"\($0)\" is not allowed") }
            return number
        }
    }

    func workload(keyCount: Int) throws -> Workload {
        Report.progress("\(keyCount) keys")
        let length = max(1 << 18, min(1 << 22, (keyCount * 4).nextPowerOfTwo))
        return try Workload(keyCount: keyCount, threads: threadCounts.max() ?? 1, skew: skew, length: length, seed: seed)
    }

    /// Starts the others and fills them; those that were not built are left out.
    func start(_ systems: [PeerProgram.System], _ workload: Workload, room: Int) throws -> [PeerProgram] {
        if noPeers { return [] }
        return try systems.compactMap { system in
            let program = try PeerProgram(system, in: peers, workload, valueBytes: valueBytes, room: room)
            if program == nil { Report.progress("\(system.rawValue) is not built (Benchmarks/Peers/build): no comparison") }
            return program
        }
    }

    func printMachine() {
        Machine.write(peers: noPeers ? [:] : PeerProgram.versions(in: peers), asJSON: json)
    }
}

/// Ours and the others, in turn.
struct Contest {
    private(set) var measurements = Measurements()
    private let countsUsed: Bool
    private var quiet = Quiet()

    init(_ options: ContestOptions) { countsUsed = options.cpuTime }

    /// One turn of each: nanoseconds per operation and thread.
    /// - Parameter others: each with its name of the operation.
    /// - Returns: ours.
    @discardableResult
    mutating func turn(
        _ metric: String, threads: Int, seconds: Double, others: [(program: PeerProgram, operation: String)],
        ours: (Int) async -> ThreadResult
    ) async throws -> Double {
        let attempts = countsUsed ? 1 : 4
        let own = await quiet.measure(attempts: attempts) { await ours(threads) }
        guard own.misses == 0 else { throw ValidationError("\(metric): \(own.misses) of \(own.operations) operations found nothing") }
        let name = "\(metric).threads\(threads)"
        if others.isEmpty { measurements.add(name, own.mean(ofUsed: countsUsed), "ns") }
        for (program, operation) in others {
            let theirs = try await quiet.measure(process: program.processIdentifier, attempts: attempts) {
                try program.run(operation, threads: threads, seconds: seconds)
            }
            let misses = Double(theirs.misses) / Double(max(1, theirs.operations))
            if misses > 0.001 { Report.progress("\(program.system.rawValue) missed \(misses * 100) % of its \(operation)s") }
            measurements.add(name, own.mean(ofUsed: countsUsed), "ns", peer: (program.system.rawValue, theirs.mean(ofUsed: countsUsed)))
        }
        return own.mean(ofUsed: countsUsed)
    }

    /// One turn of each of two things of ours, on one thread.
    mutating func pair(
        _ metric: String, seconds: Double, ours: @escaping @Sendable (Int) -> (operations: Int, misses: Int),
        peer: (name: String, batch: @Sendable (Int) -> (operations: Int, misses: Int))
    ) async throws {
        let one = await quiet.measure(attempts: 4) { await PinnedThreads.run(1, seconds: seconds, batch: ours) }
        let other = await quiet.measure(attempts: 4) { await PinnedThreads.run(1, seconds: seconds, batch: peer.batch) }
        guard one.misses + other.misses == 0 else { throw ValidationError("\(metric): \(one.misses + other.misses) keys were not found") }
        measurements.add(metric, one.mean(ofUsed: countsUsed), "ns", peer: (peer.name, other.mean(ofUsed: countsUsed)))
    }

    /// Throughput at several threads over that at one.
    mutating func addScaling(_ metric: String, _ means: [Int: Double]) {
        guard let one = means[1] else { return }
        for (threads, mean) in means.sorted(by: { $0.key < $1.key }) where threads > 1 {
            measurements.add("\(metric).scaling\(threads)", one * Double(threads) / mean, "x")
        }
    }

    mutating func report(asJSON: Bool) {
        quiet.report(into: &measurements)
        Report.write(measurements, asJSON: asJSON)
    }
}

extension Int {
    var nextPowerOfTwo: Int { self <= 1 ? 1 : 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount) }
}

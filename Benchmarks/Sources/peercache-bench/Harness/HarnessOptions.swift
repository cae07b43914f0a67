import ArgumentParser
import Foundation
import NIOCore

/// Options of the commands that put a load of gets and sets on a cluster.
struct HarnessOptions: ParsableArguments {
    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Concurrent callers, spread over the peers that call.") var callers = 50
    @Option(help: "Share of operations that are gets, 0...1; the others are sets.") var readRatio = 0.95
    @Option(help: "Bytes of a value.") var valueSize = 100
    @Option(help: "Keys.") var keys = 100_000
    @Option(help: "Exponent of Zipf's law by which keys are chosen; 0: all equally often.") var zipf = 0.99
    @Option(help: "Seconds that are measured.") var seconds = 10.0
    @Option(help: "Seconds before them that are not.") var warmup = 2.0
    @Option(help: "Event loops for all connections of this process.") var loops = 1
    @Option(help: "Seed of the key sequence.") var seed: UInt64 = 1
    @Flag(help: "Keep near copies, for a second, as applications do by default; then most gets of popular keys never leave the process.")
    var near = false

    func validate() throws {
        try check(1...100_000 ~= callers, "--callers", "\(callers)", "1...100000")
        try check(0...1 ~= readRatio, "--read-ratio", "\(readRatio)", "0...1")
        try check(0...(8 << 20) ~= valueSize, "--value-size", "\(valueSize)", "0...\(8 << 20)")
        try check(1...10_000_000 ~= keys, "--keys", "\(keys)", "1...10000000")
        try check(0...10 ~= zipf, "--zipf", "\(zipf)", "0...10")
        try check(0.1...86_400 ~= seconds, "--seconds", "\(seconds)", "0.1...86400")
        try check(0...86_400 ~= warmup, "--warmup", "\(warmup)", "0...86400")
        try check(1...64 ~= loops, "--loops", "\(loops)", "1...64")
    }

    func check(_ isValid: Bool, _ option: String, _ value: String, _ allowed: String) throws {
        if !isValid { throw ValidationError("\(option) \(value) is not allowed: use \(allowed)") }
    }

    var value: ByteBuffer { ByteBuffer(bytes: Workload.value(bytes: valueSize)) }

    /// Megabytes that a peer needs to hold `copies` of the keys on `peers` peers without evicting, with room for uneven shares; never more
    /// than all of them may take of half the machine's memory.
    func memoryMegabytes(peers: Int, copies: Int) -> Int {
        let share = min(copies, peers) * keys / peers * 2, half = Int(ProcessInfo.processInfo.physicalMemory) >> 21
        return min(max(buffersMegabytes, (share * (valueSize + 200)) >> 20), max(64, half / peers))
    }

    /// Megabytes of which a sixteenth, what a connection may hold each way, has room for a value of each caller.
    var buffersMegabytes: Int { max(64, 16 * min(callers, 64) * valueSize >> 20) }

    func load(_ caches: [MixedLoad.Cache]) throws -> MixedLoad {
        let length = max(1 << 16, min(1 << 22, (keys * 4).nextPowerOfTwo))
        let workload = try Workload(keyCount: keys, threads: 1, skew: zipf, length: length, seed: seed)
        return MixedLoad(
            caches: caches, keys: (0..<keys).map(Workload.key), sequence: workload.threads[0].sequence, readRatio: readRatio, value: value,
            seed: seed)
    }
}

import Foundation
import NIOCore
import PeerCache
import Synchronization

/// Callers that get and set by chance for a time.
struct MixedLoad: Sendable {
    typealias Cache = PeerCache.Cache<String, ByteBuffer>

    struct Result {
        var gets: LoadResult?
        var sets: LoadResult?
        /// Gets that found nothing, and operations that threw.
        var absent = 0, failed = 0
        /// What the first of those that threw threw.
        var failure: String?
    }

    /// Callers take turns at them.
    let caches: [Cache]
    let keys: [String]
    /// Numbers of keys in the order of the calls; each caller begins elsewhere.
    let sequence: [UInt32]
    let readRatio: Double
    let value: ByteBuffer
    let seed: UInt64

    /// - Parameter says: prints a line each second.
    func run(callers: Int, seconds: Double, says: Bool) async -> Result {
        let begin = Clock.nanoseconds, end = begin + UInt64(seconds * 1e9)
        let tallies = (0..<callers).map { _ in Tally() }
        let progress = says ? Task { await Self.say(tallies) } : nil
        defer { progress?.cancel() }
        var gets = Latencies(), sets = Latencies(), result = Result()
        await withTaskGroup(of: (gets: Latencies, sets: Latencies).self) { group in
            for (caller, tally) in tallies.enumerated() { group.addTask { await call(caller, tally, until: end) } }
            for await (theirGets, theirSets) in group {
                gets.add(theirGets)
                sets.add(theirSets)
            }
        }
        let elapsed = Double(Clock.nanoseconds - begin) / 1e9
        if gets.count > 0 { result.gets = gets.result(seconds: elapsed) }
        if sets.count > 0 { result.sets = sets.result(seconds: elapsed) }
        for tally in tallies {
            result.absent += tally.absent.load(ordering: .relaxed)
            result.failed += tally.failed.load(ordering: .relaxed)
            result.failure = result.failure ?? tally.failure.withLock { $0 }
        }
        return result
    }

    /// What a caller has done so far. Its own: only the progress line reads it meanwhile.
    private final class Tally: Sendable {
        let gets = Atomic<Int>(0), sets = Atomic<Int>(0), absent = Atomic<Int>(0), failed = Atomic<Int>(0)
        let failure = Mutex<String?>(nil)
    }

    /// One clock reading per operation: its end is the next one's start.
    private func call(_ caller: Int, _ tally: Tally, until end: UInt64) async -> (gets: Latencies, sets: Latencies) {
        let cache = caches[caller % caches.count]
        var random = SplitMix(state: seed &+ UInt64(caller) &* 0x9E37_79B9)
        var position = Int(random.next() % UInt64(sequence.count))
        var gets = Latencies(), sets = Latencies(), before = Clock.nanoseconds
        while before < end {
            let key = keys[Int(sequence[position])]
            position = position + 1 == sequence.count ? 0 : position + 1
            let isGet = Double(random.next() >> 11) / Double(1 << 53) < readRatio
            do {
                if isGet {
                    if try await cache.get(key) == nil { tally.absent.add(1, ordering: .relaxed) }
                    tally.gets.add(1, ordering: .relaxed)
                } else {
                    try await cache.set(key, value)
                    tally.sets.add(1, ordering: .relaxed)
                }
                let now = Clock.nanoseconds
                if isGet { gets.record(now - before) } else { sets.record(now - before) }
                before = now
            } catch {
                tally.failed.add(1, ordering: .relaxed)
                tally.failure.withLock { $0 = $0 ?? "\(error)" }
                try? await Task.sleep(for: .milliseconds(1))  // a failure may cost nothing
                before = Clock.nanoseconds
            }
        }
        return (gets, sets)
    }

    private static func say(_ tallies: [Tally]) async {
        func sum(_ count: (Tally) -> Int) -> Int { tallies.reduce(0) { $0 + count($1) } }
        var last = (gets: 0, sets: 0), second = 0
        while true {
            guard (try? await Task.sleep(for: .seconds(1))) != nil else { return }
            second += 1
            let gets = sum { $0.gets.load(ordering: .relaxed) }, sets = sum { $0.sets.load(ordering: .relaxed) }
            let failed = sum { $0.failed.load(ordering: .relaxed) }
            Report.progress(
                "\(second) s: \(gets - last.gets) gets/s, \(sets - last.sets) sets/s" + (failed > 0 ? ", \(failed) failed so far" : ""))
            last = (gets, sets)
        }
    }
}

import ArgumentParser
import Foundation
import PeerCacheBenchSupport

/// Many entries whose time is up within one second.
struct ExpiryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "expiry",
        abstract: "A million entries due in one second while threads read.",
        discussion: """
            Latencies of single copies, each with one reading of the clock in it, from the first entry due to four seconds later, next to \
            those of the same threads just before. Upkeep has a thread of its own, so that there are more threads than cores, and drops what \
            a running peer would: --drops-max entries ten times a second. memory: from the last entry due until none is left; 24: never.
            """)

    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Rounds; the figures are medians.") var rounds = 5
    @Option(help: "Entries.") var entries = 1_000_000
    @Option(help: "Bytes of their values; keys have 17.") var valueBytes = 100
    @Option(help: "Threads that read.") var threads = 2
    @Option(help: "Entries that upkeep may drop at a time. 100,000: as a running peer does.") var dropsMax = 100_000
    @Option(help: "Seconds for filling.") var fillSeconds = 8
    @Option(help: "Eviction policies, separated by commas.") var policies = StoreSubject.Policy.lru.rawValue

    func validate() throws {
        guard rounds >= 1, entries >= 1, valueBytes >= 1, threads >= 1, dropsMax >= 1, fillSeconds >= 1 else {
            throw ValidationError("all numbers must be positive")
        }
        _ = try StoreSubject.Policy.list(policies)
    }

    func run() async throws {
        Machine.write(asJSON: json)
        var measurements = Measurements(), quiet = Quiet()
        let length = min(1 << 22, (entries * 4).nextPowerOfTwo)
        let workload = try Workload(keyCount: entries, threads: threads, skew: 0.99, length: max(length, 1 << 16), seed: 1)
        let keys = workload.threads.map { _ in KeyBytes(count: entries) }
        for round in 1...rounds {
            for policy in try StoreSubject.Policy.list(policies) {
                Report.progress("expiry, \(policy.rawValue): round \(round) of \(rounds)")
                // Once, as a repetition takes long; the report tells how disturbed it was.
                let seen = try await quiet.measure(attempts: 1) { try await self.round(policy, workload, keys) }
                let name = "expiry.\(policy.rawValue)"
                for (percentile, label) in [(50.0, "p50"), (99.0, "p99"), (99.9, "p99.9"), (99.99, "p99.99"), (100.0, "max")] {
                    let before = seen.before.microseconds(percentile), due = seen.due.microseconds(percentile)
                    measurements.add("\(name).copy.\(label)", due, "µs", peer: ("before", before))
                }
                measurements.add("\(name).memory", seen.seconds, "s")
            }
        }
        quiet.report(into: &measurements)
        Report.write(measurements, asJSON: json)
    }

    private struct Seen {
        var before: LatencyRecorder
        var due: LatencyRecorder
        /// From the last entry due until all were dropped.
        var seconds: Double
    }

    private func round(_ policy: StoreSubject.Policy, _ workload: Workload, _ keys: [KeyBytes]) async throws -> Seen {
        let store = try StoreSubject(limit: max(64 << 20, entries * (Workload.keyBytes + valueBytes + 400)), policy: policy)
        let firstDue = Clock.milliseconds + UInt64(fillSeconds + 3) * 1000
        let value = Workload.value(bytes: valueBytes)
        for (number, key) in keys[0].all.enumerated() {
            let now = Clock.milliseconds, due = firstDue + UInt64(number % 1000)
            guard due > now else { throw ValidationError("filling took too long: raise --fill-seconds") }
            _ = value.withUnsafeBytes { store.set(key, $0, ttl: .milliseconds(due - now), milliseconds: now) }
        }
        guard store.usage.entries == entries, Clock.milliseconds + 2500 < firstDue else {
            throw ValidationError("filling took too long: raise --fill-seconds")
        }

        let isOver = StopSign(), upkeep = UpkeepThread(store, dropsMax: dropsMax, isOver: isOver)
        defer { isOver.set() }
        try await Task.sleep(for: .milliseconds(firstDue - Clock.milliseconds - 2000))
        let before = await read(store, workload, keys, seconds: 1.8)
        let now = Clock.milliseconds
        if now < firstDue { try await Task.sleep(for: .milliseconds(firstDue - now)) }
        let due = await read(store, workload, keys, seconds: 4)
        for _ in 0..<2000 where upkeep.emptyAt == nil { try await Task.sleep(for: .milliseconds(10)) }
        let seconds = upkeep.emptyAt.map { (Double($0) - Double(firstDue + 1000)) / 1000 }
        return Seen(before: before, due: due, seconds: seconds ?? 24)
    }

    private func read(_ store: StoreSubject, _ workload: Workload, _ keys: [KeyBytes], seconds: Double) async -> LatencyRecorder {
        let recorders = (0..<threads).map { _ in LatencyRecorder() }
        _ = await PinnedThreads.run(threads, seconds: seconds) { thread in
            workload.threads[thread].next { numbers in
                withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 8) { buffer in
                    var before = Clock.nanoseconds
                    for number in numbers {
                        _ = store.copy(keys[thread].all[Int(number)], into: buffer, milliseconds: Clock.cachedMilliseconds(before))
                        let now = Clock.nanoseconds
                        recorders[thread].record(now - before)
                        before = now
                    }
                }
                return (numbers.count, 0)
            }
        }
        for recorder in recorders.dropFirst() { recorders[0].add(recorder) }
        return recorders[0]
    }
}

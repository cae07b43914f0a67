import Foundation
import PeerCacheCore
import PeerCacheTesting
import Testing
import WireSamples

/// How long members are hurt.
private let seconds = min(3_600, max(1, ProcessInfo.processInfo.environment["PEERCACHE_CHAOS"].flatMap { Int($0) } ?? 12))

/// Five processes behind proxies that disturb, while members are killed and stopped: what callers saw goes through the simulation's checker.
///
/// `PEERCACHE_CHAOS=120 PEERCACHE_SEED=17 swift test --filter RecordedHistoryTests` disturbs for 120 seconds. A seed chooses who is hurt and
/// when, and who calls what; the rest is up to the machine, so the same seed may find another history.
@Suite(.serialized, .timeLimit(.minutes(4 + seconds / 60)))
struct RecordedHistoryTests {
    static let seeds = Seeds.chosen([UInt64.random(in: 0..<1_000_000)])

    @Test(arguments: seeds) func everyHitOfAStrictCacheIsExplained(seed: UInt64) async throws {
        print("recorded history: PEERCACHE_SEED=\(seed)")
        try await withChaos(seed) { cluster, recorder in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await cluster.disturb(until: .now + .seconds(seconds), seed: seed) }
                group.addTask {
                    for window in 0..<max(1, seconds / 4) {
                        let keys = (0..<3).map { "strict-\(window)-\($0)" }
                        await call(keys, cluster, recorder, until: .now + .milliseconds(3_500), seed: seed &+ UInt64(window) << 8)
                    }
                }
                try await group.waitForAll()
            }
            #expect(cluster.crashed == [])
            try await cluster.awaitVotes()
            recorder.forgetMisses()
            // Nothing stale comes back, and what is written now is there: a cache that always misses must not pass.
            for (number, key) in recorder.all.keys.sorted().enumerated() { await readEverywhere(key, number, cluster, recorder) }
            for number in 0..<10 {
                let key = "strict-last-\(number)"
                let writer = try #require(cluster.member(number % cluster.proxies.count))
                let value = try #require(await recorder.set(key, at: writer))
                for hit in await readEverywhere(key, number, cluster, recorder) { #expect(hit == value, "PEERCACHE_SEED=\(seed)") }
            }
            // One process is lost at a time, so no completed write is.
            for key in recorder.lost {
                let lines = ["\(key), PEERCACHE_SEED=\(seed)", recorder.story(of: key)] + cluster.faults + cluster.deaths
                Issue.record("a completed write is lost: \(lines.joined(separator: "\n"))")
            }
            for (key, history) in recorder.all.sorted(by: { $0.key < $1.key }) {
                #expect(history.isLinearizable, "\(key): no order explains \(history.events); PEERCACHE_SEED=\(seed)")
            }
        }
    }

    private func withChaos(_ seed: UInt64, _ body: (ChaosCluster, OperationRecorder) async throws -> Void) async throws {
        let cluster = ChaosCluster(of: 5, seed: seed)
        defer { cluster.end() }
        // An operation that never ends must not hold the test: it ends with its member.
        let bound = Task {
            try await Task.sleep(for: .seconds(180 + seconds))
            Issue.record("not over in time, PEERCACHE_SEED=\(seed)")
            cluster.end()
        }
        defer { bound.cancel() }
        try await cluster.start()
        try await cluster.awaitVotes()
        let recorder = OperationRecorder(cluster)
        defer { print("\(recorder.summary); \(cluster.summary)") }
        try await body(cluster, recorder)
    }

    @discardableResult
    private func readEverywhere(_ key: String, _ number: Int, _ cluster: ChaosCluster, _ recorder: OperationRecorder) async -> [Int?] {
        var hits: [Int?] = []
        for seat in cluster.proxies.indices {
            guard let member = cluster.member((seat + number) % cluster.proxies.count) else { continue }
            hits.append(await recorder.get(key, at: member))
        }
        return hits
    }

    /// Callers at random members until the time is over or a key's history is long enough, and until all their operations ended.
    private func call(
        _ keys: [String], _ cluster: ChaosCluster, _ recorder: OperationRecorder, until end: ContinuousClock.Instant, seed: UInt64
    ) async {
        // The reads at the end want room too.
        let operationsMax = (OperationRecorder.eventsMax - cluster.proxies.count) * keys.count
        let callers = 12
        await withTaskGroup(of: Void.self) { group in
            for caller in 0..<callers {
                group.addTask {
                    var random = SeededRandom(seed: seed &+ UInt64(caller))
                    for number in 0..<operationsMax / callers where ContinuousClock.now < end {
                        let key = keys[(number + caller) % keys.count]
                        guard let member = cluster.member(Int.random(in: cluster.proxies.indices, using: &random)) else { return }
                        switch Int.random(in: 0..<10, using: &random) {
                        case 0 where key != keys[0]: await recorder.remove(key, at: member)
                        case 0...4: await recorder.set(key, at: member)
                        default: await recorder.get(key, at: member)
                        }
                        try? await Task.sleep(for: .milliseconds(Int.random(in: 20...400, using: &random)))
                    }
                }
            }
        }
    }
}

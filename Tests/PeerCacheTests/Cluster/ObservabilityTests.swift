import Foundation
import Logging
import MetricsTestKit
import PeerCacheCore
import Testing

@testable import PeerCache

@Suite(.timeLimit(.minutes(2))) struct ObservabilityTests {
    @Test func everyReadIsCountedOnceWhereItWasServed() async throws {
        let metrics = TestMetrics()
        try await withCluster(of: 2, configure: { $0.metricsFactory = metrics }) { peers in
            let caches = peers.map { peer in
                peer.cache("c", key: Int.self, value: String.self, options: .init(nearFor: .seconds(3600))) { $0 < 100 ? "row \($0)" : nil }
            }
            for cache in caches {
                for id in 0..<110 { _ = try await cache.get(id) }
                for id in 0..<50 { _ = try await cache.get(id) }
            }
            let counters = peers.compactMap { $0.snapshot().caches["c"] }
            for counter in counters {
                #expect(counter.nearHits + counter.ownHits + counter.peerHits + counter.misses == 160)
                #expect(counter.nearHits > 0 && counter.loadErrors == 0)
            }
            #expect(counters.reduce(0) { $0 + $1.loads } == 120, "100 rows once, and ten that do not exist from each peer")
            // What the snapshot says reaches swift-metrics within a second or two.
            let nearHits = counters.reduce(0) { $0 + $1.nearHits }
            let labels = [("cluster", "test"), ("cache", "c"), ("served", "near")]
            let reported = try metrics.expectCounter("peercache_hits_total", labels)
            try await eventually("the counters are reported") { reported.totalValue == Int64(nearHits) }
            #expect(try metrics.expectTimer("peercache_load_duration", [("cluster", "test"), ("cache", "c")]).values.count == 120)
            #expect(try metrics.expectRecorder("peercache_members", [("cluster", "test")]).lastValue == 2)
        }
    }

    /// The table of metrics in the README has each of them.
    @Test func everyCounterIsExplained() throws {
        let readme = try String(contentsOfFile: #filePath.replacing(/Tests.PeerCacheTests.+/, with: "README.md"), encoding: .utf8)
        for metric in CacheCounter.allCases.map(\.metric.label) + PeerCounter.allCases.map(\.metric) {
            let name = try #require(metric.wholeMatch(of: /peercache_(.+_total)/)?.output.1)
            #expect(readme.contains("`\(name)`"))
        }
    }

    @Test func whereNobodyHoldsSlotsNobodyIsReady() async throws {
        try await runAlone(testConfiguration { $0.identity.weight = 0 }) { peer in
            try await eventually("it says so") { peer.readiness.reasons == ["no peer holds slots: all have weight 0 or are leaving"] }
        }
    }

    @Test func explainTellsOwnerStampAndWhereTheLastReadWasServed() async throws {
        try await withCluster(of: 3) { peers in
            let caches = peers.map { $0.cache("c", key: Int.self, value: String.self, options: .init(ttl: .seconds(60), nearFor: .zero)) }
            for id in 0..<30 {
                let before = try await caches[0].explain(id)
                #expect(!before.isHeld && before.stamp == nil && before.replicas.count == 2 && before.lastRead == nil)
                try await caches[0].set(id, "v")
                try await caches[0].expect(id, "v")
                let after = try await caches[0].explain(id)
                #expect(after.isHeld && after.stamp != nil && after.owner == after.replicas.first)
                #expect(after.lastRead == (after.isOwnedHere ? .own : .peer))
                let left = try #require(after.ttlLeftMilliseconds)
                #expect(left > 0 && left <= 60_000)
                #expect(peers.map(\.id).contains(after.owner ?? ""))
                let elsewhere = try await caches[1].explain(id)
                #expect(elsewhere.owner == after.owner && elsewhere.stamp == after.stamp)
            }
        }
    }

    @Test func explainAsksTheOtherHoldersWhenTheOwnerIsSilent() async throws {
        try await withCluster(of: 1, configure: { $0.requestTimeout = .milliseconds(50) }) { peers in
            let cache = peers[0].cache("c", key: Int.self, value: String.self)
            for id in 0..<30 { try await cache.set(id, "v") }
            try await ScriptedPeer.join(peers[0], weight: 1) { silent, _ in
                try await eventually("the silent one owns keys") {
                    peers[0].snapshot().members.contains { $0.id == silent.id.description && $0.ownedSlots > 0 }
                }
                var isSilent = 0
                for id in 0..<30 {
                    let found = try await cache.explain(id)
                    #expect(found.isHeld && found.answeredBy == peers[0].id)
                    if !found.isOwnedHere, found.description.contains("does not answer") { isSilent += 1 }
                }
                #expect(isSilent > 0)
            }
        }
    }

    @Test func aCacheThatOthersDoNotKnowIsLoggedThereOnce() async throws {
        let log = RecordedLog()
        try await withCluster(of: 2, configure: { $0.logger = log.logger }) { peers in
            let new = peers[0].cache("new", key: Int.self, value: String.self) { "row \($0)" }
            _ = peers[1].cache("other", key: Int.self, value: Int.self)
            let other = peers[0].cache("other", key: Int.self, value: String.self)
            for id in 0..<30 {
                try await new.expect(id, "row \(id)")
                try? await other.set(id, "text")
            }
            let warnings = log.lines.filter { $0.hasPrefix("warning another peer uses") }
            #expect(warnings.count == 2, "\(warnings)")
            #expect(warnings.contains { $0.contains("not registered here") && $0.hasSuffix(": new]") })
            #expect(warnings.contains { $0.contains("other types") && $0.hasSuffix(": other]") })
        }
    }

    @Test func membersThatComeAndGoAreLoggedAtInfoAndSecretsNever() async throws {
        let log = RecordedLog()
        try await withCluster(of: 1, configure: { $0.logger = log.logger }) { peers in
            let seed = try #require(peers[0].address)
            try await runAlone(testConfiguration(seeds: [seed])) { _ in
                try await eventually("joined") { log.lines.contains { $0.contains("peer joined") } }
            }
            try await eventually("left") { log.lines.contains { $0.contains("peer left") || $0.contains("peer is leaving") } }
            #expect(!log.lines.contains { $0.contains("a secret of the tests") })
        }
    }
}

internal import CoreMetrics
internal import PeerCacheCore
internal import PeerCacheTransport

/// What has to happen from time to time, whether or not requests come: expiry, sweeping, load deadlines, metrics.
struct Housekeeping {
    let core: PeerCore
    private var evictions = Difference()
    private var expiries = Difference()
    private var peerRequests = Difference()
    private var peerErrors = Difference()
    private var copiesDropped = Difference()
    private var invalidationsSent = Difference()
    private var invalidationsReceived = Difference()
    private var invalidationGaps = Difference()
    private var caches: [[Difference]] = []

    init(core: PeerCore) { self.core = core }

    /// Until cancelled.
    mutating func run() async {
        var rounds = 0
        while !Task.isCancelled {
            let now = core.clock.tick()
            _ = core.store.expire(now: now, entriesMax: 100_000)
            _ = core.store.sweep(now: now, bytesMax: 32 << 20)
            _ = core.near.sweep(nowMilliseconds: ClusterClock.wallMilliseconds, entriesMax: 20_000)
            core.coherence.tick()
            core.safety.tick(core)
            for cache in core.caches { cache.tick() }
            if rounds % 10 == 0 { report() }
            rounds += 1
            try? await Task.sleep(for: .milliseconds(100))
        }
        report()
    }

    /// Hands what the counters gained since the last time to swift-metrics.
    private mutating func report() {
        let metrics = core.metrics, memory = core.store.memory
        metrics.members.record(core.table.routing.view?.placed.count ?? 1)
        metrics.storedBytes.record(memory.counted)
        metrics.entries.record(memory.entries)
        metrics.evictions.increment(by: Int64(clamping: evictions.take(UInt64(memory.evictions))))
        metrics.expiries.increment(by: Int64(clamping: expiries.take(UInt64(memory.expiries))))
        metrics.peerRequests.increment(by: Int64(clamping: peerRequests.take(core.counters.value(.peerRequests))))
        metrics.peerErrors.increment(by: Int64(clamping: peerErrors.take(core.counters.value(.peerErrors))))
        metrics.copiesDropped.increment(by: Int64(clamping: copiesDropped.take(core.counters.value(.copiesDropped))))
        metrics.invalidationsSent.increment(by: Int64(clamping: invalidationsSent.take(core.counters.value(.invalidationsSent))))
        metrics.invalidationsReceived.increment(
            by: Int64(clamping: invalidationsReceived.take(core.counters.value(.invalidationsReceived))))
        metrics.invalidationGaps.increment(by: Int64(clamping: invalidationGaps.take(core.counters.value(.invalidationGaps))))
        for (index, cache) in core.caches.enumerated() {
            if index >= caches.count { caches.append(CacheCounter.allCases.map { _ in Difference() }) }
            for counter in CacheCounter.allCases {
                cache.metrics.add(counter, caches[index][counter.rawValue].take(cache.counters.value(counter)))
            }
        }
    }
}

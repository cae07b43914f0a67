internal import CoreMetrics
internal import Logging
internal import PeerCacheCore
internal import PeerCacheTransport

/// What has to happen from time to time, whether or not requests come: expiry, sweeping, load deadlines, metrics.
struct Housekeeping {
    let core: PeerCore
    private var evictions = Difference()
    private var expiries = Difference()
    private var peer = PeerCounter.allCases.map { _ in Difference() }
    private var caches: [[Difference]] = []
    private var refusedWarnedAt = -refusedWarnedEvery
    private static let refusedWarnedEvery: Int64 = 60_000_000_000

    init(core: PeerCore) { self.core = core }

    /// By then a peer that is started among others has found them: 10 s.
    private static let aloneRounds = 100

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
            if rounds == Self.aloneRounds { core.warnIfAlone() }
            rounds += 1
            try? await Task.sleep(for: .milliseconds(100))
        }
        report()
    }

    /// Once a minute at most.
    private mutating func warnOfRefused(_ cache: CacheCore, _ count: UInt64) {
        let now = ClusterClock.monotonicNanoseconds
        guard now >= refusedWarnedAt + Self.refusedWarnedEvery else { return }
        refusedWarnedAt = now
        core.logger.warning(
            "loads were refused with .overloaded: too many loaders run, or too many callers wait for one; see `limits.loadsMax`",
            metadata: [
                LogKey.cache.rawValue: "\(cache.name)", LogKey.loadsRefused.rawValue: "\(count)",
                LogKey.loadersRunning.rawValue: "\(core.loaders.count)",
            ])
    }

    /// Hands what the counters gained since the last time to swift-metrics.
    private mutating func report() {
        let metrics = core.metrics, memory = core.store.memory
        metrics.members.record(core.table.routing.view?.placed.count ?? 1)
        metrics.storedBytes.record(memory.counted)
        metrics.entries.record(memory.entries)
        metrics.loadersRunning.record(core.loaders.count)
        metrics.evictions.increment(by: Int64(clamping: evictions.take(UInt64(memory.evictions))))
        metrics.expiries.increment(by: Int64(clamping: expiries.take(UInt64(memory.expiries))))
        for counter in PeerCounter.allCases { metrics.add(counter, peer[counter.rawValue].take(core.counters.value(counter))) }
        for (index, cache) in core.caches.enumerated() {
            if index >= caches.count { caches.append(CacheCounter.allCases.map { _ in Difference() }) }
            for counter in CacheCounter.allCases {
                let count = caches[index][counter.rawValue].take(cache.counters.value(counter))
                cache.metrics.add(counter, count)
                if counter == .loadsRefused, count > 0 { warnOfRefused(cache, count) }
            }
        }
    }
}

extension PeerCore {
    /// Who mistypes an address gets a cluster of its own, which is ready and answers: nothing else would tell.
    func warnIfAlone() {
        let places: String
        switch configuration.discovery.kind {
        case .none: return
        case .peers(let addresses): places = addresses.isEmpty ? "an empty list" : addresses.joined(separator: ", ")
        case .dns(let name, let port): places = "\(name), port \(port)"
        case .services(let name): places = name
        case .custom: places = "a source of the application's own"
        }
        guard table.routing.present.isEmpty else { return }
        logger.warning(
            "no other peer was found: this one is alone. If there should be others, compare `discovery`, `cluster` and `security` with theirs",
            metadata: [LogKey.address.rawValue: "\(places)"])
    }
}

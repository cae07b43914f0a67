internal import CoreMetrics
internal import PeerCacheCore

/// Every metric of the library, made once. Labels: `cluster`, and `cache` where it is about one.
///
/// The hot paths raise striped counters; once a second ``report`` hands the differences to swift-metrics.
final class PeerMetrics: Sendable {
    private let cluster: String
    private let factory: any MetricsFactory

    /// Members that are placed, this peer included.
    let members: Recorder
    /// Bytes the store holds, overhead included.
    let storedBytes: Recorder
    let entries: Recorder
    /// Loaders of all caches, those included whose callers have given up.
    let loadersRunning: Recorder
    let evictions: Counter
    let expiries: Counter
    private let counters: [Counter]

    init(cluster: String, factory: (any MetricsFactory)?) {
        let factory = factory ?? MetricsSystem.factory
        let labels = [("cluster", cluster)]
        self.cluster = cluster
        self.factory = factory
        members = Recorder(label: "peercache_members", dimensions: labels, aggregate: false, factory: factory)
        storedBytes = Recorder(label: "peercache_store_bytes", dimensions: labels, aggregate: false, factory: factory)
        entries = Recorder(label: "peercache_store_entries", dimensions: labels, aggregate: false, factory: factory)
        loadersRunning = Recorder(label: "peercache_loaders_running", dimensions: labels, aggregate: false, factory: factory)
        evictions = Counter(label: "peercache_evictions_total", dimensions: labels, factory: factory)
        expiries = Counter(label: "peercache_expiries_total", dimensions: labels, factory: factory)
        counters = PeerCounter.allCases.map { Counter(label: $0.metric, dimensions: labels, factory: factory) }
    }

    func add(_ counter: PeerCounter, _ count: UInt64) {
        if count > 0 { counters[counter.rawValue].increment(by: Int64(clamping: count)) }
    }

    func cache(_ name: String) -> CacheMetrics { CacheMetrics(cluster: cluster, cache: name, factory: factory) }
}

/// The metrics of one cache.
final class CacheMetrics: Sendable {
    private let counters: [Counter]
    /// Time of loader calls.
    let loadDuration: Timer

    init(cluster: String, cache: String, factory: any MetricsFactory) {
        let labels = [("cluster", cluster), ("cache", cache)]
        counters = CacheCounter.allCases.map { counter in
            let (label, served) = counter.metric
            return Counter(label: label, dimensions: labels + (served.map { [("served", $0)] } ?? []), factory: factory)
        }
        loadDuration = Timer(label: "peercache_load_duration", dimensions: labels, factory: factory)
    }

    func add(_ counter: CacheCounter, _ count: UInt64) {
        if count > 0 { counters[counter.rawValue].increment(by: Int64(clamping: count)) }
    }
}

extension CacheCounter {
    /// Name of the metric, and for hits where they were served.
    var metric: (label: String, served: String?) {
        switch self {
        case .nearHits: ("peercache_hits_total", "near")
        case .ownHits: ("peercache_hits_total", "own")
        case .peerHits: ("peercache_hits_total", "peer")
        case .misses: ("peercache_misses_total", nil)
        case .loads: ("peercache_loads_total", nil)
        case .loadErrors: ("peercache_load_errors_total", nil)
        case .coalescedWaits: ("peercache_coalesced_waits_total", nil)
        case .loadsRefused: ("peercache_loads_refused_total", nil)
        case .fallbackLoads: ("peercache_fallback_loads_total", nil)
        case .served: ("peercache_served_requests_total", nil)
        case .sets: ("peercache_sets_total", nil)
        case .removes: ("peercache_removes_total", nil)
        case .decodeFailures: ("peercache_decode_failures_total", nil)
        case .fillsForgotten: ("peercache_fills_forgotten_total", nil)
        case .valuesTooLarge: ("peercache_values_too_large_total", nil)
        case .nearSamples: ("peercache_near_samples_total", nil)
        case .nearStale: ("peercache_near_stale_total", nil)
        }
    }
}

extension PeerCounter {
    var metric: String {
        switch self {
        case .peerRequests: "peercache_peer_requests_total"
        case .peerErrors: "peercache_peer_errors_total"
        case .copiesSent: "peercache_copies_sent_total"
        case .copiesDropped: "peercache_copies_dropped_total"
        case .invalidationsSent: "peercache_invalidations_sent_total"
        case .invalidationsReceived: "peercache_invalidations_received_total"
        case .invalidationGaps: "peercache_invalidation_gaps_total"
        case .sharersDisplaced: "peercache_sharers_displaced_total"
        case .journalOverflows: "peercache_journal_overflows_total"
        case .journalReplays: "peercache_journal_replays_total"
        case .clockSkew: "peercache_clock_skews_total"
        case .bucketsRepaired: "peercache_buckets_repaired_total"
        case .entriesShipped: "peercache_entries_shipped_total"
        case .warmHits: "peercache_warm_hits_total"
        case .bytesPulled: "peercache_pulled_bytes_total"
        case .writeBacks: "peercache_write_backs_total"
        }
    }
}

/// Differences of a total between two looks.
struct Difference {
    private var last: UInt64 = 0

    mutating func take(_ total: UInt64) -> UInt64 {
        defer { last = total }
        return total &- last
    }
}

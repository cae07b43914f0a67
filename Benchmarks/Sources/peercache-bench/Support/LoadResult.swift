import Histogram

/// What one run of callers showed.
struct LoadResult: Sendable, Decodable {
    /// Operations per second.
    var throughput: Double
    /// Microseconds.
    var p50, p95, p99: Double
    /// Microseconds; nil: the program that measured does not tell.
    var p90, p999, max: Double?
}

/// Latencies of one caller, or of all. A value: a caller's own needs no lock.
struct Latencies: Sendable, Codable {
    /// Nanoseconds up to a minute in steps of 1 %: small enough that fifty of them stay in the cache.
    private var histogram = Histogram<UInt32>(highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .two)

    var count: Int { Int(histogram.totalCount) }

    mutating func record(_ nanoseconds: UInt64) { histogram.record(nanoseconds) }
    mutating func add(_ other: Latencies) { histogram.add(other.histogram) }

    func result(seconds: Double) -> LoadResult {
        func microseconds(_ percentile: Double) -> Double { Double(histogram.valueAtPercentile(percentile)) / 1000 }
        return LoadResult(
            throughput: Double(count) / seconds, p50: microseconds(50), p95: microseconds(95), p99: microseconds(99),
            p90: microseconds(90), p999: microseconds(99.9), max: microseconds(100))
    }
}

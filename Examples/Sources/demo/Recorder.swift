import Histogram
import Synchronization

/// What the traffic saw of one shop. Written by many callers, read by the table and the checks.
final class Recorder: Sendable {
    /// Since the last `takeInterval`.
    struct Interval {
        var requests = 0
        var failures = 0
        var millisecondsP50 = 0.0
        var millisecondsP99 = 0.0
    }

    /// Since the start.
    struct Totals: Sendable {
        var requests = 0
        var failures = 0
        /// The first ones, for the message; bounded.
        var reasons: [String] = []
    }

    private struct State {
        var interval = Interval()
        var totals = Totals()
        // Microseconds, up to a minute, to 1 %.
        var latencies = Histogram<UInt32>(highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: .two)
    }

    private static let reasonsMax = 5
    private let state = Mutex(State())

    func success(after duration: Duration) {
        let microseconds = UInt64(max(1, min(60_000_000, duration / .microseconds(1))))
        state.withLock { state in
            state.interval.requests += 1
            state.totals.requests += 1
            state.latencies.record(microseconds)
        }
    }

    func failure(_ reason: String) {
        state.withLock { state in
            state.interval.failures += 1
            state.totals.failures += 1
            if state.totals.reasons.count < Self.reasonsMax { state.totals.reasons.append(reason) }
        }
    }

    var totals: Totals { state.withLock { $0.totals } }

    func takeInterval() -> Interval {
        state.withLock { state in
            var interval = state.interval
            if state.latencies.totalCount > 0 {
                interval.millisecondsP50 = Double(state.latencies.valueAtPercentile(50)) / 1_000
                interval.millisecondsP99 = Double(state.latencies.valueAtPercentile(99)) / 1_000
            }
            state.interval = Interval()
            state.latencies.reset()
            return interval
        }
    }
}

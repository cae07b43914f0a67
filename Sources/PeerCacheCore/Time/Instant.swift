/// What a pure core is told about time: monotonic nanoseconds for its timers and the hybrid logical clock's reading for its records.
package struct Instant: Hashable, Comparable, Sendable {
    /// Monotonic; the zero is arbitrary.
    package var nanoseconds: Int64
    /// Reading of the hybrid logical clock (see ``Stamp/clock``).
    package var hlc: UInt64

    package init(nanoseconds: Int64, hlc: UInt64 = 0) {
        self.nanoseconds = nanoseconds
        self.hlc = hlc
    }

    package static let zero = Instant(nanoseconds: 0)
    package static let distantFuture = Instant(nanoseconds: .max)

    /// Saturates instead of overflowing. The HLC reading is kept.
    package static func + (instant: Instant, duration: Duration) -> Instant {
        let (sum, overflow) = instant.nanoseconds.addingReportingOverflow(duration.nanosecondsSaturating)
        return Instant(nanoseconds: overflow ? .max : sum, hlc: instant.hlc)
    }

    /// Time from `right` to `left`; negative when `left` is earlier.
    package static func - (left: Instant, right: Instant) -> Duration {
        let (difference, overflow) = left.nanoseconds.subtractingReportingOverflow(right.nanoseconds)
        return .nanoseconds(overflow ? .max : difference)
    }

    package static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }
    package static func == (left: Instant, right: Instant) -> Bool { left.nanoseconds == right.nanoseconds }
    package func hash(into hasher: inout Hasher) { hasher.combine(nanoseconds) }
}

extension Duration {
    /// Nanoseconds, saturated to ±`Int64.max`.
    package var nanosecondsSaturating: Int64 {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return seconds < 0 ? -.max : .max }
        let (sum, overflowed) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
        return overflowed ? (seconds < 0 ? -.max : .max) : sum
    }

    /// Milliseconds, rounded up, saturated to 0...`Int64.max`.
    package var millisecondsRoundedUp: Int64 {
        let nanoseconds = max(0, nanosecondsSaturating)
        return nanoseconds / 1_000_000 + (nanoseconds % 1_000_000 == 0 ? 0 : 1)
    }
}

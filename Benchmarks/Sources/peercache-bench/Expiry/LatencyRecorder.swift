import Foundation
import Histogram
import PeerCacheBenchSupport
import Synchronization

/// Latencies of one thread. `@unchecked Sendable` is safe: one thread records, and others look after it has ended.
final class LatencyRecorder: @unchecked Sendable {
    /// Nanoseconds up to a minute in steps of 1 %.
    private var histogram = Histogram<UInt64>(highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .two)

    func record(_ nanoseconds: UInt64) { histogram.record(nanoseconds) }
    func add(_ other: LatencyRecorder) { histogram.add(other.histogram) }
    func microseconds(_ percentile: Double) -> Double { Double(histogram.valueAtPercentile(percentile)) / 1000 }
}

/// Drops what is due, ten times a second, and notes when the store became empty.
final class UpkeepThread: Sendable {
    private let empty = Mutex<UInt64?>(nil)

    /// Milliseconds since 1970; nil: not yet.
    var emptyAt: UInt64? { empty.withLock { $0 } }

    init(_ store: StoreSubject, dropsMax: Int, isOver: StopSign) {
        Thread.detachNewThread { [self] in
            while !isOver.isSet {
                _ = store.expire(entriesMax: dropsMax, milliseconds: Clock.milliseconds)
                _ = store.sweep(bytesMax: 4 << 20, milliseconds: Clock.milliseconds)
                if store.usage.entries == 0 { empty.withLock { if $0 == nil { $0 = Clock.milliseconds } } }
                usleep(100_000)
            }
        }
    }
}

extension Clock {
    /// Milliseconds since 1970 at which ``nanoseconds`` were 0: a second clock would double what a reading costs.
    private static let origin = milliseconds - nanoseconds / 1_000_000

    /// Since 1970, from a reading of ``nanoseconds``.
    static func cachedMilliseconds(_ nanoseconds: UInt64) -> UInt64 { origin + nanoseconds / 1_000_000 }
}

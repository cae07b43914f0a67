package import PeerCacheCore

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#elseif canImport(Darwin)
internal import Darwin
#endif

/// The system's clocks and the hybrid logical clock of this peer. The only place that reads time.
package final class ClusterClock: Sendable {
    /// A reading further ahead of the wall clock is refused (`CONTRACT.md` A2).
    package static let offsetMillisecondsMax: UInt64 = 10_000

    private let hybrid = Lock(HybridLogicalClock())
    private let aheadMilliseconds: UInt64

    /// - Parameter aheadMilliseconds: of this peer's wall clock before the system's; for tests.
    package init(aheadMilliseconds: UInt64 = 0) { self.aheadMilliseconds = aheadMilliseconds }

    /// Monotonic time and the hybrid clock's reading. One lock.
    package func now() -> Instant {
        return Instant(nanoseconds: Self.monotonicNanoseconds, hlc: hybrid.withLock { $0.reading(wallMilliseconds: wall) })
    }

    /// The hybrid clock's reading: milliseconds since 1970 and a counter.
    package func reading() -> UInt64 {
        return hybrid.withLock { $0.reading(wallMilliseconds: wall) }
    }

    /// The stores' time.
    package func tick() -> Tick { Tick(milliseconds: reading() >> 16) }

    /// A clock value above every earlier one of this peer, and above `clock`.
    package func mint(above clock: UInt64) -> UInt64 {
        return hybrid.withLock { $0.mint(above: clock, wallMilliseconds: wall) }
    }

    /// As ``mint(above:)``; nil: it would be of later than `limitMilliseconds`. Whoever stands still before the lock is taken gets nil then, and
    /// after it a value of before.
    package func mint(above clock: UInt64, until limitMilliseconds: UInt64) -> UInt64? {
        let minted = mint(above: clock)
        return minted >> 16 > limitMilliseconds ? nil : minted
    }

    /// Takes in another peer's reading; false when it is too far ahead.
    package func merge(_ remote: UInt64) -> Bool {
        return hybrid.withLock { $0.merge(remote, wallMilliseconds: wall, offsetMillisecondsMax: Self.offsetMillisecondsMax) }
    }

    /// Whether the wall clock shows that much more than another peer's reading; never of 0, which is none.
    package func isAhead(of remote: UInt64, by milliseconds: UInt64) -> Bool {
        let now = wall, then = remote >> 16
        return then > 0 && now > then && now - then > milliseconds
    }

    /// Whether a stamp may be believed.
    package func accepts(_ stamp: Stamp) -> Bool {
        HybridLogicalClock.isAcceptable(stamp.clock, wallMilliseconds: wall, offsetMillisecondsMax: Self.offsetMillisecondsMax)
    }

    private var wall: UInt64 { Self.wallMilliseconds &+ aheadMilliseconds }

    /// Monotonic nanoseconds.
    package static var monotonicNanoseconds: Int64 { read(CLOCK_MONOTONIC) }

    /// Milliseconds since 1970.
    package static var wallMilliseconds: UInt64 { UInt64(max(0, read(CLOCK_REALTIME) / 1_000_000)) }

    /// As ``wallMilliseconds``, for a few nanoseconds, and late by a timer tick of the system (1 to 10 ms) as a rule; there is no bound.
    package static var coarseWallMilliseconds: UInt64 {
        #if os(Linux)
        UInt64(max(0, read(CLOCK_REALTIME_COARSE) / 1_000_000))
        #else
        wallMilliseconds
        #endif
    }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}

import Foundation

/// The clocks of this process.
enum Clock {
    /// Since 1970.
    static var milliseconds: UInt64 { read(CLOCK_REALTIME) / 1_000_000 }

    /// Of no fixed beginning.
    static var nanoseconds: UInt64 { read(CLOCK_MONOTONIC) }

    /// Of the calling thread on a core.
    static var usedNanoseconds: UInt64 { read(CLOCK_THREAD_CPUTIME_ID) }

    /// CPU time of this process.
    static var processNanoseconds: UInt64 { read(CLOCK_PROCESS_CPUTIME_ID) }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

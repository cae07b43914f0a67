internal import PeerCacheCore

/// A clock that moves only when a test says so: monotonic nanoseconds and wall milliseconds, which can be set apart to play a stepped or
/// skewed wall clock.
public final class ManualClock: Sendable {
    private struct State {
        var nanoseconds: Int64 = 0
        var wallMilliseconds: UInt64
    }
    private let state: Lock<State>

    /// - Parameter wallMilliseconds: milliseconds since 1970 at the start.
    public init(wallMilliseconds: UInt64 = 1_700_000_000_000) { state = Lock(State(wallMilliseconds: wallMilliseconds)) }

    /// Monotonic nanoseconds since the clock was made.
    public var nanoseconds: Int64 { state.withLock { $0.nanoseconds } }

    /// Milliseconds since 1970.
    public var wallMilliseconds: UInt64 { state.withLock { $0.wallMilliseconds } }

    /// Moves both clocks forward. A negative duration moves nothing.
    public func advance(by duration: Duration) {
        let (seconds, attoseconds) = duration.components
        guard seconds >= 0, attoseconds >= 0 else { return }
        state.withLock {
            $0.nanoseconds += seconds * 1_000_000_000 + attoseconds / 1_000_000_000
            $0.wallMilliseconds += UInt64(seconds) * 1000 + UInt64(attoseconds / 1_000_000_000_000_000)
        }
    }

    /// Sets the wall clock alone, forwards or back.
    public func setWallClock(milliseconds: UInt64) { state.withLock { $0.wallMilliseconds = milliseconds } }
}

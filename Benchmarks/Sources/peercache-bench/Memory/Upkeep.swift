import PeerCacheBenchSupport
import Synchronization

/// Upkeep at the pace of a running peer: ten times a second.
struct UpkeepClock {
    private let sweepBytes: Int
    private var next: UInt64 = 0

    init(_ shape: MemoryShape) { sweepBytes = shape.sweepMegabytes << 20 }

    /// Does nothing until a tenth of a second is over.
    mutating func run(_ store: StoreSubject) {
        let now = Clock.nanoseconds
        guard now >= next else { return }
        next = now + 100_000_000
        _ = store.expire(entriesMax: 20_000, milliseconds: Clock.milliseconds)
        _ = store.sweep(bytesMax: sweepBytes, milliseconds: Clock.milliseconds)
    }
}

/// Raised once.
final class StopSign: Sendable {
    private let state = Atomic<Bool>(false)
    var isSet: Bool { state.load(ordering: .relaxed) }
    func set() { state.store(true, ordering: .relaxed) }
}

/// Notes when resident memory came down.
final class Watch: Sendable {
    struct Seen: Sendable {
        /// Seconds until it stayed below the target; nil: never.
        var reached: Double?
        /// Bytes five seconds after the start, or when last seen before.
        var afterFive = 0
    }
    private let state = Mutex(Seen())
    var seen: Seen { state.withLock { $0 } }

    func note(_ seconds: Double, resident: Int, target: Int) {
        state.withLock { state in
            if resident > target { state.reached = nil } else if state.reached == nil { state.reached = seconds }
            if seconds <= 5 { state.afterFive = resident }
        }
    }
}

/// Writes keys without allocating: as ``Workload/key(_:)``.
struct KeyWriter: ~Copyable {
    private let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: Workload.keyBytes, alignment: 8)

    init() { bytes.copyBytes(from: "key:0000000000000".utf8) }

    deinit { bytes.deallocate() }

    /// Valid until the next call.
    mutating func write(_ number: Int) -> UnsafeRawBufferPointer {
        var left = number, position = Workload.keyBytes - 1
        while position > 3 {
            bytes[position] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: left % 10)
            left /= 10
            position -= 1
        }
        return UnsafeRawBufferPointer(bytes)
    }
}

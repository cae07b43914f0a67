/// Hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): 48 bits of wall milliseconds and a 16-bit counter in one word.
///
/// Pure: the wall time comes in. A full counter carries into the milliseconds, which differs from the paper's pair but keeps the order.
package struct HybridLogicalClock: Sendable {
    /// The highest reading given out or merged so far.
    package private(set) var last: UInt64 = 0

    package init() {}

    /// The largest value whose milliseconds fit in 48 bits.
    package static let millisecondsMax: UInt64 = (1 << 48) - 1

    /// A reading above all earlier ones and not below the wall clock.
    /// - Parameter wallMilliseconds: milliseconds since 1970.
    package mutating func tick(wallMilliseconds: UInt64) -> UInt64 {
        let (next, overflow) = last.addingReportingOverflow(1)
        last = max(Self.word(wallMilliseconds), overflow ? last : next)
        return last
    }

    /// A reading above `clock` as well.
    package mutating func mint(above clock: UInt64, wallMilliseconds: UInt64) -> UInt64 {
        last = max(last, clock)
        return tick(wallMilliseconds: wallMilliseconds)
    }

    /// What the clock shows, without advancing it.
    package func reading(wallMilliseconds: UInt64) -> UInt64 { max(last, Self.word(wallMilliseconds)) }

    /// Takes in a reading of another peer. False, and nothing is changed, when it lies more than `offsetMillisecondsMax` ahead of the wall
    /// clock: one wrong clock must not drag the cluster (`CONTRACT.md` I2).
    package mutating func merge(_ remote: UInt64, wallMilliseconds: UInt64, offsetMillisecondsMax: UInt64) -> Bool {
        guard Self.isAcceptable(remote, wallMilliseconds: wallMilliseconds, offsetMillisecondsMax: offsetMillisecondsMax) else {
            return false
        }
        last = max(last, remote)
        return true
    }

    /// Whether a reading or stamp is at most `offsetMillisecondsMax` ahead of the wall clock.
    package static func isAcceptable(_ remote: UInt64, wallMilliseconds: UInt64, offsetMillisecondsMax: UInt64) -> Bool {
        let (limit, overflow) = wallMilliseconds.addingReportingOverflow(offsetMillisecondsMax)
        return overflow || remote >> 16 <= limit
    }

    private static func word(_ milliseconds: UInt64) -> UInt64 { min(milliseconds, millisecondsMax) << 16 }
}

/// The stores' time: milliseconds since 1970 / 64, the low 32 bits, compared with wrap-around (`STORE.md`).
package struct Tick: Hashable, Sendable {
    package var value: UInt32

    package init(_ value: UInt32) { self.value = value }
    package init(milliseconds: UInt64) { value = UInt32(truncatingIfNeeded: milliseconds >> 6) }

    /// Milliseconds in one tick.
    package static let milliseconds: UInt64 = 64
    /// The furthest a tick may lie ahead and still compare as later: a little over four years.
    package static let horizon: UInt32 = .max / 2

    /// Ticks from `self` to `other`, negative when `other` is earlier.
    package func distance(to other: Tick) -> Int32 { Int32(bitPattern: other.value &- value) }

    package func isAtOrAfter(_ other: Tick) -> Bool { other.distance(to: self) >= 0 }
}

/// Version of an entry: hybrid logical clock (48 bits of milliseconds, 16 of counter), then the origin tag of the peer that minted it.
///
/// Compared as one 96-bit number. No stamp is ever used for two contents (`CONTRACT.md` §3).
package struct Stamp: Hashable, Comparable, Sendable {
    /// Milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
    package var clock: UInt64
    /// Origin tag: low 32 bits of the minting peer's id.
    package var origin: UInt32

    package init(clock: UInt64, origin: UInt32) {
        self.clock = clock
        self.origin = origin
    }

    /// Below every stamp that is ever minted.
    package static let zero = Stamp(clock: 0, origin: 0)

    /// The lowest stamp above this one.
    package var successor: Stamp {
        origin < .max ? Stamp(clock: clock, origin: origin + 1) : Stamp(clock: clock == .max ? clock : clock + 1, origin: 0)
    }

    /// Milliseconds since 1970 at which it was minted.
    package var milliseconds: UInt64 { clock >> 16 }

    package static func < (left: Stamp, right: Stamp) -> Bool {
        left.clock != right.clock ? left.clock < right.clock : left.origin < right.origin
    }
}

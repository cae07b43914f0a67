/// Identity of one run of one process: 128 random bits, new at every start, so an answer of a dead process can never be taken for
/// one of its successor.
package struct PeerID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var high: UInt64
    package var low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// All bits zero: "no peer" on the wire. Never drawn as an identity.
    package static let none = PeerID(high: 0, low: 0)

    /// The low 32 bits, which travel in every stamp this peer mints. Unique in the member table.
    package var originTag: UInt32 { UInt32(truncatingIfNeeded: low) }

    package static func < (left: PeerID, right: PeerID) -> Bool {
        left.high != right.high ? left.high < right.high : left.low < right.low
    }

    /// 32 hexadecimal digits.
    package var description: String { Self.hexadecimal(high) + Self.hexadecimal(low) }

    private static func hexadecimal(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// One of 16,384 equal ranges of the 64-bit key hash: the unit of placement, transfer and repair.
package struct Slot: Hashable, Comparable, Sendable {
    /// 0..<16,384.
    package var index: Int

    package static let bits = 14
    package static let count = 1 << bits

    /// The slot of a key hash: its top 14 bits.
    package init(hash: UInt64) { index = Int(truncatingIfNeeded: hash >> (64 - UInt64(Self.bits))) }

    /// Nil unless `index` is in 0..<16,384.
    package init?(index: Int) {
        guard index >= 0, index < Self.count else { return nil }
        self.index = index
    }

    package static func < (left: Slot, right: Slot) -> Bool { left.index < right.index }
}

/// One eighth of a slot (the next three bits of the hash): carries one floor (`CONTRACT.md` §1).
package struct BucketIndex: Hashable, Sendable {
    /// 0..<131,072.
    package var index: Int

    package static let perSlot = 8
    package static let count = Slot.count * perSlot

    package init(hash: UInt64) { index = Int(truncatingIfNeeded: hash >> 47) }

    /// Nil unless `index` is in 0..<131,072.
    package init?(index: Int) {
        guard index >= 0, index < Self.count else { return nil }
        self.index = index
    }

    package var slot: Int { index / Self.perSlot }

    /// The eight buckets of a slot.
    package static func all(of slot: Slot) -> [BucketIndex] { (0..<perSlot).compactMap { BucketIndex(index: slot.index * perSlot + $0) } }
}

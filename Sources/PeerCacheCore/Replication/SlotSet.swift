/// A set of slots: one bit each, 2 KiB.
package struct SlotSet: Hashable, Sendable {
    /// Size on the wire: lowest bit of the first byte first.
    package static let byteCount = Slot.count / 8

    private var words: [UInt64]
    package private(set) var count = 0

    private static let none = [UInt64](repeating: 0, count: Slot.count / 64)

    /// Without an allocation.
    package init() { words = Self.none }

    /// Nil unless there are exactly ``byteCount`` bytes, or none: the empty set.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        self.init()
        if bytes.isEmpty { return }
        guard bytes.count == Self.byteCount else { return nil }
        for position in words.indices {
            words[position] = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position * 8, as: UInt64.self))
            count += words[position].nonzeroBitCount
        }
    }

    package init(_ slots: some Sequence<Slot>) {
        self.init()
        for slot in slots { insert(slot) }
    }

    package var isEmpty: Bool { count == 0 }

    /// For the wire; nothing for the empty set.
    package var bytes: [UInt8] {
        if isEmpty { return [] }
        return [UInt8](unsafeUninitializedCapacity: Self.byteCount) { buffer, initialized in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            for (position, word) in words.enumerated() {
                bytes.storeBytes(of: word.littleEndian, toByteOffset: position * 8, as: UInt64.self)
            }
            initialized = Self.byteCount
        }
    }

    package func contains(_ slot: Slot) -> Bool { words[slot.index >> 6] >> UInt64(slot.index & 63) & 1 == 1 }

    package mutating func insert(_ slot: Slot) {
        if contains(slot) { return }
        words[slot.index >> 6] = words[slot.index >> 6] | 1 << UInt64(slot.index & 63)
        count += 1
    }

    package mutating func remove(_ slot: Slot) {
        guard contains(slot) else { return }
        words[slot.index >> 6] = words[slot.index >> 6] & ~(1 << UInt64(slot.index & 63))
        count -= 1
    }

    package mutating func formUnion(_ other: SlotSet) {
        if isEmpty { self = other } else if !other.isEmpty { combine(other) { $0 | $1 } }
    }

    package mutating func subtract(_ other: SlotSet) {
        if !isEmpty, !other.isEmpty { combine(other) { $0 & ~$1 } }
    }

    package func intersection(_ other: SlotSet) -> SlotSet {
        if isEmpty || other.isEmpty { return SlotSet() }
        var result = self
        result.combine(other) { $0 & $1 }
        return result
    }

    private mutating func combine(_ other: SlotSet, _ operation: (UInt64, UInt64) -> UInt64) {
        count = 0
        for position in words.indices {
            words[position] = operation(words[position], other.words[position])
            count += words[position].nonzeroBitCount
        }
    }

    /// The slots, ascending.
    package var slots: [Slot] {
        var slots: [Slot] = []
        slots.reserveCapacity(count)
        for (position, word) in words.enumerated() {
            var rest = word
            while rest != 0 {
                if let slot = Slot(index: position << 6 | rest.trailingZeroBitCount) { slots.append(slot) }
                rest &= rest - 1
            }
        }
        return slots
    }
}

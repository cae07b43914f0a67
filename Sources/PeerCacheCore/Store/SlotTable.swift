/// Per slot of a shard: whether it is held, and its floors.
///
/// A slot has 8 buckets, each with a floor. In stores below 8 MiB neighbouring buckets share one, down to one per slot at 1 MiB, as the
/// floors of all slots would else exceed the limit. A shared floor is only ever too high: it can cause a miss, never a stale hit.
struct SlotTable: ~Copyable {
    let slots: Range<Int>
    /// log2 of the floors per slot, 0...3.
    private let floorBits: Int
    private let isHeldBits: UnsafeMutablePointer<UInt64>
    private let clocks: UnsafeMutablePointer<UInt64>
    private let origins: UnsafeMutablePointer<UInt32>
    private(set) var heldCount = 0

    /// - Parameters:
    ///   - slots: a range of 0..<16,384, a multiple of 64 long.
    ///   - floorsPerSlot: 1, 2, 4 or 8.
    ///   - table: ``tableBytes(slots:floorsPerSlot:)`` zero bytes that live as long.
    init(slots: Range<Int>, floorsPerSlot: Int, table: UnsafeMutableRawPointer) {
        self.slots = slots
        floorBits = floorsPerSlot.trailingZeroBitCount
        let floors = slots.count * floorsPerSlot
        clocks = table.bindMemory(to: UInt64.self, capacity: floors)
        isHeldBits = (table + floors * 8).bindMemory(to: UInt64.self, capacity: slots.count / 64)
        origins = (table + floors * 8 + slots.count / 8).bindMemory(to: UInt32.self, capacity: floors)
    }

    static func tableBytes(slots: Int, floorsPerSlot: Int) -> Int { slots * floorsPerSlot * 12 + slots / 8 }

    // MARK: Held slots

    @inline(__always)
    func isHeld(_ slot: Int) -> Bool {
        let local = slot - slots.lowerBound
        return local >= 0 && local < slots.count && isHeldBits[local >> 6] >> UInt64(local & 63) & 1 == 1
    }

    mutating func adopt(_ slot: Int) {
        guard slots.contains(slot), !isHeld(slot) else { return }
        let word = (slot - slots.lowerBound) >> 6
        isHeldBits[word] = isHeldBits[word] | 1 << UInt64(slot & 63)  // not `|=`: Swift 6.3.1 fails on it under Thread Sanitizer
        heldCount += 1
    }

    /// Makes the slot absent and its floors zero. Its entries are gone already.
    mutating func forget(_ slot: Int) {
        guard isHeld(slot) else { return }
        let word = (slot - slots.lowerBound) >> 6
        isHeldBits[word] = isHeldBits[word] & ~(1 << UInt64(slot & 63))
        heldCount -= 1
        let first = (slot - slots.lowerBound) << floorBits
        for floor in first..<first + (1 << floorBits) {
            clocks[floor] = 0
            origins[floor] = 0
        }
    }

    /// Slots held, counted from scratch.
    var heldRecount: Int { (0..<slots.count / 64).reduce(0) { $0 + isHeldBits[$1].nonzeroBitCount } }

    // MARK: Floors

    private func floorPosition(_ bucket: BucketIndex) -> Int? {
        guard bucket.index >= 0, isHeld(bucket.slot) else { return nil }
        return (bucket.index >> (3 - floorBits)) - (slots.lowerBound << floorBits)
    }

    /// The floor of a bucket, ``Stamp/zero`` in an absent slot.
    func floor(_ bucket: BucketIndex) -> Stamp {
        guard let position = floorPosition(bucket) else { return .zero }
        return Stamp(clock: clocks[position], origin: origins[position])
    }

    /// Whether all floors of the slot are zero.
    func hasNoFloor(_ slot: Int) -> Bool {
        guard isHeld(slot) else { return true }
        let first = (slot - slots.lowerBound) << floorBits
        return (first..<first + (1 << floorBits)).allSatisfy { clocks[$0] == 0 && origins[$0] == 0 }
    }

    /// Floors rise only. Nothing happens in an absent slot.
    mutating func raiseFloor(_ bucket: BucketIndex, to stamp: Stamp) {
        guard let position = floorPosition(bucket), stamp > Stamp(clock: clocks[position], origin: origins[position]) else { return }
        clocks[position] = stamp.clock
        origins[position] = stamp.origin
    }
}

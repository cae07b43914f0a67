/// Per slot of a shard: whether it is held, the list of its entries, and its floors.
///
/// A slot has 8 buckets, each with a floor. In stores below 8 MiB neighbouring buckets share one, down to one per slot at 1 MiB, as the
/// floors of all slots would else exceed the limit. A shared floor is only ever too high: it can cause a miss, never a stale hit.
struct SlotTable: ~Copyable {
    private static let absent = UInt32.max - 1

    let slots: Range<Int>
    /// log2 of the floors per slot, 0...3.
    private let floorBits: Int
    private let heads: UnsafeMutablePointer<UInt32>
    private let clocks: UnsafeMutablePointer<UInt64>
    private let origins: UnsafeMutablePointer<UInt32>
    private(set) var heldCount = 0

    /// - Parameters:
    ///   - slots: a range of 0..<16,384.
    ///   - floorsPerSlot: 1, 2, 4 or 8.
    init(slots: Range<Int>, floorsPerSlot: Int) {
        self.slots = slots
        floorBits = floorsPerSlot.trailingZeroBitCount
        heads = .allocate(capacity: slots.count)
        heads.initialize(repeating: Self.absent, count: slots.count)
        let floors = slots.count * floorsPerSlot
        clocks = .allocate(capacity: floors)
        clocks.initialize(repeating: 0, count: floors)
        origins = .allocate(capacity: floors)
        origins.initialize(repeating: 0, count: floors)
    }

    deinit {
        heads.deallocate()
        clocks.deallocate()
        origins.deallocate()
    }

    /// Bytes counted for a table of `slots` slots.
    static func charge(slots: Int, floorsPerSlot: Int) -> Int {
        let floors = slots * floorsPerSlot
        return AllocatorClass.charge(slots * 4) + AllocatorClass.charge(floors * 8) + AllocatorClass.charge(floors * 4)
    }

    // MARK: Held slots

    func isHeld(_ slot: Int) -> Bool { slots.contains(slot) && heads[slot - slots.lowerBound] != Self.absent }

    /// First entry of a slot, ``Entry/none`` when it has none or is absent.
    func head(_ slot: Int) -> UInt32 { isHeld(slot) ? heads[slot - slots.lowerBound] : Entry.none }

    /// The first held slot from `slot` on, nil when there is none.
    func firstHeld(from slot: Int) -> Int? {
        var local = slot - slots.lowerBound
        while local < slots.count, heads[local] == Self.absent { local += 1 }
        return local < slots.count ? slots.lowerBound + local : nil
    }

    mutating func adopt(_ slot: Int) {
        guard slots.contains(slot), !isHeld(slot) else { return }
        heads[slot - slots.lowerBound] = Entry.none
        heldCount += 1
    }

    /// Makes the slot absent and its floors zero. Its entries are gone already.
    mutating func forget(_ slot: Int) {
        guard isHeld(slot) else { return }
        assert(head(slot) == Entry.none)
        heads[slot - slots.lowerBound] = Self.absent
        heldCount -= 1
        let first = (slot - slots.lowerBound) << floorBits
        for floor in first..<first + (1 << floorBits) {
            clocks[floor] = 0
            origins[floor] = 0
        }
    }

    // MARK: The list of a slot's entries

    mutating func link(_ handle: UInt32, _ entries: borrowing EntryTable) {
        let entry = entries[handle]
        let local = Slot(hash: entry.pointee.hash).index - slots.lowerBound
        let head = heads[local]
        assert(head != Self.absent)
        entry.pointee.slotNext = head
        entry.pointee.slotBack = Entry.none
        if head != Entry.none { entries[head].pointee.slotBack = handle }
        heads[local] = handle
    }

    mutating func unlink(_ handle: UInt32, _ entries: borrowing EntryTable) {
        let entry = entries[handle]
        let (next, back) = (entry.pointee.slotNext, entry.pointee.slotBack)
        if next != Entry.none { entries[next].pointee.slotBack = back }
        if back != Entry.none {
            entries[back].pointee.slotNext = next
        } else {
            heads[Slot(hash: entry.pointee.hash).index - slots.lowerBound] = next
        }
    }

    /// The entry at `handle` came from another position: tell its neighbours.
    mutating func entryMoved(to handle: UInt32, _ entries: borrowing EntryTable) {
        let entry = entries[handle]
        let (next, back) = (entry.pointee.slotNext, entry.pointee.slotBack)
        if next != Entry.none { entries[next].pointee.slotBack = handle }
        if back != Entry.none {
            entries[back].pointee.slotNext = handle
        } else {
            heads[Slot(hash: entry.pointee.hash).index - slots.lowerBound] = handle
        }
    }

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

    /// Floors rise only. Nothing happens in an absent slot.
    mutating func raiseFloor(_ bucket: BucketIndex, to stamp: Stamp) {
        guard let position = floorPosition(bucket), stamp > Stamp(clock: clocks[position], origin: origins[position]) else { return }
        clocks[position] = stamp.clock
        origins[position] = stamp.origin
    }
}

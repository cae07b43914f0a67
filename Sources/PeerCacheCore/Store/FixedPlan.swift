internal import Synchronization

/// Where the tables of a store that never grow lie: words of the index, floors, and per shard the gate, timer wheel, classes and eras.
struct FixedPlan {
    let shards: Int
    let floorsPerSlot: Int
    /// Ranges of the index, a power of two.
    let roots: Int
    private let slotBytes: Int
    private let gateOffset: Int
    private let tables: Int
    let bytes: Int

    private static let tableBytes = (TimerWheel.tableBytes + Slab.tableBytes + ValueOrder.tableBytes + 63) & ~63

    init(limit: Int, shards: Int) {
        self.shards = shards
        floorsPerSlot = min(BucketIndex.perSlot, ByteStore.powerOfTwo(atMost: limit >> 20))
        // Few, so that they stay in the cache and a small cache has dense blocks; directories do the rest.
        roots = max(shards, min(1024, max(128, ByteStore.powerOfTwo(atMost: limit >> 13))))
        slotBytes = SlotTable.tableBytes(slots: Slot.count / shards, floorsPerSlot: floorsPerSlot)
        gateOffset = (roots * 4 + 127) & ~127
        tables = gateOffset + shards * Gate.bytes
        bytes = (tables + shards * (Self.tableBytes + slotBytes) + 4095) & ~4095
    }

    /// hash >> rootShift is the range.
    var rootShift: UInt32 { UInt32(32 - roots.trailingZeroBitCount) }

    func roots(_ fixed: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Atomic<UInt32>> {
        fixed.assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    func gates(_ fixed: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer { fixed + gateOffset }

    /// - Parameter fixed: ``bytes`` zero bytes that live as long.
    func shard(
        _ number: Int, fixed: UnsafeMutableRawPointer, shared: StoreShared, policy: PolicyKind, isExact: Bool, seed: UInt64,
        entriesExpected: Int
    ) -> Shard {
        let gate = Gate(gates(fixed) + number * Gate.bytes)
        let table = fixed + tables + number * (Self.tableBytes + slotBytes)
        let (slots, ranges) = (Slot.count / shards, roots / shards)
        return Shard(
            number: number, shared: shared, gate: gate,
            index: ShardIndex(
                entries: EntryMemory(base: shared.arena.pointee.base), roots: roots(fixed) + number * ranges, firstRoot: number * ranges,
                rootCount: ranges, rootShift: rootShift),
            slab: Slab(arena: shared.arena, budget: shared.budget, table: table),
            order: ValueOrder(
                policy, isExact: isExact, seed: seed &+ UInt64(number), entriesExpected: entriesExpected, published: gate.era,
                table: table + Slab.tableBytes),
            wheel: TimerWheel(table: table + Slab.tableBytes + ValueOrder.tableBytes, now: Tick(0)),
            slots: SlotTable(slots: number * slots..<(number + 1) * slots, floorsPerSlot: floorsPerSlot, table: table + Self.tableBytes))
    }
}

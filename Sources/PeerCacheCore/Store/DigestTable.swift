/// What a bucket holds, summed up by the age of its stamps, so that two holders can compare without listing (`CONTRACT.md` §10).
///
/// A cell is the exclusive or of 32 bits of XXH3 for each entry: of its hash, stamp and kind. Expired entries count until they are dropped.
package struct BucketDigest: Hashable, Sendable {
    /// Units of 2¹⁶ ms that have a cell of their own.
    package static let units = 8

    /// The newest unit of which there was an entry.
    package var newestUnit: UInt32
    /// Those of the last ``units`` units, by unit modulo ``units``.
    package var cells: [UInt32]
    /// All that is older.
    package var older: UInt32

    /// The unit of a stamp: its milliseconds / 65,536.
    package static func unit(_ stamp: Stamp) -> UInt32 { UInt32(truncatingIfNeeded: stamp.clock >> 32) }

    /// The same contents as they look at a later unit: two holders compare at the later of theirs.
    package func rolled(to unit: UInt32) -> BucketDigest {
        var digest = self
        guard unit > newestUnit else { return digest }
        for step in 1...min(UInt32(Self.units), unit - newestUnit) {
            let position = Int((newestUnit &+ step) % UInt32(Self.units))
            digest.older ^= digest.cells[position]
            digest.cells[position] = 0
        }
        digest.newestUnit = unit
        return digest
    }
}

/// The digests of a shard's slots that have other holders: 320 bytes each. Told of every entry that comes or goes.
struct DigestTable: ~Copyable {
    // Of a bucket: cells, older, newest unit.
    private static let words = BucketDigest.units + 2
    private static let slotWords = words * BucketIndex.perSlot
    static let slotCharge = AllocatorClass.charge(slotWords * 4)

    private let slots: Range<Int>
    /// By slot; nil until the first one has a digest.
    private var tables: UnsafeMutablePointer<UnsafeMutablePointer<UInt32>?>?
    /// Slots with a digest.
    private(set) var count = 0

    init(slots: Range<Int>) { self.slots = slots }

    /// Bytes counted.
    var charge: Int { (tables == nil ? 0 : tablesCharge) + count * Self.slotCharge }
    private var tablesCharge: Int { AllocatorClass.charge(slots.count * 8) }

    private func table(_ slot: Int) -> UnsafeMutablePointer<UInt32>? {
        guard slots.contains(slot), let tables else { return nil }
        return tables[slot - slots.lowerBound]
    }

    func has(_ slot: Int) -> Bool { table(slot) != nil }

    /// Begins the digest of a slot, as if that were empty. False: the limit leaves no room.
    mutating func start(_ slot: Int, _ budget: borrowing ByteBudget) -> Bool {
        guard slots.contains(slot) else { return false }
        if has(slot) { return true }
        guard budget.reserve(Self.slotCharge + (tables == nil ? tablesCharge : 0)) else { return false }
        if tables == nil {
            let tables = UnsafeMutablePointer<UnsafeMutablePointer<UInt32>?>.allocate(capacity: slots.count)
            tables.initialize(repeating: nil, count: slots.count)
            self.tables = tables
        }
        let table = UnsafeMutablePointer<UInt32>.allocate(capacity: Self.slotWords)
        table.initialize(repeating: 0, count: Self.slotWords)
        tables?[slot - slots.lowerBound] = table
        count += 1
        return true
    }

    mutating func stop(_ slot: Int, _ budget: borrowing ByteBudget) {
        guard let table = table(slot) else { return }
        table.deallocate()
        tables?[slot - slots.lowerBound] = nil
        count -= 1
        budget.release(Self.slotCharge)
    }

    /// To be called before the table goes.
    mutating func deallocate(_ budget: borrowing ByteBudget) {
        for slot in slots { stop(slot, budget) }
        tables?.deallocate()
        tables = nil
    }

    /// An entry has come, or goes.
    @inline(__always)
    func toggle(hash: UInt32, stamp: Stamp, isTombstone: Bool) {
        if count > 0 { toggleIfKept(hash, stamp, isTombstone) }
    }

    private func toggleIfKept(_ hash: UInt32, _ stamp: Stamp, _ isTombstone: Bool) {
        let bucket = BucketIndex(hash: UInt64(hash) << 32)
        guard let table = table(bucket.slot) else { return }
        let words = table + bucket.index % BucketIndex.perSlot * Self.words
        let unit = BucketDigest.unit(stamp)
        let newest = words[BucketDigest.units + 1]
        if unit > newest {
            for step in 1...min(UInt32(BucketDigest.units), unit - newest) {
                let position = Int((newest &+ step) % UInt32(BucketDigest.units))
                words[BucketDigest.units] ^= words[position]
                words[position] = 0
            }
            words[BucketDigest.units + 1] = unit
        }
        let isRecent = max(newest, unit) - unit < UInt32(BucketDigest.units)
        words[isRecent ? Int(unit % UInt32(BucketDigest.units)) : BucketDigest.units] ^= Self.sum(hash, stamp, isTombstone)
    }

    private static func sum(_ hash: UInt32, _ stamp: Stamp, _ isTombstone: Bool) -> UInt32 {
        withUnsafeTemporaryAllocation(byteCount: 17, alignment: 8) { bytes in
            bytes.storeBytes(of: stamp.clock.littleEndian, toByteOffset: 0, as: UInt64.self)
            bytes.storeBytes(of: stamp.origin.littleEndian, toByteOffset: 8, as: UInt32.self)
            bytes.storeBytes(of: hash.littleEndian, toByteOffset: 12, as: UInt32.self)
            bytes.storeBytes(of: isTombstone ? 1 : 0, toByteOffset: 16, as: UInt8.self)
            return UInt32(truncatingIfNeeded: publicHash(UnsafeRawBufferPointer(bytes)))
        }
    }

    /// The digests of a slot's buckets; nil: none are kept.
    func digests(_ slot: Int) -> [BucketDigest]? {
        guard let table = table(slot) else { return nil }
        return (0..<BucketIndex.perSlot).map { bucket in
            let words = table + bucket * Self.words
            return BucketDigest(
                newestUnit: words[BucketDigest.units + 1], cells: (0..<BucketDigest.units).map { words[$0] },
                older: words[BucketDigest.units])
        }
    }
}

/// What a bucket holds, summed up by the age of its stamps, so that two holders can compare without listing (`CONTRACT.md` §10).
///
/// A cell is the exclusive or of 32 bits of XXH3 for each entry: of its hash, stamp and kind. Summed up when it is wanted: a peer compares a
/// few dozen slots in a second, which costs less than keeping the sums with every write.
package struct BucketDigest: Hashable, Sendable {
    /// Units of 2¹⁶ ms that have a cell of their own.
    package static let units = 8

    /// The newest unit of which there was an entry.
    package var newestUnit: UInt32
    /// Those of the last ``units`` units, by unit modulo ``units``.
    package var cells: [UInt32]
    /// All that is older.
    package var older: UInt32

    /// Of nothing.
    package init() { self.init(newestUnit: 0, cells: [UInt32](repeating: 0, count: Self.units), older: 0) }

    package init(newestUnit: UInt32, cells: [UInt32], older: UInt32) {
        (self.newestUnit, self.cells, self.older) = (newestUnit, cells, older)
    }

    /// Adds an entry, or takes it out again.
    mutating func toggle(hash: UInt32, stamp: Stamp, isTombstone: Bool) {
        let unit = Self.unit(stamp)
        if unit > newestUnit { self = rolled(to: unit) }
        let sum = Self.sum(hash, stamp, isTombstone)
        if newestUnit - unit < UInt32(Self.units) { cells[Int(unit % UInt32(Self.units))] ^= sum } else { older ^= sum }
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

/// How often keys were used of late, by hash: the count-min sketch of TinyLFU (Einziger, Friedman and Manes, 2017). Four of the sixteen 4-bit
/// counters that each record brings are raised for a use; they saturate at 15, and after ten uses per record all are halved, so that what was
/// popular once makes room.
///
/// Eight bytes for each record that fits the shard's table. Its owner deallocates it.
struct NearSketch {
    private var words: UnsafeMutableBufferPointer<UInt64>
    private var additions = 0

    init(records: Int = NearTable.slotsMin / 2) { words = Self.allocate(records) }

    func deallocate() { words.deallocate() }

    private static func allocate(_ count: Int) -> UnsafeMutableBufferPointer<UInt64> {
        let words = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: count)
        words.initialize(repeating: 0)
        return words
    }

    /// - Parameter records: a power of two. O(records).
    mutating func grow(toRecords records: Int) {
        guard records > words.count else { return }
        let larger = Self.allocate(records)
        // A word of the larger sketch begins with the counts of the one that it was split from.
        for index in 0..<records { larger[index] = words[index & (words.count - 1)] }
        words.deallocate()
        words = larger
    }

    mutating func add(_ hash: UInt64) {
        var mixed = Self.mixed(hash)
        for _ in 0..<4 {
            let (index, shift) = counter(&mixed)
            if words[index] >> shift & 15 < 15 { words[index] += 1 << shift }
        }
        additions += 1
        guard additions >= words.count * 10 else { return }
        additions /= 2
        for index in words.indices { words[index] = words[index] >> 1 & 0x7777_7777_7777_7777 }
    }

    /// 0...15; at least the uses since the last halving.
    func estimate(_ hash: UInt64) -> UInt8 {
        var mixed = Self.mixed(hash), lowest: UInt64 = 15
        for _ in 0..<4 {
            let (index, shift) = counter(&mixed)
            lowest = min(lowest, words[index] >> shift & 15)
        }
        return UInt8(lowest)
    }

    private static func mixed(_ hash: UInt64) -> UInt64 { hash &* 0x9E37_79B9_7F4A_7C15 }

    private func counter(_ mixed: inout UInt64) -> (index: Int, shift: UInt64) {
        // The finalizer's step of SplitMix64 for each row.
        mixed = (mixed ^ mixed >> 31) &* 0xBF58_476D_1CE4_E5B9
        return (Int(truncatingIfNeeded: mixed >> 24) & (words.count - 1), (mixed >> 60) &* 4)
    }
}

internal import Synchronization

/// Which value of a shard goes next: least recently used, by eras. The only place that orders values.
///
/// A shard's era advances every `entries / 16` inserts, and a hit moves an entry to the front only if it was not moved in this era: so most
/// hits write nothing. Eras count inserts, not seconds: where nothing is inserted nothing needs to move, and where a shard turns over fast,
/// eras are short. The order is wrong by at most 1/16 of a turnover.
struct Recency {
    /// Bytes for the ticks at which the eras began.
    static let tableBytes = 256 * MemoryLayout<UInt32>.stride

    private(set) var list = EntryList()
    private var insertsLeft = 1
    /// Exact order: each hit moves.
    private let isExact: Bool
    /// Where readers without a lock look for the era; 256 and more: no entry is of it.
    private let published: UnsafeMutablePointer<Atomic<UInt32>>
    private let began: UnsafeMutablePointer<UInt32>
    private var era: UInt8 = 0

    init(isExact: Bool, published: UnsafeMutablePointer<Atomic<UInt32>>, table: UnsafeMutableRawPointer) {
        self.isExact = isExact
        self.published = published
        began = table.bindMemory(to: UInt32.self, capacity: 256)
        if isExact { published.pointee.store(256, ordering: .relaxed) }
    }

    /// A value came or was replaced. It is in no list.
    /// - Parameter count: values and tombstones of the shard.
    @inline(__always)
    mutating func inserted(_ handle: UInt32, count: Int, now: Tick, _ entries: EntryMemory) {
        insertsLeft &-= 1
        if insertsLeft <= 0 {
            insertsLeft = max(1, count &>> 4)
            era &+= 1
            began[Int(era)] = now.value
            if !isExact { published.pointee.store(UInt32(era), ordering: .relaxed) }
        }
        entries[handle].era = era
        list.pushFront(handle, entries)
    }

    @inline(__always)
    mutating func hit(_ handle: UInt32, now: Tick, _ entries: EntryMemory) {
        let entry = entries[handle]
        if entry.era != era { entry.era = era } else if !isExact { return }
        list.moveToFront(handle, entries)
    }

    @inline(__always)
    mutating func removed(_ handle: UInt32, _ entries: EntryMemory) { list.unlink(handle, entries) }

    mutating func moved(to handle: UInt32, _ entries: EntryMemory) { list.moved(to: handle, entries) }

    /// The value to go next, 0 when there is none but `spared`.
    func victim(sparing spared: UInt32, _ entries: EntryMemory) -> UInt32 {
        let back = list.back
        return back == spared && back != 0 ? entries[back].newer : back
    }

    /// About when the oldest value was last used; nil when there is none.
    func oldestUse(_ entries: EntryMemory) -> UInt32? { list.back == 0 ? nil : began[Int(entries[list.back].era)] }
}

/// Least recently used, exact up to an era: a hit moves an entry to the front at most once per era, so the order is wrong by a sixteenth of
/// a turnover at most. Exact when every hit moves.
struct EraLRU {
    let isExact: Bool
    private(set) var list = PolicyList(queue: 1)

    init(isExact: Bool) { self.isExact = isExact }

    @inline(__always)
    mutating func inserted<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, era: UInt8, _ entries: borrowing Entries) {
        entries.setEra(handle, era)
        list.pushFront(handle, entries)
    }

    @inline(__always)
    mutating func hit<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, era: UInt8, _ entries: borrowing Entries) {
        guard isExact || entries.era(handle) != era else { return }
        moveToFront(handle, era: era, entries)
    }

    @inline(__always)
    mutating func replaced<Entries: PolicyEntries & ~Copyable>(
        _ handle: UInt32, costBefore: Int, era: UInt8, _ entries: borrowing Entries
    ) {
        list.costChanged(by: entries.cost(handle) &- costBefore)
        moveToFront(handle, era: era, entries)
    }

    @inline(__always)
    mutating func removed<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        list.remove(handle, entries)
    }

    mutating func taken<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        list.pushFront(handle, entries)
    }

    mutating func moved<Entries: PolicyEntries & ~Copyable>(to handle: UInt32, _ entries: borrowing Entries) {
        list.moved(to: handle, entries)
    }

    @inline(__always)
    private mutating func moveToFront<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, era: UInt8, _ entries: borrowing Entries) {
        entries.setEra(handle, era)
        list.moveToFront(handle, entries)
    }
}

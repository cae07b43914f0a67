/// A list through the entries, which remember it by its queue number, with the sum of their costs. All O(1).
package struct PolicyList {
    /// 1...3, what the entries carry.
    let queue: UInt8
    /// Newest and oldest, 0 when empty.
    private(set) var front: UInt32 = 0
    private(set) var back: UInt32 = 0
    private(set) var count = 0
    private(set) var cost = 0

    init(queue: UInt8) { self.queue = queue }

    @inline(__always)
    mutating func pushFront<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        assert(entries.queue(handle) == 0)
        entries.setQueue(handle, queue)
        link(handle, entries)
        count &+= 1
        cost &+= entries.cost(handle)
    }

    @inline(__always)
    mutating func remove<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        assert(entries.queue(handle) == queue)
        unlink(handle, entries)
        entries.setQueue(handle, 0)
        count &-= 1
        cost &-= entries.cost(handle)
    }

    @inline(__always)
    mutating func moveToFront<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        assert(entries.queue(handle) == queue)
        guard handle != front else { return }
        unlink(handle, entries)
        link(handle, entries)
    }

    /// The oldest but `spared`; 0 when there is none.
    @inline(__always)
    func last<Entries: PolicyEntries & ~Copyable>(sparing spared: UInt32, _ entries: borrowing Entries) -> UInt32 {
        back == spared && back != 0 ? entries.newer(back) : back
    }

    /// The cost of an entry in the list has changed by `difference`.
    mutating func costChanged(by difference: Int) { cost &+= difference }

    /// An entry was copied to `handle`: tell its neighbours.
    mutating func moved<Entries: PolicyEntries & ~Copyable>(to handle: UInt32, _ entries: borrowing Entries) {
        let (newer, older) = (entries.newer(handle), entries.older(handle))
        if newer != 0 { entries.setOlder(newer, handle) } else { front = handle }
        if older != 0 { entries.setNewer(older, handle) } else { back = handle }
    }

    @inline(__always)
    private mutating func link<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        entries.setNewer(handle, 0)
        entries.setOlder(handle, front)
        if front != 0 { entries.setNewer(front, handle) } else { back = handle }
        front = handle
    }

    @inline(__always)
    private mutating func unlink<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        let (newer, older) = (entries.newer(handle), entries.older(handle))
        if newer != 0 { entries.setOlder(newer, older) } else { front = older }
        if older != 0 { entries.setNewer(older, newer) } else { back = newer }
    }
}

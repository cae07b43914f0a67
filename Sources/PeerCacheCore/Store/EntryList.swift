/// Doubly linked through the entries: values in order of use, or tombstones in order of writing. All O(1).
struct EntryList {
    /// Newest and oldest entry, ``Entry/none`` when empty.
    private(set) var front = Entry.none
    private(set) var back = Entry.none

    @inline(__always)
    mutating func pushFront(_ handle: UInt32, _ entries: borrowing EntryTable) {
        let entry = entries[handle]
        entry.pointee.newer = Entry.none
        entry.pointee.older = front
        if front != Entry.none { entries[front].pointee.newer = handle } else { back = handle }
        front = handle
    }

    @inline(__always)
    mutating func unlink(_ handle: UInt32, _ entries: borrowing EntryTable) {
        let newer = entries[handle].pointee.newer
        let older = entries[handle].pointee.older
        if newer != Entry.none { entries[newer].pointee.older = older } else { front = older }
        if older != Entry.none { entries[older].pointee.newer = newer } else { back = newer }
    }

    @inline(__always)
    mutating func moveToFront(_ handle: UInt32, _ entries: borrowing EntryTable) {
        guard handle != front else { return }
        unlink(handle, entries)
        pushFront(handle, entries)
    }

    /// The entry at `handle` came from another position: tell its neighbours.
    mutating func entryMoved(to handle: UInt32, _ entries: borrowing EntryTable) {
        let newer = entries[handle].pointee.newer
        let older = entries[handle].pointee.older
        if newer != Entry.none { entries[newer].pointee.older = handle } else { front = handle }
        if older != Entry.none { entries[older].pointee.newer = handle } else { back = handle }
    }
}

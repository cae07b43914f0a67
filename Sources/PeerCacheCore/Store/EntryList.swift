/// Tombstones in order of writing, doubly linked through `newer` and `older` of the entries. All O(1).
struct EntryList {
    /// Newest and oldest entry, 0 when empty.
    private(set) var front: UInt32 = 0
    private(set) var back: UInt32 = 0

    @inline(__always)
    mutating func pushFront(_ handle: UInt32, _ entries: EntryMemory) {
        let entry = entries[handle]
        entry.newer = 0
        entry.older = front
        if front != 0 { entries[front].newer = handle } else { back = handle }
        front = handle
    }

    @inline(__always)
    mutating func unlink(_ handle: UInt32, _ entries: EntryMemory) {
        let (newer, older) = (entries[handle].newer, entries[handle].older)
        if newer != 0 { entries[newer].older = older } else { front = older }
        if older != 0 { entries[older].newer = newer } else { back = newer }
    }

    /// The entry lies at `handle` now: tell its neighbours.
    mutating func moved(to handle: UInt32, _ entries: EntryMemory) {
        let (newer, older) = (entries[handle].newer, entries[handle].older)
        if newer != 0 { entries[newer].older = handle } else { front = handle }
        if older != 0 { entries[older].newer = handle } else { back = handle }
    }
}

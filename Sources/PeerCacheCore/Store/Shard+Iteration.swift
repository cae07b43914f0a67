extension Shard {
    private typealias Place = (hash: UInt64, handle: UInt32)

    /// Most entries of one page.
    private static let pageEntriesMax = 192

    /// One page of a slot in order of hash, from `cursor` on. A page ends between two hashes, once `bytesMax` is reached.
    ///
    /// Dead and cleared entries from the cursor on are dropped first: the floor that follows a bucket's entries (`STORE.md` §5) then covers
    /// what was left out.
    /// - Returns: true when the slot is finished.
    /// - Complexity: O(entries of the slot), and O(page · log page). A slot has about 60 entries in a store of a million.
    mutating func page(
        _ slot: Int, _ cursor: inout SlotCursor, bytesMax: Int, now: Tick,
        _ body: (KeyID, UnsafeRawBufferPointer, EntryInfo, UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        dropUnreadable(slot, from: cursor.next, now: now)
        let rest = withUnsafeTemporaryAllocation(of: Place.self, capacity: 2 * Self.pageEntriesMax) { places in
            let (count, bound) = gather(slot, from: cursor.next, into: places)
            var bytes = 0
            for position in 0..<count {
                let (hash, handle) = places[position]
                if bytes >= bytesMax, hash != places[position - 1].hash { return Optional(hash) }
                let entry = entries[handle]
                body(KeyID(hash: hash, cache: CacheIndex(entry.pointee.cache)), entry.pointee.key, entry.pointee.info, entry.pointee.value)
                bytes += Int(entry.pointee.keyBytes) + Int(entry.pointee.valueBytes) + MemoryLayout<Entry>.stride
            }
            return bound
        }
        if let rest { cursor.next = rest } else { cursor.isFinished = true }
        return rest == nil
    }

    private mutating func dropUnreadable(_ slot: Int, from hash: UInt64, now: Tick) {
        var handle = slots.head(slot)
        var dropped = false
        while handle != Entry.none {
            let entry = entries[handle]
            let next = entry.pointee.slotNext
            let isDead = entry.pointee.isDead(at: now)
            guard entry.pointee.hash >= hash, isDead || isCleared(entry) else {
                handle = next
                continue
            }
            // The removal may move the next entry, if it was the last one, to where this one was.
            let moved = drop(handle, isDead ? .expired : .cleared)
            if next != moved { handle = next }
            dropped = true
        }
        if dropped { publishAge() }
    }

    /// The entries of the lowest hashes from `hash` on, sorted.
    /// - Returns: how many, and the first hash that was left out. Equal hashes stay together: the index holds at most 64 of one.
    private func gather(_ slot: Int, from hash: UInt64, into places: UnsafeMutableBufferPointer<Place>) -> (Int, bound: UInt64?) {
        var count = 0
        var bound: UInt64? = nil
        func sortAndCut() {
            var filled = UnsafeMutableBufferPointer(rebasing: places[..<count])
            filled.sort { $0 < $1 }
            guard count > Self.pageEntriesMax else { return }
            var cut = Self.pageEntriesMax
            while cut > 1, places[cut].hash == places[cut - 1].hash { cut -= 1 }
            bound = places[cut].hash
            count = cut
        }
        var handle = slots.head(slot)
        while handle != Entry.none {
            let found = entries[handle].pointee.hash
            if found >= hash, bound.map({ found < $0 }) ?? true {
                (places.baseAddress.unsafelyUnwrapped + count).initialize(to: (found, handle))
                count += 1
                if count == places.count { sortAndCut() }
            }
            handle = entries[handle].pointee.slotNext
        }
        sortAndCut()
        return (count, bound)
    }
}

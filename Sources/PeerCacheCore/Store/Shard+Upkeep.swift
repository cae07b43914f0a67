extension Shard {
    /// What a slice of upkeep did.
    struct Slice: Sendable {
        var dropped = 0
        var looks = 0
        /// Bytes of the dropped entries.
        var bytes = 0
        /// The round through the shard is complete.
        var isComplete = false
    }

    /// Drops what is dead at `now`, going on where the last call ended. Entries are visited from the last to the first: what a removal moves
    /// into a hole was visited already, so a round misses nothing that was there when it began.
    mutating func expire(now: Tick, dropsMax: Int, looksMax: Int) -> Slice {
        var slice = Slice()
        if counts.expiring == 0 { expiryCursor = 0 } else if expiryCursor == 0 { expiryCursor = entries.count }
        expiryCursor = min(expiryCursor, entries.count)
        while expiryCursor > 0, slice.dropped < dropsMax, slice.looks < looksMax {
            expiryCursor -= 1
            slice.looks += 1
            guard entries[UInt32(expiryCursor)].pointee.isDead(at: now) else { continue }
            drop(UInt32(expiryCursor), .expired)
            expiryCursor = min(expiryCursor, entries.count)
            slice.dropped += 1
        }
        slice.isComplete = expiryCursor == 0
        if slice.dropped > 0 { publishAge() }
        return slice
    }

    /// Starts a round of ``dropCleared(looksMax:bytesMax:)``.
    mutating func startClearing() { clearingCursor = entries.count }

    /// Drops entries at or below their cache's floor, as ``expire(now:dropsMax:looksMax:)`` does dead ones. What is inserted later is above
    /// the floors that stood when the round began.
    mutating func dropCleared(looksMax: Int, bytesMax: Int) -> Slice {
        var slice = Slice()
        clearingCursor = min(clearingCursor, entries.count)
        while clearingCursor > 0, slice.looks < looksMax, slice.bytes < bytesMax {
            clearingCursor -= 1
            slice.looks += 1
            let entry = entries[UInt32(clearingCursor)]
            guard isCleared(entry) else { continue }
            slice.bytes += entry.pointee.charge + MemoryLayout<Entry>.stride
            drop(UInt32(clearingCursor), .cleared)
            clearingCursor = min(clearingCursor, entries.count)
            slice.dropped += 1
        }
        slice.isComplete = clearingCursor == 0
        if slice.dropped > 0 { publishAge() }
        return slice
    }

    /// Drops the oldest tombstones while all shards' tombstones take more than their share.
    mutating func collectTombstones(dropsMax: Int) -> Slice {
        var slice = Slice()
        while slice.dropped < dropsMax, tombstones.back != Entry.none, shared.budget.pointee.hasTooManyTombstones {
            slice.bytes += entries[tombstones.back].pointee.charge + MemoryLayout<Entry>.stride
            drop(tombstones.back, .collected)
            slice.dropped += 1
        }
        slice.isComplete = tombstones.back == Entry.none
        return slice
    }

    /// Evicts while the count is above a limit that was lowered.
    mutating func shrink(dropsMax: Int) -> Slice {
        var slice = Slice()
        while slice.dropped < dropsMax, shared.budget.pointee.isExceeded {
            let released = evict(bytes: 1)
            guard released > 0 else { break }
            slice.bytes += released
            slice.dropped += 1
        }
        slice.isComplete = entries.count == 0
        return slice
    }
}

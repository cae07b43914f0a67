extension Shard {
    /// What a slice of upkeep did.
    struct Slice: Sendable {
        var dropped = 0
        var looks = 0
        /// Bytes of the dropped entries.
        var bytes = 0
        /// Given back to the pool.
        var pages = 0
        /// Nothing of the kind is left in the shard.
        var isComplete = false
    }

    /// Drops what is due at `now`.
    mutating func expire(now: Tick, dropsMax: Int, looksMax: Int) -> Slice {
        var slice = Slice()
        var looks = looksMax
        while slice.dropped < dropsMax {
            guard case .due(let handle) = wheel.next(now: now, looks: &looks, entries) else {
                slice.isComplete = looks > 0
                break
            }
            drop(handle, .due)
            slice.dropped += 1
        }
        slice.looks = looksMax - looks
        if slice.dropped > 0 { publishAge() }
        return slice
    }

    /// Starts a round of ``dropCleared(looksMax:bytesMax:)``.
    mutating func startClearing() { clearingHash = index.hashes.lowerBound }

    /// Drops entries at or below their cache's floor, going on where the last call ended, block by block. What is inserted later is above
    /// the floors that stood when the round began.
    mutating func dropCleared(looksMax: Int, bytesMax: Int) -> Slice {
        var slice = Slice()
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: IndexWord.linesMax * IndexLine.places) { handles in
            while clearingHash < index.hashes.upperBound, slice.looks < looksMax, slice.bytes < bytesMax {
                let hash = UInt32(truncatingIfNeeded: clearingHash)
                let place = index.place(hash)
                let word = place.word
                clearingHash = index.end(of: place, hash)
                var count = 0
                index.forEach(in: word) { handle in
                    slice.looks += 1
                    guard isCleared(entries[handle]) else { return }
                    handles[count] = handle
                    count += 1
                }
                for handle in handles[..<count] {
                    slice.bytes += charge(entries[handle])
                    drop(handle, .cleared)
                }
                slice.dropped += count
            }
        }
        slice.isComplete = clearingHash >= index.hashes.upperBound
        if slice.dropped > 0 { publishAge() }
        return slice
    }

    /// Drops the oldest tombstones while all shards' tombstones take more than their share.
    mutating func collectTombstones(dropsMax: Int) -> Slice {
        var slice = Slice()
        while slice.dropped < dropsMax, tombstones.back != 0, shared.budget.pointee.hasTooManyTombstones {
            slice.bytes += charge(entries[tombstones.back])
            drop(tombstones.back, .collected)
            slice.dropped += 1
        }
        slice.isComplete = tombstones.back == 0
        return slice
    }
}

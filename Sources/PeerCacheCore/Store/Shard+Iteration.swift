extension Shard {
    /// All entries of a bucket, in order of hash, and its floor. Dead and cleared ones are dropped before, so that the floor covers them.
    /// - Parameter body: gets nil in place of a value that is longer than `valueBytesMax` allows at that moment.
    /// - Complexity: O(entries of the bucket and its neighbours in the index).
    mutating func bucket(
        _ bucket: BucketIndex, now: Tick, valueBytesMax: () -> Int,
        _ body: (KeyID, UnsafeRawBufferPointer, EntryInfo, UnsafeRawBufferPointer?) -> Void
    ) -> Stamp {
        let last = UInt32(truncatingIfNeeded: bucket.index) << 15 | 0x7FFF
        var start: UInt32? = last & ~0x7FFF
        while let from = start, from <= last {
            start = withUnsafeTemporaryAllocation(of: UInt32.self, capacity: IndexWord.linesMax * IndexLine.places) { handles in
                let (found, next) = gather(bucket.slot, from: from, into: handles)
                let count = dropUnreadable(handles, found, now: now)
                var part = UnsafeMutableBufferPointer(rebasing: handles[..<count])
                part.sort { entries[$0].hash < entries[$1].hash }
                for handle in part where entries[handle].hash <= last {
                    let entry = entries[handle]
                    if !entry.info.isTombstone, Int(entry.valueBytes) > valueBytesMax() {
                        let id = KeyID(hash: UInt64(entry.hash) << 32, cache: CacheIndex(entry.cache))
                        body(id, key(entry), infoWithVersion(entry), nil)
                    } else {
                        visit(entry) { body($0, $1, $2, $3) }
                    }
                }
                return next
            }
        }
        return slots.floor(bucket)
    }

    private func visit(_ entry: EntryRef, _ body: (KeyID, UnsafeRawBufferPointer, EntryInfo, UnsafeRawBufferPointer) -> Void) {
        let id = KeyID(hash: UInt64(entry.hash) << 32, cache: CacheIndex(entry.cache))
        if let value = contiguousValue(entry) { return body(id, key(entry), entry.info, value) }
        withUnsafeTemporaryAllocation(byteCount: Int(entry.valueBytes), alignment: 16) { buffer in
            if let start = buffer.baseAddress { copyValue(entry, 0..<buffer.count, to: start) }
            body(id, key(entry), entry.info, UnsafeRawBufferPointer(buffer))
        }
    }

    /// Drops dead and cleared entries among these, and moves the others to the front.
    /// - Returns: how many are left.
    private mutating func dropUnreadable(_ handles: UnsafeMutableBufferPointer<UInt32>, _ count: Int, now: Tick) -> Int {
        var kept = 0
        for handle in handles[..<count] {
            let isDead = entries[handle].isDead(at: now)
            if isDead || isCleared(entries[handle]) {
                drop(handle, isDead ? .expired : .cleared)
            } else {
                handles[kept] = handle
                kept += 1
            }
        }
        if kept < count { publishAge() }
        return kept
    }
}

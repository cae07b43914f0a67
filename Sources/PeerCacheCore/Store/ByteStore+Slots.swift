internal import Synchronization

extension ByteStore {
    /// Makes a slot writable. Its floors start at ``Stamp/zero``. O(1); nothing changes when it is held already.
    package func adopt(_ slot: Slot) {
        shard(ofSlot: slot.index)?.pointee.lock.withLock { $0.slots.adopt(slot.index) }
    }

    /// Makes a slot absent: its entries and floors are gone, without raising floors. O(entries of the slot) under one lock.
    package func forget(_ slot: Slot) {
        shard(ofSlot: slot.index)?.pointee.lock.withLock { $0.forget(slot.index) }
    }

    /// Forgets the entries of some caches in a slot that stays held for others. Floors stay as they are, as nobody answers for these entries
    /// here any more. O(entries of the slot) under one lock.
    package func forget(_ slot: Slot, where isGone: (CacheIndex) -> Bool) {
        shard(ofSlot: slot.index)?.pointee.lock.withLock { $0.forgetEntries(slot.index) { isGone(CacheIndex($0)) } }
    }

    /// Whether the slot was adopted and not forgotten since. O(1).
    package func isHeld(_ slot: Slot) -> Bool {
        shard(ofSlot: slot.index)?.pointee.lock.withLock { $0.slots.isHeld(slot.index) } ?? false
    }

    /// Raises the floor of a bucket; nothing changes when it is as high already, or the slot is absent. Held entries stay, whatever their
    /// stamp. O(1). In stores below 8 MiB the neighbouring buckets of the slot rise with it.
    package func raiseFloor(of bucket: BucketIndex, to stamp: Stamp) {
        shard(ofSlot: bucket.slot)?.pointee.lock.withLock { $0.slots.raiseFloor(bucket, to: stamp) }
    }

    /// The highest stamp that was dropped from the bucket, or that its floor was raised to; ``Stamp/zero`` when the slot is absent. O(1).
    package func floor(of bucket: BucketIndex) -> Stamp {
        shard(ofSlot: bucket.slot)?.pointee.lock.withLock { $0.slots.floor(bucket) } ?? .zero
    }

    /// Calls `body` for the entries of a slot in order of hash, tombstones included, and ends between two hashes once `bytesMax` bytes of
    /// keys, values and 64 per entry are passed, or after 192 entries. Writes may come between two calls: what is held throughout is seen
    /// exactly once; what is written, dropped or replaced meanwhile is seen or not.
    ///
    /// Entries dead at `now` or cleared are dropped instead of seen; so a bucket's floor, read after its last entry, covers them.
    ///
    /// The id's hash has its lower half zero: the store keeps the upper one.
    /// - Parameter cursor: fresh at the start; says where the next call goes on.
    /// - Returns: true when the slot is finished, also when it is absent.
    package func forEach(
        in slot: Slot, from cursor: inout SlotCursor, bytesMax: Int, now: Tick, _ body: (KeyID, RawSpan, EntryInfo, RawSpan) -> Void
    ) -> Bool {
        guard !cursor.isFinished, let cell = shard(ofSlot: slot.index) else { return true }
        while true {
            var (position, seen) = (cursor, 0)
            let isFinished = cell.pointee.lock.withLock { shard in
                shard.page(slot.index, &position, bytesMax: bytesMax, now: now) { id, key, info, value in
                    seen += 1
                    body(id, key.bytes, info, value.bytes)
                }
            }
            cursor = position
            if isFinished || seen > 0 { return isFinished }  // a page without entries is none
        }
    }
}

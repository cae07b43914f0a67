internal import Synchronization

extension ByteStore {
    /// Makes a slot writable. Its floors start at ``Stamp/zero``. O(1); nothing changes when it is held already.
    package func adopt(_ slot: Slot) {
        shard(ofSlot: slot.index)?.pointee.lock.withLock { $0.slots.adopt(slot.index) }
    }

    /// Makes a slot writable for caches whose entries are to be gathered. It may be held for others: its floors say nothing of these until
    /// ``settle(_:where:)`` or ``forget(_:where:)``; of those that are gathered already they go on. O(caches).
    package func enter(_ slot: Slot, _ caches: [CacheIndex]) {
        shard(ofSlot: slot.index)?.pointee.lock.withLock { shard in
            shard.slots.adopt(slot.index)
            shard.entering.begin(slot.index, caches.map(\.value))
        }
    }

    /// The entries of these caches have come: from now on the slot's floors are theirs.
    package func settle(_ slot: Slot, where isSettled: (CacheIndex) -> Bool) {
        shard(ofSlot: slot.index)?.pointee.lock.withLock { $0.entering.end(slot.index) { isSettled(CacheIndex($0)) } }
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

    /// Whether nothing was written to the slot since it was adopted, or it is absent: its pages would be empty and drop nothing.
    /// O(entries of the neighbours in the index).
    package func isBlank(_ slot: Slot) -> Bool {
        shard(ofSlot: slot.index)?.pointee.lock.withLock { $0.isBlank(slot.index) } ?? true
    }

    /// Raises the floor of a bucket; nothing changes when it is as high already, or the slot is absent. Held entries stay, whatever their
    /// stamp. O(1). In stores below 8 MiB the neighbouring buckets of the slot rise with it.
    /// - Parameter gathered: what it is for a cache that is being gathered; nil: `stamp`.
    package func raiseFloor(of bucket: BucketIndex, to stamp: Stamp, gathered: ((CacheIndex) -> Stamp)? = nil) {
        shard(ofSlot: bucket.slot)?.pointee.lock.withLock { shard in
            shard.slots.raiseFloor(bucket, to: stamp)
            shard.entering.raise(bucket) { gathered?(CacheIndex($0)) ?? stamp }
        }
    }

    /// The highest stamp that was dropped from the bucket, or that its floor was raised to; ``Stamp/zero`` when the slot is absent. O(1).
    package func floor(of bucket: BucketIndex) -> Stamp {
        shard(ofSlot: bucket.slot)?.pointee.lock.withLock { $0.slots.floor(bucket) } ?? .zero
    }
}

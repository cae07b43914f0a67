/// What the store does not know when it takes in a page of another holder.
package struct PageContext {
    /// The cache of this name here; entries of others are left out.
    package var cache: (_ name: UnsafeRawBufferPointer) -> CacheIndex?
    /// Whether this peer holds the slot for the cache.
    package var holds: (CacheIndex, Slot) -> Bool
    /// Whether the other speaks for the cache: what it dropped counts, and what it does not hold.
    package var isConcerned: (CacheIndex, Slot) -> Bool
    package var hash: (CacheIndex, UnsafeRawBufferPointer) -> UInt64
    /// Whether a stamp may be believed.
    package var accepts: (Stamp) -> Bool
    package var now: Tick
    /// For voters: entries of caches that are not known here raise the floor of their bucket, as if they had come and been dropped.
    package var dropsUnknown: Bool

    package init(
        cache: @escaping (UnsafeRawBufferPointer) -> CacheIndex?, holds: @escaping (CacheIndex, Slot) -> Bool,
        isConcerned: @escaping (CacheIndex, Slot) -> Bool = { _, _ in true },
        hash: @escaping (CacheIndex, UnsafeRawBufferPointer) -> UInt64, accepts: @escaping (Stamp) -> Bool, now: Tick,
        dropsUnknown: Bool = false
    ) {
        (self.cache, self.holds, self.hash, self.accepts, self.now) = (cache, holds, hash, accepts, now)
        self.dropsUnknown = dropsUnknown
        self.isConcerned = isConcerned
    }

    fileprivate func accepts(_ bucket: PageReader.Bucket) -> Bool {
        accepts(bucket.floor) && bucket.gathered.allSatisfy { accepts($0.floor) }
    }

    /// Of caches that the other is gathering for the same reason. Voters take the slot's, which is only too high.
    fileprivate func floors(_ bucket: PageReader.Bucket, _ caches: [CacheIndex?]) -> [CacheIndex: Stamp] {
        guard !dropsUnknown else { return [:] }
        return bucket.gathered.reduce(into: [:]) { floors, found in if let cache = caches[found.cache] { floors[cache] = found.floor } }
    }

    /// The highest stamp of an entry of the bucket whose cache is not known here.
    fileprivate func unknown(_ bucket: PageReader.Bucket, _ caches: [CacheIndex?]) -> Stamp {
        guard dropsUnknown else { return .zero }
        return bucket.entries.reduce(.zero) { caches[$1.cache] == nil && accepts($1.stamp) ? max($0, $1.stamp) : $0 }
    }

    /// The entries of a bucket that concern this peer, with their keys here.
    fileprivate func entries(
        _ bucket: PageReader.Bucket, _ caches: [CacheIndex?], _ slot: Slot, refused: inout Int
    ) -> [(entry: WireEntry, id: KeyID)] {
        bucket.entries.compactMap { entry in
            guard let cache = caches[entry.cache], holds(cache, slot) else { return nil }
            let id = KeyID(hash: hash(cache, entry.key), cache: cache)
            guard id.bucket == bucket.index, accepts(entry.stamp) else {
                refused += 1
                return nil
            }
            return (entry, id)
        }
    }
}

/// What a page came to.
package struct PageResult {
    package struct Floor {
        package var bucket: BucketIndex
        package var stamp: Stamp
        package var gathered: (CacheIndex) -> Stamp
    }

    /// Slots of the request that are finished, and where the next one goes on.
    package var slots = 0
    package var next = 0
    package var bytes = 0
    /// Too long for a page, newer than what is held: to be asked for one by one.
    package var deferred: [(key: HeldKey, stamp: Stamp, version: UInt64)] = []
    /// To be raised when those have come, with ``ByteStore/raiseFloor(of:to:gathered:)``.
    package var floors: [Floor] = []
    /// Refused: stamps from the future, keys of other slots.
    package var refused = 0
}

extension ByteStore {
    /// Takes in a page that was asked for: entries by their stamps, then the floor of each bucket, so that an older copy that comes late is
    /// refused as it is there (`CONTRACT.md` I21).
    /// - Parameters:
    ///   - asked: buckets of other slots are refused.
    ///   - isDoubtful: what is held here, not there, and below the other's floor is dropped: the other has dropped that or something newer.
    package func takeIn(
        _ page: UnsafeRawBufferPointer, asked: PullRequest, isDoubtful: Bool, _ context: PageContext
    ) throws(WireError) -> PageResult {
        var result = PageResult()
        result.bytes = page.count
        let slots = Set(asked.slots.map(\.index))  // asked for membership, never iterated
        var caches: [CacheIndex?]?
        let (count, next) = try PageReader.page(page) { bucket, names in
            let known = caches ?? names.map(context.cache)
            caches = known
            guard slots.contains(bucket.index.slot), let slot = Slot(index: bucket.index.slot), context.accepts(bucket) else {
                return result.refused += 1
            }
            let floors = context.floors(bucket, known),
                floor = { (cache: CacheIndex) in
                    context.isConcerned(cache, slot) ? floors[cache] ?? bucket.floor : .zero
                }
            var held: Set<HeldKey> = []
            let deferredBefore = result.deferred.count
            for (entry, id) in context.entries(bucket, known, slot, refused: &result.refused) {
                if isDoubtful { held.insert(HeldKey(cache: id.cache, bytes: Array(entry.key))) }
                takeIn(entry, id, context, &result)
            }
            if isDoubtful { dropOutdated(bucket.index, now: context.now, except: held, below: floor) }
            let unknown = context.unknown(bucket, known)
            if unknown > .zero { raiseFloor(of: bucket.index, to: unknown) { _ in .zero } }
            if result.deferred.count > deferredBefore {
                result.floors.append(PageResult.Floor(bucket: bucket.index, stamp: bucket.floor, gathered: floor))
            } else {
                raiseFloor(of: bucket.index, to: bucket.floor, gathered: floor)
            }
        }
        (result.slots, result.next) = (count, next)
        return result
    }

    private func takeIn(_ entry: WireEntry, _ id: KeyID, _ context: PageContext, _ result: inout PageResult) {
        if entry.kind != .deferred { return _ = take(entry, id, now: context.now) }
        let version = sourceVersion(entry.value, id.cache)
        if wants(id, entry.key.bytes, stamp: entry.stamp, version: version) {
            result.deferred.append((HeldKey(cache: id.cache, bytes: Array(entry.key)), entry.stamp, version))
        }
    }

    /// Which of another holder's buckets differ from those here; what is not compared here does not.
    /// - Parameter isCompared: whether the entries of a cache count in a slot.
    package func differences(
        from others: [BucketSummary], now: Tick, isComplete: (Slot) -> Bool, isCompared: (CacheIndex, Slot) -> Bool = { _, _ in true }
    ) -> [BucketIndex] {
        others.compactMap { other in
            guard let slot = Slot(index: other.index.slot), isComplete(slot),
                let mine = summary(of: other.index, now: now, isCompared: { isCompared($0, slot) })
            else {
                return nil
            }
            return mine.differs(from: other) ? other.index : nil
        }
    }

    /// Repairs a bucket with what another holder has of it: takes what is newer there.
    /// - Parameter ship: gets what is newer here, or missing there although the other has not dropped it. Must not call the store.
    package func repair(
        _ bucket: BucketIndex, with page: UnsafeRawBufferPointer, _ context: PageContext,
        ship: (KeyID, UnsafeRawBufferPointer, EntryInfo, UnsafeRawBufferPointer) -> Void
    ) throws(WireError) -> PageResult {
        var result = PageResult()
        result.bytes = page.count
        var theirs: [HeldKey: (stamp: Stamp, version: UInt64)] = [:]  // looked up, never iterated
        var floor = Stamp.zero
        _ = try PageReader.page(page) { found, names in
            guard found.index == bucket, let slot = Slot(index: bucket.slot) else { return result.refused += 1 }
            floor = found.floor
            for (entry, id) in context.entries(found, names.map(context.cache), slot, refused: &result.refused) {
                theirs[HeldKey(cache: id.cache, bytes: Array(entry.key))] = (entry.stamp, sourceVersion(entry.value, id.cache))
                takeIn(entry, id, context, &result)
            }
        }
        _ = readBucket(bucket, now: context.now, valueBytesMax: { .max }) { id, key, info, value in
            guard let value else { return }
            guard let their = theirs[HeldKey(cache: id.cache, bytes: Array(key))] else {
                return info.stamp > floor ? ship(id, key, info, value) : ()
            }
            let version = sourceVersion(value, id.cache)
            if version != their.version ? version > their.version : info.stamp > their.stamp { ship(id, key, info, value) }
        }
        return result
    }
}

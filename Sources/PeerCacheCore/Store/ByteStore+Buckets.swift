/// A bucket as two holders compare it: 52 bytes on the wire.
package struct BucketSummary: Hashable, Sendable {
    /// Most of one request.
    package static let countMax = 512
    /// Numbers of a digest.
    static let words = BucketDigest.units + 2

    package var index: BucketIndex
    package var floor: Stamp
    package var digest: BucketDigest

    package init(index: BucketIndex, floor: Stamp, digest: BucketDigest) {
        self.index = index
        self.floor = floor
        self.digest = digest
    }

    /// Whether the two hold different entries, as far as can be seen: what may be below a floor was dropped lawfully and is not compared.
    /// Two that drop much see little of each other; what they see is what was written lately.
    package func differs(from other: BucketSummary) -> Bool {
        let newest = max(digest.newestUnit, other.digest.newestUnit)
        let mine = digest.rolled(to: newest), others = other.digest.rolled(to: newest)
        let floor = max(floor, other.floor)
        if floor == .zero, mine.older != others.older { return true }
        let first = floor == .zero ? 0 : UInt64(BucketDigest.unit(floor)) + 1
        for back in 0..<UInt32(BucketDigest.units) where newest >= back && UInt64(newest - back) >= first {
            let cell = Int((newest - back) % UInt32(BucketDigest.units))
            if mine.cells[cell] != others.cells[cell] { return true }
        }
        return false
    }
}

extension ByteStore {
    /// What a bucket holds at one moment, in order of hash, tombstones included, and its floor. The id's hash has its lower half zero.
    ///
    /// - Parameters:
    ///   - valueBytesMax: longer values are not looked at: `body` gets nil for them. Asked before each.
    ///   - body: runs under the shard's lock and must not call the store.
    ///   - gathered: gets the floors of caches that are being gathered.
    /// - Returns: the floor; nil when the slot is absent.
    /// - Complexity: O(entries of the bucket) under one lock.
    package func readBucket(
        _ bucket: BucketIndex, now: Tick, valueBytesMax: () -> Int, gathered: (CacheIndex, Stamp) -> Void = { _, _ in },
        _ body: (KeyID, UnsafeRawBufferPointer, EntryInfo, UnsafeRawBufferPointer?) -> Void
    ) -> Stamp? {
        guard bucket.index >= 0 else { return nil }
        return shard(ofSlot: bucket.slot)?.pointee.lock.withLock { shard in
            guard shard.slots.isHeld(bucket.slot) else { return nil }
            let floor = shard.bucket(bucket, now: now, valueBytesMax: valueBytesMax, body)
            shard.entering.visit(bucket) { gathered(CacheIndex($0), $1) }
            return floor
        }
    }

    /// Digest and floor of a bucket; nil when its slot is absent. O(entries of the bucket).
    /// - Parameter isCompared: whether the entries of a cache count.
    package func summary(of bucket: BucketIndex, now: Tick, isCompared: (CacheIndex) -> Bool = { _ in true }) -> BucketSummary? {
        var digest = BucketDigest()
        let floor = readBucket(bucket, now: now, valueBytesMax: { 0 }) { id, _, info, _ in
            guard isCompared(id.cache) else { return }
            digest.toggle(hash: UInt32(truncatingIfNeeded: id.hash >> 32), stamp: info.stamp, isTombstone: info.isTombstone)
        }
        return floor.map { BucketSummary(index: bucket, floor: $0, digest: digest) }
    }

    /// The page that answers a pull: whole buckets, each as of one moment, up to the first slot that is absent. Nil: that is the first one.
    /// - Parameter name: of a cache, as it goes on the wire.
    package func page(_ request: PullRequest, now: Tick, name: (CacheIndex) -> [UInt8]) -> [UInt8]? {
        var page = PageBuilder()
        var bucket = request.bucket
        for (position, slot) in request.slots.enumerated() {
            while bucket < BucketIndex.perSlot {
                if page.isFull { return page.finish(slots: position, next: bucket) }
                if let index = BucketIndex(index: slot.index * BucketIndex.perSlot + bucket) {
                    var gathered: [(CacheIndex, Stamp)] = []
                    let floor = readBucket(
                        index, now: now, valueBytesMax: { page.valueBytesMax }, gathered: { gathered.append(($0, $1)) }
                    ) { id, key, info, value in
                        page.add(id.cache, key, value, info) { name(id.cache) }
                    }
                    guard let floor else { return position == 0 ? nil : page.finish(slots: position, next: 0) }
                    page.end(index, floor: floor, gathered: gathered, name: name)
                }
                bucket += 1
                if request.isBucketOnly { return page.finish(slots: 1, next: 0) }
            }
            bucket = 0
        }
        return page.finish(slots: request.slots.count, next: 0)
    }

    /// Takes in an entry of another holder, with its stamp: an older one, or one below the floor, changes nothing.
    package func take(_ entry: WireEntry, _ id: KeyID, now: Tick) -> WriteResult {
        guard let life = UInt64(exactly: entry.ttlMilliseconds ?? 0), life < 1 << 62 else { return .forgotten }
        switch entry.kind {
        case .tombstone:
            return applyTombstone(
                id, entry.key.bytes, version: SourceVersion.read(entry.value), stamp: entry.stamp,
                keep: Tick(milliseconds: entry.stamp.milliseconds + life), now: now)
        case .value:
            return apply(
                id, entry.key.bytes, value: entry.value.bytes, stamp: entry.stamp,
                ttl: entry.ttlMilliseconds.map { .milliseconds(Int64(clamping: $0)) }, kind: .explicit, now: now)
        case .deferred: return .forgotten
        }
    }

    /// Drops what is held of a bucket below the other holder's floor, unless that holds the key too: it has dropped that or something newer
    /// (`merge` of `CONTRACT.md` §4).
    /// - Parameters:
    ///   - floor: of a cache; ``Stamp/zero``: the other holder does not speak for it.
    ///   - others: keys that the other holder holds.
    package func dropOutdated(
        _ bucket: BucketIndex, now: Tick, except others: Set<HeldKey> = [], below floor: (CacheIndex) -> Stamp
    ) {
        var outdated: [(KeyID, [UInt8], Stamp)] = []
        _ = readBucket(bucket, now: now, valueBytesMax: { 0 }) { id, key, info, _ in
            let floor = floor(id.cache)
            guard info.stamp < floor else { return }
            let held = HeldKey(cache: id.cache, bytes: Array(key))
            if !others.contains(held) { outdated.append((id, held.bytes, floor)) }
        }
        for (id, key, floor) in outdated { key.withUnsafeBytes { _ = drop(id, $0.bytes, below: floor) } }
    }
}

/// A key of a cache, in memory of its own.
package struct HeldKey: Hashable, Sendable {
    package var cache: CacheIndex
    package var bytes: [UInt8]

    package init(cache: CacheIndex, bytes: [UInt8]) {
        self.cache = cache
        self.bytes = bytes
    }
}

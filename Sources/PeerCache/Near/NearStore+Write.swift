package import PeerCacheCore
internal import Synchronization

extension NearStore {
    /// What became of an insertion.
    package enum Insertion: Sendable, Hashable {
        case stored
        /// The copy is older than what is held, than an invalidation, or than its cache's floor. Nothing was changed.
        case superseded
        /// Too large, expired, or no room could be made. An older copy of the key is gone all the same: it must not outlive a newer one.
        case notStored
    }

    /// One key's part of an insertion.
    private struct Key {
        var hash: UInt64
        var cache: UInt16
        var bytes: UnsafeRawBufferPointer
    }

    private enum Attempt {
        case done(Insertion)
        /// The key's shard has nothing it should give up.
        case needsRoom
    }

    /// Stores a copy, evicting others if there is no room. A copy with the stamp that is held replaces it: its expiry may be new.
    /// - Parameters:
    ///   - key: at most 65,535 bytes.
    ///   - encodedBytes: size of the encoded value; the entry is charged this, the key, and ``overheadBytes``.
    ///   - expires: milliseconds since 1970; `UInt64.max` for never.
    ///   - nowMilliseconds: since 1970.
    ///   - token: ``token(hash:)`` from before the owner was asked. If nothing was invalidated in the range since, the copy cannot be older
    ///     than what was, and the floor does not count; without it, floors would refuse old entries of rarely written keys for ever.
    /// - Complexity: O(1) and one eviction per entry that has to go, at most 64 under one lock. Allocates.
    package func insert(
        _ object: AnyObject, hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer, encodedBytes: Int, stamp: Stamp, expires: UInt64,
        nowMilliseconds: UInt64, token: UInt32? = nil
    ) -> Insertion {
        let (sum, overflow) = max(0, encodedBytes).addingReportingOverflow(key.count + Self.overheadBytes)
        let charge = overflow ? Int.max : sum
        let key = Key(hash: hash, cache: cache, bytes: key)
        var out: [NearRecord] = []
        var result = Insertion.notStored
        // Other threads may take the room that was made: try again, but not forever.
        for _ in 0..<4096 {
            let attempt = attempt(
                object, key, charge: charge, stamp: stamp, expires: expires, nowMilliseconds: nowMilliseconds, token: token, out: &out)
            if case .done(let insertion) = attempt {
                result = insertion
                break
            }
            guard evictElsewhere(nowMilliseconds: nowMilliseconds, out: &out) else { break }
        }
        release(out)
        return result
    }

    private func attempt(
        _ object: AnyObject, _ key: Key, charge: Int, stamp: Stamp, expires: UInt64, nowMilliseconds: UInt64, token: UInt32?,
        out: inout [NearRecord]
    ) -> Attempt {
        let shard = shard(of: key.hash)
        shard.lock.lock()
        defer { shard.lock.unlock() }
        let range = floorRange(of: key.hash)
        guard token == shard.state.pointee.raises(range: range) || stamp >= shard.state.pointee.floor(range: range),
            stamp > shard.state.pointee.cacheFloor(key.cache)
        else { return .done(.superseded) }
        if let held = shard.state.pointee.find(hash: key.hash, cache: key.cache, key: key.bytes) {
            guard stamp >= held.pointee.stamp else { return .done(.superseded) }
            remove(held, from: shard, out: &out)
        }
        guard expires > nowMilliseconds, key.bytes.count <= NearRecord.keyBytesMax, isAllowed(charge) else { return .done(.notStored) }
        for _ in 0..<Self.evictionsPerLock {
            if reserve(charge) {
                let record = NearRecord(
                    object, hash: key.hash, cache: key.cache, key: key.bytes, cost: charge, stamp: stamp, expires: expires)
                let before = out.count
                shard.state.pointee.insert(record, out: &out)
                for displaced in out[before...] { uncount(displaced) }
                return .done(.stored)
            }
            guard isRich(shard), evict(from: shard, nowMilliseconds: nowMilliseconds, out: &out) else { break }
        }
        return .needsRoom
    }

    /// Changes with every invalidation in the key's range of hashes. Take it before asking the owner, give it to
    /// ``insert(_:hash:cache:key:encodedBytes:stamp:expires:nowMilliseconds:token:)``.
    package func token(hash: UInt64) -> UInt32 {
        let shard = shard(of: hash)
        shard.lock.lock()
        defer { shard.lock.unlock() }
        return shard.state.pointee.raises(range: floorRange(of: hash))
    }

    /// Drops the copy of a key if it is older than `stamp`, and sees to it that no older one is stored from now on (`CONTRACT.md` I40).
    ///
    /// The floor is shared with the other keys of 1/4,096 of the hashes: their copies stay, but older ones of them are refused as well.
    /// - Returns: whether a copy was dropped.
    /// - Complexity: O(1).
    @discardableResult
    package func invalidate(hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer, upTo stamp: Stamp) -> Bool {
        var out: [NearRecord] = []
        let shard = shard(of: hash)
        shard.lock.lock()
        shard.state.pointee.raiseFloor(range: floorRange(of: hash), to: stamp)
        if let held = shard.state.pointee.find(hash: hash, cache: cache, key: key), held.pointee.stamp < stamp {
            remove(held, from: shard, out: &out)
        }
        shard.lock.unlock()
        release(out)
        return !out.isEmpty
    }

    /// Makes every copy of a cache a miss whose stamp is `stamp` or lower, and refuses such copies from now on. They keep their room until
    /// a sweep or an eviction meets them. A lower stamp than before changes nothing.
    /// - Complexity: O(shards), however many entries there are.
    package func raiseCacheFloor(_ cache: UInt16, to stamp: Stamp) {
        for index in 0..<shardCount {
            let shard = shard(at: index)
            shard.lock.lock()
            shard.state.pointee.raiseCacheFloor(cache, to: stamp)
            shard.lock.unlock()
        }
    }
}

// MARK: Room

extension NearStore {
    static let evictionsPerLock = 64

    /// One entry may have an eighth of the room, else a single insertion would empty the store.
    private func isAllowed(_ charge: Int) -> Bool {
        charge <= UInt32.max && charge <= costMax.load(ordering: .relaxed) / 8 && entriesMax.load(ordering: .relaxed) > 0
    }

    /// Takes room for one entry, or none at all: the bounds hold at every moment.
    private func reserve(_ charge: Int) -> Bool {
        guard Self.add(1, to: entries, max: entriesMax) else { return false }
        if Self.add(charge, to: cost, max: costMax) { return true }
        entries.subtract(1, ordering: .relaxed)
        return false
    }

    private static func add(_ amount: Int, to total: borrowing Atomic<Int>, max limit: borrowing Atomic<Int>) -> Bool {
        var seen = total.load(ordering: .relaxed)
        while true {
            guard amount <= limit.load(ordering: .relaxed) - seen else { return false }
            let (exchanged, original) = total.weakCompareExchange(expected: seen, desired: seen + amount, ordering: .relaxed)
            if exchanged { return true }
            seen = original
        }
    }

    /// Whether a shard has at least the average number of entries. One that has fewer takes from the others, so that all become equal and a
    /// store for few entries is not split into shards for none.
    private func isRich(_ shard: Shard) -> Bool {
        shard.state.pointee.count > 0 && shard.state.pointee.count << shardBits >= entries.load(ordering: .relaxed)
    }

    /// Takes a record out of a locked shard.
    func remove(_ record: UnsafeMutablePointer<NearRecord>, from shard: Shard, out: inout [NearRecord]) {
        let removed = shard.state.pointee.remove(record)
        uncount(removed)
        out.append(removed)
    }

    /// Evicts one entry of a locked shard; false when it has none.
    private func evict(from shard: Shard, nowMilliseconds: UInt64, out: inout [NearRecord]) -> Bool {
        guard let evicted = shard.state.pointee.evict(nowMilliseconds: nowMilliseconds) else { return false }
        uncount(evicted)
        out.append(evicted)
        return true
    }

    /// Evicts one entry of the next shard in turn that has any. No shard may be locked by the caller.
    func evictElsewhere(nowMilliseconds: UInt64, out: inout [NearRecord]) -> Bool {
        for _ in 0..<shardCount {
            let shard = shard(at: victim.wrappingAdd(1, ordering: .relaxed).oldValue & (shardCount - 1))
            shard.lock.lock()
            let isEvicted = evict(from: shard, nowMilliseconds: nowMilliseconds, out: &out)
            shard.lock.unlock()
            if isEvicted { return true }
        }
        return false
    }

    func uncount(_ record: NearRecord) {
        entries.subtract(1, ordering: .relaxed)
        cost.subtract(Int(record.cost), ordering: .relaxed)
    }

    /// Runs user code (`deinit`): no lock may be held.
    func release(_ records: some Sequence<NearRecord>) {
        for record in records {
            record.freeKey()
            record.object.release()
        }
    }
}

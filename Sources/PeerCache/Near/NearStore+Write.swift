package import PeerCacheCore
internal import Synchronization

extension NearStore {
    /// What became of an insertion.
    package enum Insertion: Sendable, Hashable {
        case stored
        /// The copy is older than what is held, than an invalidation, or than its cache's floor. Nothing was changed.
        case superseded
        /// Too large, expired, used less than what would have to go (others may have gone before that showed), or no room could be made. An older copy of the key is gone all the same: it must not outlive a newer one.
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
    ///     than what was, and the floor does not count; without it, floors would refuse old entries of rarely written keys for ever. If the
    ///     slot became suspect since, so is the copy.
    ///   - isWrite: a write of this process, which is let in whatever it displaces. A read is only if its key is used at least as often as
    ///     what would have to go, so that a scan over cold keys does not flush the store.
    /// - Complexity: O(1) and one eviction per entry that has to go, at most 64 under one lock. Allocates.
    package func insert(
        _ object: AnyObject, hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer, encodedBytes: Int, stamp: Stamp, expires: UInt64,
        nowMilliseconds: UInt64, token: Token? = nil, isWrite: Bool = false
    ) -> Insertion {
        let (sum, overflow) = max(0, encodedBytes).addingReportingOverflow(key.count + Self.overheadBytes)
        let charge = overflow ? Int.max : sum
        let key = Key(hash: hash, cache: cache, bytes: key)
        var out = NearRetired()
        var result = Insertion.notStored
        // Other threads may take the room that was made: try again, but not forever.
        for round in 0..<4096 {
            let (attempt, frequency) = attempt(
                object, key, charge: charge, stamp: stamp, expires: expires, nowMilliseconds: nowMilliseconds, token: token,
                isWrite: isWrite, isFirst: round == 0, out: &out)
            if case .done(let insertion) = attempt {
                result = insertion
                break
            }
            guard evictElsewhere(forUse: frequency, nowMilliseconds: nowMilliseconds, out: &out) else { break }
        }
        retire(out)
        return result
    }

    private func attempt(
        _ object: AnyObject, _ key: Key, charge: Int, stamp: Stamp, expires: UInt64, nowMilliseconds: UInt64, token: Token?,
        isWrite: Bool, isFirst: Bool, out: inout NearRetired
    ) -> (Attempt, frequency: UInt8) {
        let shard = shard(of: key.hash)
        shard.lock.lock()
        defer { shard.lock.unlock() }
        let floor = shard.floor(range: floorRange(of: key.hash))
        guard token?.raises == floor.raises || stamp >= floor.stamp, stamp.clock > cacheFloor(key.cache),
            token.map({ UInt64($0.epoch) == epoch(of: key.hash) }) ?? true
        else { return (.done(.superseded), 0) }
        if let position = shard.position(hash: key.hash, cache: key.cache, key: key.bytes) {
            guard stamp >= shard.record(position).stamp else { return (.done(.superseded), 0) }
            remove(position, from: shard, out: &out)
        }
        guard expires > nowMilliseconds, key.bytes.count <= NearRecord.keyBytesMax, isAllowed(charge) else {
            return (.done(.notStored), 0)
        }
        let use = isFirst ? shard.use(hash: key.hash) : shard.estimate(hash: key.hash)
        let frequency = isWrite ? .max : use
        for _ in 0..<Self.evictionsPerLock {
            if reserve(charge) {
                let record = NearRecord(
                    object, hash: key.hash, cache: key.cache, key: key.bytes, cost: charge, stamp: stamp,
                    epoch: token?.epoch ?? UInt16(epoch(of: key.hash)), expires: expires)
                let before = out.records.count
                shard.insert(record, out: &out)
                for displaced in out.records[before...] { uncount(displaced) }
                return (.done(.stored), frequency)
            }
            guard isRich(shard) else { break }
            switch evict(from: shard, forUse: frequency, nowMilliseconds: nowMilliseconds, out: &out) {
            case .evicted: continue
            case .rivalled: return (.done(.notStored), frequency)
            case .empty: return (.needsRoom, frequency)
            }
        }
        return (.needsRoom, frequency)
    }

    /// What an answer on its way must be judged by.
    package struct Token: Sendable, Hashable {
        fileprivate let raises: UInt32
        fileprivate let epoch: UInt16
    }

    /// Changes with every invalidation in the key's range of hashes and every suspicion of its slot. Take it before asking the owner, give it
    /// to ``insert(_:hash:cache:key:encodedBytes:stamp:expires:nowMilliseconds:token:isWrite:)``.
    package func token(hash: UInt64) -> Token {
        let shard = shard(of: hash)
        shard.lock.lock()
        defer { shard.lock.unlock() }
        return Token(raises: shard.floor(range: floorRange(of: hash)).raises, epoch: UInt16(epoch(of: hash)))
    }

    /// Drops the copy of a key if it is older than `stamp`, and sees to it that no older one is stored from now on (`CONTRACT.md` I40).
    ///
    /// The floor is shared with the other keys of 1/4,096 of the hashes: their copies stay, but older ones of them are refused as well.
    /// - Returns: whether a copy was dropped.
    /// - Complexity: O(1).
    @discardableResult
    package func invalidate(hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer, upTo stamp: Stamp) -> Bool {
        var out = NearRetired()
        let shard = shard(of: hash)
        shard.lock.lock()
        shard.raiseFloor(range: floorRange(of: hash), to: stamp)
        if let position = shard.position(hash: hash, cache: cache, key: key), shard.record(position).stamp < stamp {
            remove(position, from: shard, out: &out)
        }
        shard.lock.unlock()
        retire(out, mayWait: false)
        return !out.isEmpty
    }
}

extension NearStore {
    /// As ``invalidate(hash:cache:key:upTo:)`` for whatever key has this hash: what another peer says comes without the key.
    /// - Returns: copies that were dropped, rarely more than one.
    @discardableResult
    package func invalidate(hash: UInt64, upTo stamp: Stamp) -> Int {
        var out = NearRetired()
        let shard = shard(of: hash)
        shard.lock.lock()
        shard.raiseFloor(range: floorRange(of: hash), to: stamp)
        while let position = shard.position(hash: hash, below: stamp) { remove(position, from: shard, out: &out) }
        shard.lock.unlock()
        let dropped = out.records.count
        retire(out, mayWait: false)
        return dropped
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
    private func isRich(_ shard: NearShard) -> Bool {
        shard.count > 0 && shard.count << shardBits >= entries.load(ordering: .relaxed)
    }

    /// Takes a record out of a locked shard.
    func remove(_ position: Int, from shard: NearShard, out: inout NearRetired) {
        shard.remove(position, out: &out)
        if let removed = out.records.last { uncount(removed) }
    }

    /// Evicts one entry of a locked shard.
    private func evict(
        from shard: NearShard, forUse frequency: UInt8, nowMilliseconds: UInt64, out: inout NearRetired
    ) -> NearShard.Eviction {
        let eviction = shard.evict(
            forUse: frequency, isCurrent: { isCurrent($0, nowMilliseconds: nowMilliseconds) }, out: &out)
        if eviction == .evicted, let evicted = out.records.last { uncount(evicted) }
        return eviction
    }

    /// Evicts one entry of the next shard in turn that has any. False: there is none, or it is used more than the newcomer. No shard may be
    /// locked by the caller.
    func evictElsewhere(forUse frequency: UInt8 = .max, nowMilliseconds: UInt64, out: inout NearRetired) -> Bool {
        for _ in 0..<shardCount {
            let shard = shard(at: victim.wrappingAdd(1, ordering: .relaxed).oldValue & (shardCount - 1))
            shard.lock.lock()
            let eviction = evict(from: shard, forUse: frequency, nowMilliseconds: nowMilliseconds, out: &out)
            shard.lock.unlock()
            if eviction != .empty { return eviction == .evicted }
        }
        return false
    }

    func uncount(_ record: NearRecord) {
        entries.subtract(1, ordering: .relaxed)
        cost.subtract(record.cost, ordering: .relaxed)
    }
}

// MARK: Letting go

extension NearStore {
    /// Waits for readers that the system holds up at most so often, and only when what they may still see costs more than this part of the
    /// limit.
    private static let waitsMax = 32
    private static let limboPart = 16

    /// Destroys what was unlinked as soon as no reader can see it: now, if nobody reads, else with a later call. Runs user code (`deinit`): no
    /// lock may be held.
    /// - Parameter mayWait: whether the caller can bear to stand still for a moment; an event loop cannot.
    func retire(_ retired: NearRetired, mayWait: Bool = true) {
        if !retired.isEmpty {
            limbo.withLock { $0.append((readers.now, retired)) }
            limboCost.add(retired.cost, ordering: .relaxed)
            isLimboEmpty.store(false, ordering: .relaxed)
        }
        if isLimboEmpty.load(ordering: .relaxed) { return }
        collect()
        var waits = 0
        while mayWait, waits < Self.waitsMax, limboCost.load(ordering: .relaxed) > costMax.load(ordering: .relaxed) / Self.limboPart {
            waits += 1
            NearReaders.yield()
            collect()
        }
    }

    private func collect() {
        let free = limbo.withLock { limbo in
            guard !limbo.isEmpty else { return [NearRetired]() }
            let oldest = readers.advance()
            // In order of their epochs, as they were appended under this lock.
            let count = limbo.firstIndex { $0.epoch >= oldest } ?? limbo.count
            let free = limbo.prefix(count).map(\.retired)
            limbo.removeFirst(count)
            if limbo.isEmpty { isLimboEmpty.store(true, ordering: .relaxed) }
            return free
        }
        for retired in free {
            limboCost.subtract(retired.cost, ordering: .relaxed)
            retired.destroy()
        }
    }
}

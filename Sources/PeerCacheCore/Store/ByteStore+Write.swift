internal import Synchronization

extension ByteStore {
    /// Rounds in which a writer waits for other shards to give room; after that its write is forgotten. A writer needs a few at most: the
    /// number only ends a race against writers who take each time what was made free.
    private static let roundsMax = 4096
    /// Rounds in which older values of other shards go before own ones.
    private static let donorRoundsMax = 4

    /// Stores a value under the stamp that `mint` returns for the guard. `mint` is called once, under the shard's lock, unless the answer is
    /// `.notHolder`; a stamp that is not above the guard changes nothing, nor does nil, but for the room that was made.
    ///
    /// A value that cannot be kept (key over 1,024 bytes, value over limit / 8, no room, ttl over at `now`) removes the old one, and the
    /// answer is `.forgotten`.
    /// - Parameters:
    ///   - ttl: from the stamp's milliseconds on; nil: for ever. Rounded down to ticks of 64 ms, at most about four years.
    ///   - now: the tick of the clock that mints.
    /// - Returns: the answer, and the minted stamp (``Stamp/zero`` with `.notHolder` and `.refused`).
    package func set(
        _ id: KeyID, _ key: RawSpan, value: RawSpan, ttl: Duration?, now: Tick, mint: (Stamp) -> Stamp?
    ) -> (WriteResult, Stamp) {
        key.withUnsafeBytes { key in
            value.withUnsafeBytes { value in
                write(WriteRequest(id: id, key: key, content: .value(value, ttl: ttl, .explicit), now: now), stamp: nil, mint: mint)
            }
        }
    }

    /// Writes a tombstone, also for a key that is not held. As ``set(_:_:value:ttl:now:mint:)``; `.forgotten`: the floor alone keeps the
    /// removal.
    /// - Parameters:
    ///   - version: of the data source, in caches that have versions. Nil there: what is held is dropped, whatever its version, and the answer
    ///     is `.forgotten`.
    ///   - keep: until when the tombstone is held, if memory allows.
    package func remove(
        _ id: KeyID, _ key: RawSpan, version: UInt64? = nil, keep: Tick, now: Tick, mint: (Stamp) -> Stamp?
    ) -> (WriteResult, Stamp) {
        key.withUnsafeBytes { key in
            withTombstone(version, keep) { content in
                write(WriteRequest(id: id, key: key, content: content, now: now), stamp: nil, mint: mint)
            }
        }
    }

    private func withTombstone<R>(_ version: UInt64?, _ keep: Tick, _ body: (WriteRequest.Content) -> R) -> R {
        guard let version else { return body(.tombstone(UnsafeRawBufferPointer(start: nil, count: 0), keep: keep)) }
        return withUnsafeBytes(of: version.bigEndian) { body(.tombstone($0, keep: keep)) }
    }

    /// Applies a value that somebody stamped: a fill, another peer's write, a transferred entry (`CONTRACT.md` §4). Whether the stamp is
    /// too far ahead of the clock is for the caller to judge.
    package func apply(
        _ id: KeyID, _ key: RawSpan, value: RawSpan, stamp: Stamp, ttl: Duration?, kind: WriteKind, now: Tick
    ) -> WriteResult {
        key.withUnsafeBytes { key in
            value.withUnsafeBytes { value in
                write(WriteRequest(id: id, key: key, content: .value(value, ttl: ttl, kind), now: now), stamp: stamp) { _ in stamp }.0
            }
        }
    }

    /// Applies a removal that somebody stamped.
    package func applyTombstone(
        _ id: KeyID, _ key: RawSpan, version: UInt64? = nil, stamp: Stamp, keep: Tick, now: Tick
    ) -> WriteResult {
        key.withUnsafeBytes { key in
            withTombstone(version, keep) { content in
                write(WriteRequest(id: id, key: key, content: content, now: now), stamp: stamp) { _ in stamp }.0
            }
        }
    }

    /// Drops what is held for the key and raises the bucket's floor to its stamp.
    /// - Parameter limit: only what has a stamp below it; nil: whatever is held.
    /// - Returns: whether anything was dropped that was not cleared with its cache.
    package func drop(_ id: KeyID, _ key: RawSpan, below limit: Stamp? = nil) -> Bool {
        key.withUnsafeBytes { key in
            shard(of: id).pointee.lock.withLock { shard in
                let handle = shard.find(id, key)
                guard handle != 0, limit.map({ shard.entries[handle].info.stamp < $0 }) ?? true else { return false }
                let wasCleared = shard.isCleared(shard.entries[handle])
                shard.drop(handle, wasCleared ? .cleared : .requested)
                shard.publishAge()
                return !wasCleared
            }
        }
    }

    private func write(_ request: WriteRequest, stamp: Stamp?, mint: (Stamp) -> Stamp?) -> (WriteResult, Stamp) {
        guard let cell = shared.caches.pointee.cell(request.id.cache.value) else { return (.notHolder, .zero) }
        let own = shard(of: request.id)
        var pending = PendingWrite()
        var rounds = 0
        while true {
            let (mayWait, mayChooseDonor) = (rounds < Self.roundsMax, rounds < Self.donorRoundsMax)
            let step = own.pointee.lock.withLock {
                $0.write(request, stamp: stamp, &pending, mayWait: mayWait, mayChooseDonor: mayChooseDonor, mint: mint)
            }
            rounds += 1
            switch step {
            case .done(let result, let stamp):
                if cell.pointee.quota.load(ordering: .relaxed) > 0, result == .stored, !request.isTombstone {
                    keepQuota(request.id.cache.value, from: request.id.slot.index &>> shardShift &+ 1)
                }
                return (result, stamp)
            case .again: break
            case .blocked(let donor):
                // No lock is held here. When nobody has anything to give, the next round settles it.
                if makePages(1, from: donor, except: own) == 0, !mayChooseDonor { rounds = Self.roundsMax }
            }
        }
    }

    /// Evicts in other shards, from `donor` on and once round, until `pages` went to the pool.
    /// - Returns: how many did.
    func makePages(_ pages: Int, from donor: Int, except own: UnsafeMutablePointer<ShardCell>?) -> Int {
        var given = 0
        for step in 0..<shardCount where given < pages {
            let cell = cells + (donor + step) % shardCount
            if cell == own { continue }
            let wanted = pages - given
            given += cell.pointee.lock.withLock { $0.givePages(wanted, dropsMax: Shard.evictionsMax).pages }
        }
        return given
    }
}

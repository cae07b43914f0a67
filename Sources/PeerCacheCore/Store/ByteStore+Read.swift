internal import Synchronization

extension ByteStore {
    /// What is copied without the shard's lock: key and value of an entry, to the reader's stack.
    static let quickBytesMax = 1024
    /// What is copied under the lock at once.
    private static let stepBytes = 64 << 10
    private static let attempts = 3

    // MARK: Copying

    /// Copies the value to the start of `destination`. A hit, also one that is too long to copy, makes it the last used. O(length).
    ///
    /// Key and value up to about 1,000 bytes are read without a lock. Above 64 KiB the lock is released between pieces, so no writer waits
    /// for megabytes; if the value changes meanwhile, reading begins anew. After a miss the bytes of the destination are undefined.
    package func copy(_ id: KeyID, _ key: RawSpan, into destination: UnsafeMutableRawBufferPointer, now: Tick) -> ReadResult {
        key.withUnsafeBytes { key in
            withUnsafeTemporaryAllocation(byteCount: Self.quickBytesMax, alignment: 8) { buffer in
                let start = buffer.baseAddress.unsafelyUnwrapped
                let found = quick(id, key, now: now, start)
                switch found.outcome {
                case .miss: return .miss
                case .slow: return slowCopy(id, key, into: destination, now: now)
                case .hit:
                    let bytes = Int(found.valueBytes)
                    guard bytes <= destination.count else { return .tooSmall(found.info) }
                    if let target = destination.baseAddress {
                        target.copyMemory(from: start + ChunkLayout.header + key.count, byteCount: bytes)
                    }
                    return .hit(found.info)
                }
            }
        }
    }

    @inline(never)
    private func slowCopy(
        _ id: KeyID, _ key: UnsafeRawBufferPointer, into destination: UnsafeMutableRawBufferPointer, now: Tick
    ) -> ReadResult {
        for attempt in 1...Self.attempts {
            // The last attempt copies everything under one lock, so that it ends.
            let stepMax = attempt == Self.attempts ? Int.max : Self.stepBytes
            let (result, isWhole) = shard(of: id).pointee.lock.withLock { shard -> (ReadResult, Bool) in
                guard let entry = shard.use(id, key, now: now) else { return (.miss, true) }
                let info = entry.info
                guard info.valueBytes <= destination.count else { return (.tooSmall(info), true) }
                guard info.valueBytes <= stepMax else { return (.hit(info), false) }
                if let start = destination.baseAddress { shard.copyValue(entry, 0..<info.valueBytes, to: start) }
                return (.hit(info), true)
            }
            guard !isWhole, case .hit(let info) = result, let start = destination.baseAddress else { return result }
            if copyInSteps(id, key, info, to: start) { return result }
        }
        return .miss
    }

    /// Copies a value piece by piece, as long as the same one is held: a stamp is never used for two contents.
    private func copyInSteps(_ id: KeyID, _ key: UnsafeRawBufferPointer, _ info: EntryInfo, to start: UnsafeMutableRawPointer) -> Bool {
        // Each step walks the chain from its start: a sixteenth of the value bounds that to eight times the chain.
        let step = max(Self.stepBytes, info.valueBytes / 16)
        var position = 0
        while position < info.valueBytes {
            let range = position..<min(position + step, info.valueBytes)
            let isSame = shard(of: id).pointee.lock.withLock { shard in
                let handle = shard.find(id, key)
                guard handle != 0, shard.entries[handle].info == info else { return false }
                shard.copyValue(shard.entries[handle], range, to: start + position)
                return true
            }
            guard isSame else { return false }
            position = range.upperBound
        }
        return true
    }

    // MARK: Visiting

    /// Calls `body` with the value. Makes it the last used. Between about 1,000 and 4,000 bytes `body` runs under the shard's lock; else it
    /// gets a copy, for longer values from the heap.
    ///
    /// For the hot path: not generic, so a hit costs as much as ``copy(_:_:into:now:)``. Through ``withValue(_:_:now:_:)`` it took five times
    /// as long, which Swift 6.3.1 does not specialise for its caller even when it is inlinable.
    /// - Parameter limit: of a longer value, above about 1,000 bytes, `body` gets no bytes, only the size: a copy may take milliseconds.
    /// - Returns: false for a miss, without a call: nothing held, a tombstone, expired, or cleared.
    @discardableResult
    package func visit(_ id: KeyID, _ key: RawSpan, now: Tick, upTo limit: Int = .max, _ body: (EntryInfo, RawSpan) -> Void) -> Bool {
        key.withUnsafeBytes { key in
            withUnsafeTemporaryAllocation(byteCount: Self.quickBytesMax, alignment: 8) { buffer in
                let start = buffer.baseAddress.unsafelyUnwrapped
                let found = quick(id, key, now: now, start)
                switch found.outcome {
                case .miss: return false
                case .slow: return slowVisit(id, key, now: now, limit, body)
                case .hit:
                    let value = UnsafeRawBufferPointer(start: start + ChunkLayout.header + key.count, count: Int(found.valueBytes))
                    body(found.info, value.bytes)
                    return true
                }
            }
        }
    }

    @inline(never)
    private func slowVisit(
        _ id: KeyID, _ key: UnsafeRawBufferPointer, now: Tick, _ limit: Int, _ body: (EntryInfo, RawSpan) -> Void
    ) -> Bool {
        enum Step { case done(Bool), copy(EntryInfo) }
        for attempt in 1...Self.attempts {
            let step = shard(of: id).pointee.lock.withLock { shard -> Step in
                guard let entry = shard.use(id, key, now: now) else { return .done(false) }
                let info = entry.info
                if info.valueBytes > limit {
                    body(info, RawSpan())
                    return .done(true)
                }
                if let value = shard.contiguousValue(entry) {
                    body(info, value.bytes)
                    return .done(true)
                }
                guard attempt == Self.attempts else { return .copy(info) }
                return withUnsafeTemporaryAllocation(byteCount: info.valueBytes, alignment: 16) { buffer in
                    if let start = buffer.baseAddress { shard.copyValue(entry, 0..<buffer.count, to: start) }
                    body(info, UnsafeRawBufferPointer(buffer).bytes)
                    return .done(true)
                }
            }
            switch step {
            case .done(let isHit): return isHit
            case .copy(let info):
                let isHit = withUnsafeTemporaryAllocation(byteCount: info.valueBytes, alignment: 16) { buffer in
                    guard let start = buffer.baseAddress, copyInSteps(id, key, info, to: start) else { return false }
                    body(info, UnsafeRawBufferPointer(buffer).bytes)
                    return true
                }
                if isHit { return true }
            }
        }
        return false
    }

    /// As ``visit(_:_:now:_:)``, for a body that returns or throws something.
    /// - Returns: nil for a miss.
    package func withValue<R, E: Error>(
        _ id: KeyID, _ key: RawSpan, now: Tick, _ body: (EntryInfo, RawSpan) throws(E) -> R
    ) throws(E) -> R? {
        var result: R? = nil
        var failure: E? = nil
        visit(id, key, now: now) { info, value in
            do throws(E) { result = try body(info, value) } catch { failure = error }
        }
        if let failure { throw failure }
        return result
    }

    // MARK: Without a lock

    /// Reads without the shard's lock; `.slow`: with it.
    @inline(__always)
    private func quick(_ id: KeyID, _ key: UnsafeRawBufferPointer, now: Tick, _ buffer: UnsafeMutableRawPointer) -> Sighting {
        let cell = shard(of: id)
        let gate = reader.gate(Slot(hash: id.hash).index &>> shardShift)
        for _ in 0..<Self.attempts {
            let number = gate.begin()
            guard number & 1 == 0 else { continue }
            var found = reader.find(id, key, buffer)
            guard gate.isUnchanged(since: number) else { continue }
            guard case .hit = found.outcome else { return found }
            if found.isUnreadable(at: now) || shared.caches.pointee.isCleared(id.cache.value, clock: found.clock, origin: found.origin) {
                found.outcome = .miss
                return found
            }
            if gate.era.wantsHit(found.tail) {
                // Given up when somebody writes: the entry may have moved, and it will be hit again.
                _ = cell.pointee.lock.withLockIfAvailable { shard in
                    if gate.begin() == number { shard.order.hit(found.handle, shard.entries) }
                }
            }
            return found
        }
        return Sighting(outcome: .slow)
    }
}

/// An entry as a reader without a lock saw it.
struct Sighting {
    enum Outcome { case hit, miss, slow }

    var outcome: Outcome
    var handle: UInt32 = 0
    var valueBytes: UInt32 = 0
    var expiry: UInt32 = 0
    var clock: UInt64 = 0
    var origin: UInt32 = 0
    /// Cache, state and era.
    var tail: UInt32 = 0

    private var state: EntryRef.State { EntryRef.State(bits: UInt8(truncatingIfNeeded: tail &>> 16)) }

    @inline(__always)
    func isUnreadable(at now: Tick) -> Bool { state.isTombstone || state.expires && now.isAtOrAfter(Tick(expiry)) }

    var info: EntryInfo {
        EntryInfo(
            stamp: Stamp(clock: clock, origin: origin), expiry: state.expires ? Tick(expiry) : nil, valueBytes: Int(valueBytes),
            isTombstone: state.isTombstone)
    }
}

/// What a reader without a lock needs: addresses that never change.
///
/// Whatever it finds may be outdated or half written: every offset is checked before it is followed, every loop is bounded, and nothing is
/// believed before the gate says that it was unchanged.
struct StoreReader: @unchecked Sendable {  // unchecked: what lies at the addresses is read atomically
    private let roots: UnsafeMutablePointer<Atomic<UInt32>>
    private let rootShift: UInt32
    private let gates: UnsafeMutableRawPointer
    private let base: UnsafeMutableRawPointer
    private let arena: UnsafeMutablePointer<Arena>

    init(plan: FixedPlan, fixed: UnsafeMutableRawPointer, arena: UnsafeMutablePointer<Arena>) {
        roots = plan.roots(fixed)
        rootShift = plan.rootShift
        gates = plan.gates(fixed)
        base = arena.pointee.base
        self.arena = arena
    }

    @inline(__always)
    func gate(_ shard: Int) -> Gate { Gate(gates + shard &* Gate.bytes) }

    /// Copies key and value of the entry to `buffer` and compares the key there.
    @inline(__always)
    func find(_ id: KeyID, _ key: UnsafeRawBufferPointer, _ buffer: UnsafeMutableRawPointer) -> Sighting {
        let hash = UInt32(truncatingIfNeeded: id.hash &>> 32)
        let end = arena.pointee.readableEnd
        guard let block = block(hash, end) else { return Sighting(outcome: .miss) }
        let lines = block.lines
        var number = ShardIndex.line(hash, lines)
        for _ in 0..<ShardIndex.probeMax {
            let line = IndexLine(address: base + block.offset + number &* IndexLine.bytes)
            var (places, overflow) = line.matches(UInt8(truncatingIfNeeded: hash))
            while places != 0 {
                let found = look(line.handle(places.trailingZeroBitCount), hash, id.cache.value, key, buffer, end)
                if case .miss = found.outcome {
                    places &= places &- 1
                } else {
                    return found
                }
            }
            if overflow == 0 { break }
            number = number &+ 1 == lines ? 0 : number &+ 1
        }
        return Sighting(outcome: .miss)
    }

    @inline(__always)
    private func block(_ hash: UInt32, _ end: Int) -> IndexWord? {
        var word = IndexWord(bits: Words.load32(UnsafeRawPointer(roots + Int(hash &>> rootShift))))
        var shift = rootShift
        while word.isDirectory {
            let depth = UInt32(truncatingIfNeeded: word.depth)
            guard depth <= shift, Arena.contains(word.offset, 4 &<< word.depth, end) else { return nil }
            shift &-= depth
            word = IndexWord(bits: Words.load32(base + word.offset + (Int(hash &>> shift) & ((1 &<< word.depth) &- 1)) &* 4))
        }
        guard !word.isEmpty, Arena.contains(word.offset, word.lines &* IndexLine.bytes, end) else { return nil }
        return word
    }

    @inline(__always)
    private func look(
        _ handle: UInt32, _ hash: UInt32, _ cache: UInt16, _ key: UnsafeRawBufferPointer, _ buffer: UnsafeMutableRawPointer, _ end: Int
    ) -> Sighting {
        guard Arena.contains(Int(handle) &* 16, EntryRef.bytes, end) else { return Sighting(outcome: .miss) }
        let address = base + Int(handle) &* 16
        let head = Words.load(address)
        let ends = Words.load(address + 24)
        let tail = UInt32(truncatingIfNeeded: ends &>> 32)
        guard UInt32(truncatingIfNeeded: head) == hash, UInt16(truncatingIfNeeded: tail) == cache else { return Sighting(outcome: .miss) }
        let lengths = Words.load(address + 8)
        let valueBytes = UInt32(truncatingIfNeeded: lengths)
        let total = ChunkLayout.header &+ key.count &+ Int(valueBytes)
        guard total <= ByteStore.quickBytesMax, !EntryRef.State(bits: UInt8(truncatingIfNeeded: tail &>> 16)).isChain else {
            return Sighting(outcome: .slow)
        }
        let chunk = Int(head &>> 32) &* 8
        guard Arena.contains(chunk, (total &+ 7) & ~7, end) else { return Sighting(outcome: .slow) }
        let first = Words.load(base + chunk)
        guard Int(first & 0xFFFF) == key.count else { return Sighting(outcome: .miss) }
        Words.store(buffer, first)
        Words.copy(to: buffer + 8, from: base + chunk + 8, bytes: total &- 8)
        if let start = key.baseAddress {
            guard KeyBytes.areEqual(UnsafeRawPointer(buffer + ChunkLayout.header), start, key.count) else {
                return Sighting(outcome: .miss)
            }
        }
        return Sighting(
            outcome: .hit, handle: handle, valueBytes: valueBytes, expiry: UInt32(truncatingIfNeeded: lengths &>> 32),
            clock: Words.load(address + 16), origin: UInt32(truncatingIfNeeded: ends), tail: tail)
    }
}

internal import Synchronization

/// What a reader without a lock needs: addresses that never change.
struct StoreReader: @unchecked Sendable {  // unchecked: what lies at the addresses is read atomically
    let roots: UnsafeMutablePointer<Atomic<UInt32>>
    let rootShift: UInt32
    let gates: UnsafeMutableRawPointer
    let base: UnsafeMutableRawPointer
    let arena: UnsafeMutablePointer<Arena>

    init(plan: FixedPlan, fixed: UnsafeMutableRawPointer, arena: UnsafeMutablePointer<Arena>) {
        roots = plan.roots(fixed)
        rootShift = plan.rootShift
        gates = fixed
        base = arena.pointee.base
        self.arena = arena
    }
}

extension ByteStore {
    /// Copies the value to the start of `destination`. A hit, also one that is too long to copy, makes it the last used. O(length).
    package func copy(_ id: KeyID, _ key: RawSpan, into destination: UnsafeMutableRawBufferPointer, now: Tick) -> ReadResult {
        key.withUnsafeBytes { key in
            shard(of: id).pointee.lock.withLock { shard in
                guard let entry = shard.use(id, key, now: now) else { return .miss }
                guard Int(entry.valueBytes) <= destination.count else { return .tooSmall(entry.info) }
                if let start = destination.baseAddress { shard.copyValue(entry, 0..<Int(entry.valueBytes), to: start) }
                return .hit(entry.info)
            }
        }
    }

    /// Calls `body` with the value. Makes it the last used.
    ///
    /// For the hot path: not generic, so a hit costs as much as ``copy(_:_:into:now:)``. Through ``withValue(_:_:now:_:)`` it took five times
    /// as long, which Swift 6.3.1 does not specialise for its caller even when it is inlinable.
    /// - Returns: false for a miss, without a call: nothing held, a tombstone, expired, or cleared.
    @discardableResult
    package func visit(_ id: KeyID, _ key: RawSpan, now: Tick, _ body: (EntryInfo, RawSpan) -> Void) -> Bool {
        key.withUnsafeBytes { key in
            shard(of: id).pointee.lock.withLock { shard in
                guard let entry = shard.use(id, key, now: now) else { return false }
                if let value = shard.contiguousValue(entry) {
                    body(entry.info, value.bytes)
                    return true
                }
                return withUnsafeTemporaryAllocation(byteCount: Int(entry.valueBytes), alignment: 16) { buffer in
                    if let start = buffer.baseAddress { shard.copyValue(entry, 0..<buffer.count, to: start) }
                    body(entry.info, UnsafeRawBufferPointer(buffer).bytes)
                    return true
                }
            }
        }
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
}

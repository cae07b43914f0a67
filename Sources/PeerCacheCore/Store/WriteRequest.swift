/// A write on its way into a shard. The pointers are good for the call.
struct WriteRequest {
    enum Content {
        case value(UnsafeRawBufferPointer, ttl: Duration?, WriteKind)
        /// Dead from `keep` on. The bytes are empty, or a ``SourceVersion``.
        case tombstone(UnsafeRawBufferPointer, keep: Tick)
    }
    var id: KeyID
    var key: UnsafeRawBufferPointer
    var content: Content
    var now: Tick

    static let keyBytesMax = 1024

    var value: UnsafeRawBufferPointer {
        switch content {
        case .value(let bytes, _, _), .tombstone(let bytes, _): bytes
        }
    }
    var isTombstone: Bool { if case .tombstone = content { true } else { false } }
    var isExplicit: Bool { if case .value(_, _, .fill) = content { false } else { true } }

    /// The half of the hash that the store keeps.
    @inline(__always)
    var hash: UInt32 { UInt32(truncatingIfNeeded: id.hash &>> 32) }

    @inline(__always)
    var layout: ChunkLayout { ChunkLayout(keyBytes: key.count, valueBytes: value.count) }

    enum Life { case dead, endless, until(Tick) }

    func life(_ stamp: Stamp) -> Life {
        switch content {
        case .value(_, nil, _): .endless
        case .value(_, let ttl?, _): Lifetime.expiry(of: stamp, ttl: ttl, now: now).map { .until($0) } ?? .dead
        case .tombstone(_, let keep): now.isAtOrAfter(keep) ? .dead : .until(keep)
        }
    }
}

/// Memory that a write has got and not used yet. Kept while the lock is released: only so a long value is sure to come to an end.
struct PendingWrite: Sendable {
    /// Handle of an entry.
    var entry: UInt32 = 0
    /// The only or first chunk.
    var chunk: UInt32 = 0
    /// Later pieces, the last one first.
    var pieces: UInt32 = 0
    var pieceCount = 0
}

/// What a shard did with a write.
enum WriteStep: Sendable {
    case done(WriteResult, Stamp)
    /// It evicted what it may under one lock; lock again and go on.
    case again
    /// Other shards must give a page, beginning with `donor`. Nothing was minted or changed, but own entries may be evicted.
    case blocked(donor: Int)
}

/// A write on its way into a shard. The pointers are good for the call.
struct WriteRequest {
    enum Content {
        case value(UnsafeRawBufferPointer, ttl: Duration?)
        /// Dead from `keep` on.
        case tombstone(keep: Tick)
    }
    var id: KeyID
    var key: UnsafeRawBufferPointer
    var content: Content
    var now: Tick

    static let keyBytesMax = 1024

    var value: UnsafeRawBufferPointer {
        if case .value(let bytes, _) = content { bytes } else { UnsafeRawBufferPointer(start: nil, count: 0) }
    }
    var isTombstone: Bool { if case .tombstone = content { true } else { false } }

    /// Bytes counted for key and value. Asked only when they are short enough.
    var charge: Int { AllocatorClass.charge(key.count + value.count) }

    enum Life { case dead, endless, until(Tick) }

    func life(_ stamp: Stamp) -> Life {
        switch content {
        case .value(_, nil): .endless
        case .value(_, let ttl?): Lifetime.expiry(of: stamp, ttl: ttl, now: now).map { .until($0) } ?? .dead
        case .tombstone(let keep): now.isAtOrAfter(keep) ? .dead : .until(keep)
        }
    }
}

/// What a shard did with a write.
enum WriteStep: Sendable {
    case done(WriteResult, Stamp)
    /// It evicted what it may under one lock; lock again and go on.
    case again
    /// Other shards must give that many bytes, beginning with `donor`. Nothing was minted or changed, but own entries may be evicted.
    case blocked(bytes: Int, donor: Int)
}

/// One held value or tombstone, without its bytes. 64 bytes: a cache line, so that a hit touches index, entry and bytes once each.
struct Entry {
    var hash: UInt64
    var clock: UInt64
    /// The key's bytes, then the value's. Owned by the entry.
    var bytes: UnsafeMutableRawPointer
    var origin: UInt32
    /// Valid if `expires`.
    var expiry: UInt32
    var valueBytes: UInt32
    var keyBytes: UInt16
    var cache: UInt16
    /// Neighbours in the list of values (last used) or of tombstones (last written).
    var newer: UInt32
    var older: UInt32
    /// Neighbours in the list of the slot's entries; no order.
    var slotNext: UInt32
    var slotBack: UInt32
    /// Tick of the last use.
    var touched: UInt32
    var isTombstone: Bool
    var expires: Bool

    /// Instead of a handle: no entry.
    static let none = UInt32.max

    var stamp: Stamp { Stamp(clock: clock, origin: origin) }

    var info: EntryInfo {
        EntryInfo(stamp: stamp, expiry: expires ? Tick(expiry) : nil, valueBytes: Int(valueBytes), isTombstone: isTombstone)
    }

    /// Bytes counted for key and value.
    var charge: Int { AllocatorClass.charge(Int(keyBytes) + Int(valueBytes)) }

    var key: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: bytes, count: Int(keyBytes)) }
    var value: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: bytes + Int(keyBytes), count: Int(valueBytes)) }

    @inline(__always)
    func isDead(at now: Tick) -> Bool { expires && now.isAtOrAfter(Tick(expiry)) }

    /// Whether the key is the one of `bytes`. O(length), eight bytes at a time.
    @inline(__always)
    func hasKey(_ other: UnsafeRawBufferPointer) -> Bool {
        guard other.count == Int(keyBytes) else { return false }
        guard let theirs = other.baseAddress else { return true }  // both are empty
        let ours = UnsafeRawPointer(bytes)
        let count = other.count
        guard count >= 8 else {
            var offset = 0
            while offset < count {
                if ours.load(fromByteOffset: offset, as: UInt8.self) != theirs.load(fromByteOffset: offset, as: UInt8.self) { return false }
                offset &+= 1
            }
            return true
        }
        var offset = 0
        while offset < count &- 8 {
            if ours.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                != theirs.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            {
                return false
            }
            offset &+= 8
        }
        // The last word overlaps the one before unless the length is a multiple of eight.
        return ours.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            == theirs.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
    }
}

/// When an entry dies.
enum Lifetime {
    /// Four years and four months, less 18 hours so that a clock stepped back does not make the expiry compare as past.
    static let ticksMax = Int64(Tick.horizon) - (1 << 20)

    /// (stamp milliseconds + ttl) / 64, rounded down and so equal on all holders, at most ``ticksMax`` after `now`. Nil: already dead at
    /// `now`, as with every ttl that is not positive. Total: no ttl and no stamp overflows.
    static func expiry(of stamp: Stamp, ttl: Duration, now: Tick) -> Tick? {
        guard ttl > .zero else { return nil }
        let (seconds, attoseconds) = ttl.components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1000)
        let (milliseconds, overflowed) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000_000_000)
        let life = overflow || overflowed ? UInt64(Int64.max) : UInt64(max(0, milliseconds))
        // 48 bits and 63 bits: the sum fits in 64. What is left after the shift fits in 58, so nothing below can overflow either.
        let ticks = Int64((stamp.milliseconds + life) >> 6) - Int64(stamp.milliseconds >> 6)
        let left = Int64(now.distance(to: Tick(milliseconds: stamp.milliseconds))) + ticks
        guard left > 0 else { return nil }
        return Tick(now.value &+ UInt32(min(left, ticksMax)))
    }
}

/// One held value or tombstone, without its bytes: 48 bytes of the arena.
///
/// Readers without a lock look at bytes 0...31, or with an outdated handle at any: all words are read and written atomically. What is behind
/// byte 31 belongs to the shard's lock. A handle is the offset in the arena / 16; 0 is none.
struct EntryRef {
    static let bytes = 48

    //  0 hash UInt32 (the top half), chunk UInt32 (offset / 8; 0: the entry is free)
    //  8 valueBytes UInt32, expiry UInt32 (valid if `expires`)
    // 16 clock UInt64
    // 24 origin UInt32, cache UInt16, state UInt8, era UInt8
    // 32 newer UInt32, older UInt32: the policy's list
    // 40 timerNext UInt32, timerBack UInt32: the wheel's list
    let address: UnsafeMutableRawPointer

    struct State {
        var bits: UInt8

        private static let tombstone: UInt8 = 1 << 4
        private static let chain: UInt8 = 1 << 5
        private static let expiring: UInt8 = 1 << 7

        init(bits: UInt8) { self.bits = bits }

        /// - Parameter policy: bits of ``PolicyState`` to carry on.
        init(isTombstone: Bool, isChain: Bool, expires: Bool, policy: UInt8) {
            bits =
                (isTombstone ? Self.tombstone : 0) | (isChain ? Self.chain : 0) | (expires ? Self.expiring : 0)
                | policy & PolicyState.all
        }

        var isTombstone: Bool { bits & Self.tombstone != 0 }
        var isChain: Bool { bits & Self.chain != 0 }
        var expires: Bool { bits & Self.expiring != 0 }
    }

    @inline(__always)
    init(address: UnsafeMutableRawPointer) { self.address = address }

    var hash: UInt32 {
        @inline(__always) get { Words.load32(address) }
    }
    var chunk: UInt32 {
        @inline(__always) get { Words.load32(address + 4) }
        nonmutating set { Words.store32(address + 4, newValue) }
    }
    var valueBytes: UInt32 {
        @inline(__always) get { Words.load32(address + 8) }
    }
    var expiry: UInt32 {
        @inline(__always) get { Words.load32(address + 12) }
    }
    var clock: UInt64 {
        @inline(__always) get { Words.load(address + 16) }
    }
    var origin: UInt32 {
        @inline(__always) get { Words.load32(address + 24) }
    }
    /// cache, state and era.
    private var tail: UInt32 {
        @inline(__always) get { Words.load32(address + 28) }
        nonmutating set { Words.store32(address + 28, newValue) }
    }
    var cache: UInt16 {
        @inline(__always) get { UInt16(truncatingIfNeeded: tail) }
    }
    var state: State {
        @inline(__always) get { State(bits: UInt8(truncatingIfNeeded: tail &>> 16)) }
        nonmutating set { tail = tail & 0xFF00_FFFF | UInt32(newValue.bits) << 16 }
    }
    var era: UInt8 {
        @inline(__always) get { UInt8(truncatingIfNeeded: tail &>> 24) }
        nonmutating set { tail = tail & 0x00FF_FFFF | UInt32(newValue) << 24 }
    }

    var newer: UInt32 {
        @inline(__always) get { Words.load32(address + 32) }
        nonmutating set { Words.store32(address + 32, newValue) }
    }
    var older: UInt32 {
        @inline(__always) get { Words.load32(address + 36) }
        nonmutating set { Words.store32(address + 36, newValue) }
    }
    var timerNext: UInt32 {
        @inline(__always) get { Words.load32(address + 40) }
        nonmutating set { Words.store32(address + 40, newValue) }
    }
    var timerBack: UInt32 {
        @inline(__always) get { Words.load32(address + 44) }
        nonmutating set { Words.store32(address + 44, newValue) }
    }

    /// Sets everything that readers look at.
    @inline(__always)
    func publish(hash: UInt32, chunk: UInt32, valueBytes: UInt32, expiry: UInt32, stamp: Stamp, cache: UInt16, state: State, era: UInt8) {
        Words.store32(address, hash)
        Words.store32(address + 4, chunk)
        Words.store32(address + 8, valueBytes)
        Words.store32(address + 12, expiry)
        Words.store(address + 16, stamp.clock)
        Words.store32(address + 24, stamp.origin)
        Words.store32(address + 28, UInt32(cache) | UInt32(state.bits) << 16 | UInt32(era) << 24)
    }

    var stamp: Stamp { Stamp(clock: clock, origin: origin) }
    var bucket: BucketIndex { BucketIndex(hash: UInt64(hash) << 32) }
    var slot: Int { Int(hash >> 18) }

    var info: EntryInfo {
        EntryInfo(stamp: stamp, expiry: state.expires ? Tick(expiry) : nil, valueBytes: Int(valueBytes), isTombstone: state.isTombstone)
    }

    /// Bytes counted for an entry beside its chunks: its share of an entry page and of the index.
    static let ownCharge = 56

    /// Bytes counted for the entry.
    /// - Parameter base: of the arena that its chunks lie in.
    @inline(__always)
    func charge(_ base: UnsafeMutableRawPointer) -> Int {
        let keyBytes = Int((base + Int(chunk) &* 8).load(as: UInt16.self))
        return Self.ownCharge &+ ChunkLayout(keyBytes: keyBytes, valueBytes: Int(valueBytes)).charge
    }

    @inline(__always)
    func isDead(at now: Tick) -> Bool { state.expires && now.isAtOrAfter(Tick(expiry)) }
}

/// Where entries lie: turns handles into entries.
package struct EntryMemory: @unchecked Sendable {  // unchecked: an address and nothing else; who follows it holds the lock
    /// Handle 0 lies here and is none.
    let base: UnsafeMutableRawPointer

    package init(base: UnsafeMutableRawPointer) { self.base = base }

    @inline(__always)
    subscript(handle: UInt32) -> EntryRef { EntryRef(address: base + Int(handle) &* 16) }
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

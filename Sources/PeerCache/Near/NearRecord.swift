internal import PeerCacheCore

#if canImport(Darwin)
internal import Darwin
#elseif canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// One near copy: 64 bytes, one cache line. Trivial, so that records move by plain copying; whoever takes one out of a shard releases
/// its object and frees its key.
struct NearRecord {
    var hash: UInt64
    /// Holds one reference.
    var object: Unmanaged<AnyObject>
    /// Milliseconds since 1970.
    var expires: UInt64
    var clock: UInt64
    var origin: UInt32
    /// Encoded bytes, key bytes and ``NearStore/overheadBytes``.
    var cost: UInt32
    var cache: UInt16
    private var keyBytes: UInt16
    /// The second chance of CLOCK: set by a hit, taken by the hand.
    var isReferenced = false
    /// The key itself if it has at most 16 bytes, else its address in the first word.
    private var key: (UInt64, UInt64) = (0, 0)

    static let inlineKeyBytesMax = 16
    static let keyBytesMax = Int(UInt16.max)
    /// `key` is the last member. (`offset(of:)` would allocate a key path where it is not optimised away.)
    private static var keyOffset: Int { MemoryLayout<NearRecord>.size - inlineKeyBytesMax }

    /// Takes a reference to the object and copies the key.
    /// - Parameters:
    ///   - key: at most ``keyBytesMax`` bytes.
    ///   - cost: at most `UInt32.max`.
    init(_ object: AnyObject, hash: UInt64, cache: UInt16, key bytes: UnsafeRawBufferPointer, cost: Int, stamp: Stamp, expires: UInt64) {
        self.hash = hash
        self.object = Unmanaged.passRetained(object)
        self.expires = expires
        clock = stamp.clock
        origin = stamp.origin
        self.cost = UInt32(clamping: cost)
        self.cache = cache
        keyBytes = UInt16(clamping: bytes.count)
        if bytes.count <= Self.inlineKeyBytesMax {
            withUnsafeMutableBytes(of: &key) { $0.copyMemory(from: bytes) }
        } else {
            let copy = UnsafeMutableRawPointer.allocate(byteCount: bytes.count, alignment: 1)
            copy.copyMemory(from: bytes.baseAddress.unsafelyUnwrapped, byteCount: bytes.count)
            key.0 = UInt64(UInt(bitPattern: copy))
        }
    }

    var stamp: Stamp { Stamp(clock: clock, origin: origin) }

    /// Low half of the hash: what the index knows of an entry. The high half chose the shard and the floor.
    var tag: UInt32 { UInt32(truncatingIfNeeded: hash) }

    /// Frees the key's own memory. The record is dead afterwards but for its object.
    func freeKey() {
        guard Int(keyBytes) > Self.inlineKeyBytesMax else { return }
        UnsafeMutableRawPointer(bitPattern: UInt(key.0))?.deallocate()
    }

    /// In place, without copying the record.
    @inline(__always)
    static func hasKey(_ record: UnsafeMutablePointer<NearRecord>, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard Int(record.pointee.keyBytes) == bytes.count else { return false }
        guard let other = bytes.baseAddress else { return true }
        if bytes.count <= inlineKeyBytesMax {
            return memcmp(UnsafeRawPointer(record) + keyOffset, other, bytes.count) == 0
        }
        guard let own = UnsafeRawPointer(bitPattern: UInt(record.pointee.key.0)) else { return false }
        return memcmp(own, other, bytes.count) == 0
    }
}

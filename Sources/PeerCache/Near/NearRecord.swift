internal import PeerCacheCore
internal import Synchronization

#if canImport(Darwin)
internal import Darwin
#elseif canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// One near copy: eight words, one cache line. Trivial, so that records move by copying words; whoever takes one out of a shard releases
/// its object and frees its key.
struct NearRecord {
    static let wordCount = 8
    /// A key of at most so many bytes lies in the record, from byte 44 on; of a longer one word 6 holds the address.
    static let inlineKeyBytesMax = 20
    static let keyBytesMax = Int(UInt16.max)
    /// Some nine thousand years.
    static let expiresMax: UInt64 = 0xFFFF_FFFF_FFFF

    /// Hash; object (holds one reference); epoch (16 bits) and expiry in milliseconds since 1970; stamp's clock; stamp's origin and cost; cache, length of the
    /// key, and the key.
    var words = SIMD8<UInt64>(repeating: 0)

    /// Takes a reference to the object and copies the key.
    /// - Parameters:
    ///   - key: at most ``keyBytesMax`` bytes.
    ///   - cost: at most `UInt32.max`.
    ///   - expires: above ``expiresMax`` it counts as that.
    init(
        _ object: AnyObject, hash: UInt64, cache: UInt16, key bytes: UnsafeRawBufferPointer, cost: Int, stamp: Stamp, epoch: UInt16,
        expires: UInt64
    ) {
        words[0] = hash
        words[1] = UInt64(UInt(bitPattern: Unmanaged.passRetained(object).toOpaque()))
        words[2] = UInt64(epoch) << 48 | min(expires, Self.expiresMax)
        words[3] = stamp.clock
        words[4] = UInt64(stamp.origin) | UInt64(UInt32(clamping: cost)) << 32
        words[5] = UInt64(cache) | UInt64(UInt16(clamping: bytes.count)) << 16
        guard let key = bytes.baseAddress else { return }
        if bytes.count <= Self.inlineKeyBytesMax {
            withUnsafeMutableBytes(of: &words) { $0.baseAddress.map { $0 + 44 }?.copyMemory(from: key, byteCount: bytes.count) }
        } else {
            let copy = UnsafeMutableRawPointer.allocate(byteCount: bytes.count, alignment: 8)
            copy.copyMemory(from: key, byteCount: bytes.count)
            words[6] = UInt64(UInt(bitPattern: copy))
        }
    }

    /// A record that lies in a table. Under the shard's lock.
    init(_ record: NearTable.Words) {
        for index in 0..<Self.wordCount { words[index] = record[index].load(ordering: .relaxed) }
    }

    var hash: UInt64 { words[0] }
    var object: Unmanaged<AnyObject>? {
        UnsafeRawPointer(bitPattern: UInt(words[1])).map { Unmanaged.fromOpaque($0) }
    }
    var expires: UInt64 { words[2] & Self.expiresMax }
    var epoch: UInt16 { UInt16(words[2] >> 48) }
    var clock: UInt64 { words[3] }
    var stamp: Stamp { Stamp(clock: words[3], origin: UInt32(truncatingIfNeeded: words[4])) }
    /// Encoded bytes, key bytes and ``NearStore/overheadBytes``.
    var cost: Int { Int(words[4] >> 32) }
    var cache: UInt16 { UInt16(truncatingIfNeeded: words[5]) }
    /// Low half of the hash: what the index knows of an entry. The high half chose the shard and the floor.
    var tag: UInt32 { UInt32(truncatingIfNeeded: words[0]) }

    /// Lets the object go and frees the key's own memory. Runs user code (`deinit`).
    func destroy() {
        if Int(UInt16(truncatingIfNeeded: words[5] >> 16)) > Self.inlineKeyBytesMax {
            UnsafeMutableRawPointer(bitPattern: UInt(words[6]))?.deallocate()
        }
        object?.release()
    }

    /// Whether the last three words are of this cache and key.
    @inline(__always)
    static func matches(_ tail: (UInt64, UInt64, UInt64), cache: UInt16, key: UnsafeRawBufferPointer) -> Bool {
        let count = Int(UInt16(truncatingIfNeeded: tail.0 >> 16))
        guard UInt16(truncatingIfNeeded: tail.0) == cache, count == key.count else { return false }
        guard let other = key.baseAddress else { return true }
        if count <= inlineKeyBytesMax {
            return withUnsafeBytes(of: tail) { bytes in bytes.baseAddress.map { memcmp($0 + 4, other, count) == 0 } ?? false }
        }
        guard let own = UnsafeRawPointer(bitPattern: UInt(tail.1)) else { return false }
        return memcmp(own, other, count) == 0
    }
}

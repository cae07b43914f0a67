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
    /// A key of at most so many bytes lies in the record; of a longer one word 6 holds the address.
    static let inlineKeyBytesMax = 20
    static let keyBytesMax = Int(UInt16.max)
    /// Some nine thousand years.
    static let expiresMax: UInt64 = 0xFFFF_FFFF_FFFF

    /// Hash; object (holds one reference); epoch (16 bits) and expiry in milliseconds since 1970; stamp's clock; stamp's origin and cost; and
    /// a ``Name``.
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
        var name = Name(cache: cache, key: bytes)
        if bytes.count > Self.inlineKeyBytesMax, let key = bytes.baseAddress {
            let copy = UnsafeMutableRawPointer.allocate(byteCount: bytes.count, alignment: 8)
            copy.copyMemory(from: key, byteCount: bytes.count)
            name.words.1 = UInt64(UInt(bitPattern: copy))
        }
        (words[5], words[6], words[7]) = name.words
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

    /// Cache and key as the last three words of a record have them: cache, length of the key and its bytes from the 17th on; its first eight
    /// bytes, or the address of its copy; eight more. Whole words, since a comparison of bytes that were just stored as words waits for them.
    struct Name {
        fileprivate(set) var words: (UInt64, UInt64, UInt64)
        private let key: UnsafeRawBufferPointer

        /// - Parameter key: of more than ``NearRecord/inlineKeyBytesMax`` bytes nothing but the length is taken; it must outlive this value.
        @inline(__always)
        init(cache: UInt16, key: UnsafeRawBufferPointer) {
            self.key = key
            let count = key.count
            words = (UInt64(cache) | UInt64(UInt16(clamping: count)) << 16, 0, 0)
            guard count <= NearRecord.inlineKeyBytesMax else { return }
            if count < 8 {
                for index in 0..<count { words.1 |= UInt64(key[index]) << UInt64(8 &* index) }
                return
            }
            // What follows the first words is read with its end, so that nothing behind the key is touched.
            words.1 = Self.word(key, at: 0)
            if count > 16 {
                words.2 = Self.word(key, at: 8)
                words.0 |= (Self.word(key, at: count &- 8) &>> UInt64(8 &* (24 &- count))) &<< 32
            } else if count > 8 {
                words.2 = Self.word(key, at: count &- 8) &>> UInt64(8 &* (16 &- count))
            }
        }

        @inline(__always)
        private static func word(_ key: UnsafeRawBufferPointer, at offset: Int) -> UInt64 {
            UInt64(littleEndian: key.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }

        /// Whether the last three words of a record are of this cache and key.
        @inline(__always)
        func isEqual(_ tail: (UInt64, UInt64, UInt64)) -> Bool {
            guard tail.0 == words.0 else { return false }
            if key.count <= NearRecord.inlineKeyBytesMax { return tail.1 == words.1 && tail.2 == words.2 }
            guard key.count <= NearRecord.keyBytesMax, let other = key.baseAddress, let own = UnsafeRawPointer(bitPattern: UInt(tail.1))
            else { return false }
            return memcmp(own, other, key.count) == 0
        }
    }
}

internal import Synchronization

/// Relaxed atomic access to words of the store's memory. A reader without a lock may read any of it while a writer changes it, so every
/// word that it can meet is written through here; plain moves on x86-64 and arm64.
enum Words {
    @inline(__always)
    static func load(_ address: UnsafeRawPointer) -> UInt64 {
        address.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .relaxed)
    }

    @inline(__always)
    static func load32(_ address: UnsafeRawPointer) -> UInt32 {
        address.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.load(ordering: .relaxed)
    }

    @inline(__always)
    static func store(_ address: UnsafeMutableRawPointer, _ word: UInt64) {
        address.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(word, ordering: .relaxed)
    }

    @inline(__always)
    static func store32(_ address: UnsafeMutableRawPointer, _ word: UInt32) {
        address.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.store(word, ordering: .relaxed)
    }

    /// Copies whole words, both sides aligned to 8.
    @inline(__always)
    static func copy(to target: UnsafeMutableRawPointer, from source: UnsafeRawPointer, bytes: Int) {
        var offset = 0
        while offset < bytes {
            store(target + offset, load(source + offset))
            offset &+= 8
        }
    }
}

/// Writes bytes one after the other into memory that readers may look at: whole words, of which the last is filled up with zeros.
struct WordWriter {
    private var target: UnsafeMutableRawPointer
    private var word: UInt64
    /// Bytes in `word`, 0...7.
    private var filled: Int

    /// - Parameters:
    ///   - target: aligned to 8.
    ///   - head: begins the first word with `headBytes` bytes, fewer than 8; the others are 0.
    @inline(__always)
    init(_ target: UnsafeMutableRawPointer, head: UInt64, headBytes: Int) {
        self.target = target
        word = head
        filled = headBytes
    }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        var (from, left) = (start, bytes.count)
        let shift = UInt64(truncatingIfNeeded: filled &* 8)
        while left >= 8 {
            let next = UInt64(littleEndian: from.loadUnaligned(as: UInt64.self))
            Words.store(target, (word | next &<< shift).littleEndian)
            word = shift == 0 ? 0 : next &>> (64 &- shift)
            target += 8
            from += 8
            left &-= 8
        }
        guard left > 0 else { return }
        var rest: UInt64 = 0
        var bits: UInt64 = 0
        if left & 4 != 0 {
            rest = UInt64(UInt32(littleEndian: from.loadUnaligned(as: UInt32.self)))
            (from, bits) = (from + 4, 32)
        }
        if left & 2 != 0 {
            rest |= UInt64(UInt16(littleEndian: from.loadUnaligned(as: UInt16.self))) &<< bits
            (from, bits) = (from + 2, bits &+ 16)
        }
        if left & 1 != 0 { rest |= UInt64(from.load(as: UInt8.self)) &<< bits }
        word |= rest &<< shift
        filled &+= left
        if filled >= 8 {
            Words.store(target, word.littleEndian)
            target += 8
            word = shift == 0 ? 0 : rest &>> (64 &- shift)
            filled &-= 8
        }
    }

    @inline(__always)
    mutating func finish() { if filled > 0 { Words.store(target, word.littleEndian) } }
}

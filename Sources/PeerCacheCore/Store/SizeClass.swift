/// Sizes in which pages are cut: chunks of keys and values, entries, and blocks of the index.
///
/// Chunks: steps of 8 bytes to 128, 8 sizes per doubling to 2,048, then what divides a page by 7, 6, 5 and 4. Mean waste 7–9 %.
enum SizeClass {
    static let count = 62
    /// Longest chunk.
    static let chunkMax = 4096
    static let chunkCount: UInt8 = 51
    static let entry: UInt8 = 51
    /// Blocks of the index: lines 2, 4 … 16 and, up to 4,096 bytes, directories.
    static let indexFirst: UInt8 = 52

    /// Bytes of an item.
    @inline(__always)
    static func bytes(_ sizeClass: UInt8) -> Int {
        let number = Int(sizeClass)
        if number < 15 { return 16 &+ number &* 8 }
        if number < 47 {
            let (exponent, eighth) = ((number &- 15) &>> 3 &+ 7, (number &- 15) & 7 &+ 9)
            return eighth &<< (exponent &- 3)
        }
        return larger(number)
    }

    private static func larger(_ number: Int) -> Int {
        switch number {
        case 47: 2336
        case 48: 2728
        case 49: 3272
        case 50: 4096
        case 51: EntryRef.bytes
        case 52...59: (number - 51) * 128
        default: 2048 << (number - 60)
        }
    }

    /// The smallest class for a chunk of 1...4,096 bytes.
    @inline(__always)
    static func chunk(_ bytes: Int) -> UInt8 {
        if bytes <= 128 { return bytes <= 16 ? 0 : UInt8((bytes &- 9) &>> 3) }
        if bytes <= 2048 {
            let exponent = Int.bitWidth &- 1 &- (bytes &- 1).leadingZeroBitCount  // 7...10
            let eighth = (bytes &- 1) &>> (exponent &- 3) &- 8  // 0...7
            return UInt8(15 &+ (exponent &- 7) &* 8 &+ eighth)
        }
        return bytes <= 2336 ? 47 : bytes <= 2728 ? 48 : bytes <= 3272 ? 49 : 50
    }
}

/// How key and value lie in chunks: one if they fit in 4,096 bytes, else a chain.
///
/// One chunk: keyLength UInt16 | key | value. A chain begins keyLength UInt16 | 0 UInt16 | next UInt32 | key | part; its pieces are
/// next UInt32 | part. All are full but the last.
struct ChunkLayout {
    static let header = 2
    static let chainHeader = 8
    static let pieceHeader = 4
    static let piecePart = SizeClass.chunkMax - pieceHeader

    var keyBytes: Int
    var valueBytes: Int

    @inline(__always)
    init(keyBytes: Int, valueBytes: Int) {
        self.keyBytes = keyBytes
        self.valueBytes = valueBytes
    }

    @inline(__always)
    var isChain: Bool { Self.header + keyBytes + valueBytes > SizeClass.chunkMax }
    /// Class of the only or first chunk.
    @inline(__always)
    var firstClass: UInt8 { isChain ? SizeClass.chunk(SizeClass.chunkMax) : SizeClass.chunk(Self.header + keyBytes + valueBytes) }
    /// Bytes of the value in the first chunk.
    var firstPart: Int { isChain ? SizeClass.chunkMax - Self.chainHeader - keyBytes : valueBytes }
    /// Pieces after the first chunk.
    var pieces: Int { (valueBytes - firstPart + Self.piecePart - 1) / Self.piecePart }
    /// Class of the last piece of a chain.
    var lastClass: UInt8 { SizeClass.chunk(valueBytes - firstPart - (pieces - 1) * Self.piecePart + Self.pieceHeader) }

    /// Bytes taken.
    @inline(__always)
    var charge: Int {
        guard isChain else { return SizeClass.bytes(firstClass) }
        return pieces * SizeClass.chunkMax + SizeClass.bytes(lastClass)
    }
}

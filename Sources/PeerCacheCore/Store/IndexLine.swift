internal import Synchronization

/// Twelve places of the index in a cache line. Read without a lock, so it is words that are read and written atomically.
struct IndexLine {
    static let bytes = 64
    static let places = 12
    private static let all: UInt32 = 0xFFF
    private static let ones: UInt64 = 0x0101_0101_0101_0101

    //  0 tags: 12 bytes, the low 8 bits of each entry's hash
    // 12 occupied UInt16, overflow UInt16: entries that went on to a later line
    // 16 handles: 12 × UInt32
    let address: UnsafeMutableRawPointer

    @inline(__always)
    init(address: UnsafeMutableRawPointer) { self.address = address }

    private var tail: UInt32 {
        @inline(__always) get { Words.load32(address + 12) }
        nonmutating set { Words.store32(address + 12, newValue) }
    }
    var occupied: UInt32 {
        @inline(__always) get { tail & 0xFFFF }
        nonmutating set { tail = tail & 0xFFFF_0000 | newValue }
    }
    var overflow: UInt32 {
        @inline(__always) get { tail &>> 16 }
        nonmutating set { tail = tail & 0xFFFF | newValue &<< 16 }
    }
    var count: Int { occupied.nonzeroBitCount }

    @inline(__always)
    func handle(_ place: Int) -> UInt32 { Words.load32(address + 16 + place &* 4) }

    func setHandle(_ place: Int, _ handle: UInt32) { Words.store32(address + 16 + place &* 4, handle) }

    /// Bytes of a word that are zero, exactly, as their top bits.
    @inline(__always)
    private static func zeros(_ word: UInt64) -> UInt64 {
        let low = ~(ones &<< 7)
        return ~(((word & low) &+ low) | word | low)
    }

    /// The top bits of bytes as neighbouring bits.
    @inline(__always)
    private static func gather(_ tops: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: ((tops &>> 7) &* 0x0102_0408_1020_4080) &>> 56) }

    /// A bit for each occupied place whose tag is this one; places in `occupied` of a word read before.
    @inline(__always)
    func matches(_ tag: UInt8) -> (places: UInt32, overflow: UInt32) {
        let pattern = UInt64(tag) &* Self.ones
        let first = Words.load(address)
        let second = Words.load(address + 8)
        let low = Self.gather(Self.zeros(first ^ pattern))
        let high = Self.gather(Self.zeros(second ^ pattern)) & 0xF
        let occupied = UInt32(truncatingIfNeeded: second &>> 32) & Self.all
        return ((low | high &<< 8) & occupied, UInt32(truncatingIfNeeded: second &>> 48))
    }

    /// Fills a place; the line has one.
    @inline(__always)
    func insert(_ tag: UInt8, _ handle: UInt32) -> Bool {
        let free = ~occupied & Self.all
        guard free != 0 else { return false }
        let place = free.trailingZeroBitCount
        setHandle(place, handle)
        let word = address + place & ~3
        let shift = UInt32(place & 3) &* 8
        Words.store32(word, Words.load32(word) & ~(0xFF &<< shift) | UInt32(tag) &<< shift)
        occupied |= 1 &<< UInt32(place)
        return true
    }
}

/// A word of the index: 0, a block of lines, or a directory of such words.
///
/// Bit 31: a directory; bits 3...30: offset / 128; bits 0...2: size. Blocks have 2, 4 … 16 lines, directories 2^5 … 2^10 words.
struct IndexWord: Equatable {
    var bits: UInt32

    static let empty = IndexWord(bits: 0)
    static let linesMax = 16
    static let depthMin = 5
    static let depthMax = 10

    @inline(__always)
    init(bits: UInt32) { self.bits = bits }

    /// - Parameter item: offset / 8 in the arena.
    init(item: UInt32, lines: Int) { bits = (item >> 4) << 3 | UInt32(lines / 2 - 1) }
    init(item: UInt32, depth: Int) { bits = 1 << 31 | (item >> 4) << 3 | UInt32(depth - Self.depthMin) }

    @inline(__always)
    var isEmpty: Bool { bits == 0 }
    @inline(__always)
    var isDirectory: Bool { bits &>> 31 != 0 }
    /// Offset / 8 in the arena.
    var item: UInt32 { (bits & 0x7FFF_FFF8) &<< 1 }
    @inline(__always)
    var offset: Int { Int(bits & 0x7FFF_FFF8) &<< 4 }
    @inline(__always)
    var lines: Int { Int(bits & 7) &* 2 &+ 2 }
    @inline(__always)
    var depth: Int { Int(bits & 7) &+ Self.depthMin }

    static func linesClass(_ lines: Int) -> UInt8 { SizeClass.indexFirst + UInt8(lines / 2 - 1) }
    /// 2^5 words are 128 bytes, 2^10 are 4,096.
    static func directoryClass(_ depth: Int) -> UInt8 { SizeClass.indexFirst + [0, 1, 3, 7, 8, 9][depth - depthMin] }
}

/// The keys of a `getMany`, the value of its request: of each key its length in two bytes, lowest first, and its bytes.
package struct WireKeys: Sequence {
    private let bytes: UnsafeRawBufferPointer
    package let count: Int

    /// Nil: the lengths do not fit the bytes, a key is too long, or there are too many. O(keys).
    package init?(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        var position = 0, count = 0
        while position < bytes.count {
            guard count < WireLimits.keysMax, Self.cut(bytes, at: &position) != nil else { return nil }
            count += 1
        }
        self.count = count
    }

    /// Appends a key of at most ``WireLimits/keyBytesMax`` bytes to such a value.
    package static func append(_ key: UnsafeRawBufferPointer, to bytes: inout [UInt8]) {
        bytes.append(UInt8(truncatingIfNeeded: key.count))
        bytes.append(UInt8(truncatingIfNeeded: key.count >> 8))
        bytes.append(contentsOf: key)
    }

    package func makeIterator() -> Iterator { Iterator(bytes: bytes) }

    package struct Iterator: IteratorProtocol {
        fileprivate let bytes: UnsafeRawBufferPointer
        private var position = 0

        fileprivate init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

        package mutating func next() -> UnsafeRawBufferPointer? { WireKeys.cut(bytes, at: &position) }
    }

    private static func cut(_ bytes: UnsafeRawBufferPointer, at position: inout Int) -> UnsafeRawBufferPointer? {
        guard bytes.count - position >= 2 else { return nil }
        let count = Int(bytes[position]) | Int(bytes[position + 1]) << 8, start = position + 2
        guard count <= WireLimits.keyBytesMax, count <= bytes.count - start else { return nil }
        position = start + count
        return UnsafeRawBufferPointer(rebasing: bytes[start..<position])
    }
}

/// What the answer to a `getMany` says of one key. A key of which it says nothing is to be asked for alone.
package struct WireItem: Hashable, Sendable {
    /// What a near copy needs to know of its value.
    package struct Life: Hashable, Sendable {
        package var stamp: Stamp
        package var ttlMilliseconds: UInt64?

        package init(stamp: Stamp, ttlMilliseconds: UInt64?) { (self.stamp, self.ttlMilliseconds) = (stamp, ttlMilliseconds) }
    }

    /// Of the request's keys.
    package let index: Int
    /// Where in the answer's value; nil: the key has none.
    package let value: Range<Int>?
    package let life: Life?
    /// The owner holds nothing and has no loader; the caller may have one.
    package var isUnloaded = false
}

/// The items of a `getMany`, the value of its answer, in any order. Each begins with the key's index (2 bytes), a ``Kind`` (2) and the
/// length of the value (4). Then come time to live (8), clock (8) and origin (4), when near copies are kept, and the value. All numbers
/// have their lowest byte first.
package struct WireItems: Sequence, IteratorProtocol {
    private enum Kind: UInt16 { case absent = 0, value = 1, valueWithLife = 2, unloaded = 3 }

    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    /// - Parameter bytes: an answer's value. What cannot be read ends the sequence: the keys left over are asked for alone.
    package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    package mutating func next() -> WireItem? {
        guard let head: UInt64 = number(), let kind = Kind(rawValue: UInt16(truncatingIfNeeded: head >> 16)) else { return nil }
        let index = Int(head & 0xFFFF), count = Int(head >> 32)
        if kind == .absent || kind == .unloaded { return WireItem(index: index, value: nil, life: nil, isUnloaded: kind == .unloaded) }
        var life: WireItem.Life?
        if kind == .valueWithLife {
            guard let ttl: UInt64 = number(), let clock: UInt64 = number(), let origin: UInt32 = number() else { return nil }
            life = .init(stamp: Stamp(clock: clock, origin: origin), ttlMilliseconds: WireDecoder.ttl(ttl))
        }
        guard count <= bytes.count - position else { return nil }
        defer { position += count }
        return WireItem(index: index, value: position..<position + count, life: life)
    }

    private mutating func number<Number: FixedWidthInteger>() -> Number? {
        let size = MemoryLayout<Number>.size
        guard bytes.count - position >= size else { return nil }
        defer { position += size }
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
    }

    // MARK: Writing

    /// Appends the item of a key that has no value.
    package static func append(absent index: Int, to bytes: inout [UInt8]) { append(head(index, .absent, 0), to: &bytes) }

    /// Appends the item of a key that is not held, in a cache without a loader.
    package static func append(unloaded index: Int, to bytes: inout [UInt8]) { append(head(index, .unloaded, 0), to: &bytes) }

    package static func append(_ index: Int, _ value: UnsafeRawBufferPointer, _ life: WireItem.Life?, to bytes: inout [UInt8]) {
        append(head(index, life == nil ? .value : .valueWithLife, value.count), to: &bytes)
        if let life {
            append(WireEncoder.encoded(life.ttlMilliseconds), to: &bytes)
            append(life.stamp.clock, to: &bytes)
            append(life.stamp.origin, to: &bytes)
        }
        bytes.append(contentsOf: value)
    }

    private static func head(_ index: Int, _ kind: Kind, _ count: Int) -> UInt64 {
        UInt64(UInt16(truncatingIfNeeded: index)) | UInt64(kind.rawValue) << 16 | UInt64(UInt32(truncatingIfNeeded: count)) << 32
    }

    private static func append(_ number: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
    }
}

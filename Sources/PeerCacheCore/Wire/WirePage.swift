internal import CPeerWire
internal import CProtobufC

/// An entry of a page, with pointers that live during a call.
package struct WireEntry {
    package enum Kind: UInt32, Sendable {
        case value = 0
        case tombstone = 1
        /// Too long for the page: to be asked for by itself.
        case deferred = 2
    }
    /// Of its cache, in ``PageReader/caches``.
    package var cache: Int
    package var key: UnsafeRawBufferPointer
    package var value: UnsafeRawBufferPointer
    package var stamp: Stamp
    /// From the stamp; nil: it does not expire.
    package var ttlMilliseconds: UInt64?
    package var kind: Kind
}

/// Which buckets a peer wants to have.
package struct PullRequest: Hashable, Sendable {
    /// Most slots of one request.
    package static let slotsMax = 64

    package var slots: [Slot]
    /// Where to begin in the first slot, 0...7.
    package var bucket: Int
    /// Nothing behind that bucket.
    package var isBucketOnly: Bool

    package init(slots: [Slot], bucket: Int, isBucketOnly: Bool = false) {
        self.slots = slots
        self.bucket = bucket
        self.isBucketOnly = isBucketOnly
    }
}

/// Builds the answer to a pull: whole buckets, until the page is full.
package struct PageBuilder: ~Copyable {
    /// A page takes no further bucket when it has so many bytes or entries; within a bucket values are deferred from then on.
    package static let bytesTarget = 64 * 1024
    package static let entriesTarget = 1_000
    /// Longer values are deferred.
    package static let valueBytesMax = 16 * 1024

    private struct Piece {
        var cache: UInt32
        var keyStart: Int
        var keyBytes: Int
        var valueBytes: Int
        var stamp: Stamp
        var ttlMilliseconds: UInt64?
        var kind: WireEntry.Kind
    }

    private(set) var bytes: [UInt8] = []
    private var entryCount = 0
    private var names: [[UInt8]] = []
    private var indices: [UInt16: UInt32] = [:]
    private var pieces: [Piece] = []
    private var storage: [UInt8] = []

    package init() {}

    package var isFull: Bool { bytes.count >= Self.bytesTarget || entryCount >= Self.entriesTarget }

    /// Bytes of a value that still go into the page.
    package var valueBytesMax: Int {
        bytes.count + storage.count >= Self.bytesTarget ? 0 : Self.valueBytesMax
    }

    /// Adds an entry of the bucket at hand. `name` is called once for each cache.
    package mutating func add(
        _ cache: CacheIndex, _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer?, _ info: EntryInfo, name: () -> [UInt8]
    ) {
        let index = index(of: cache, name: name), start = storage.count
        storage.append(contentsOf: key)
        if let value {
            storage.append(contentsOf: value)
        } else if info.sourceVersion > 0 {
            withUnsafeBytes(of: info.sourceVersion.bigEndian) { storage.append(contentsOf: $0) }
        }
        pieces.append(
            Piece(
                cache: index, keyStart: start, keyBytes: key.count, valueBytes: storage.count - start - key.count, stamp: info.stamp,
                ttlMilliseconds: info.ttlMilliseconds, kind: info.isTombstone ? .tombstone : value == nil ? .deferred : .value))
    }

    private mutating func index(of cache: CacheIndex, name: () -> [UInt8]) -> UInt32 {
        if let known = indices[cache.value] { return known }
        let index = UInt32(names.count)
        indices[cache.value] = index
        names.append(name())
        return index
    }

    /// Ends the bucket at hand. One that holds nothing and never dropped anything is left out.
    /// - Parameter gathered: the floors of caches that are being gathered.
    package mutating func end(
        _ bucket: BucketIndex, floor: Stamp, gathered: [(cache: CacheIndex, floor: Stamp)] = [], name: (CacheIndex) -> [UInt8] = { _ in [] }
    ) {
        guard !pieces.isEmpty || floor > .zero else { return }
        let floors = gathered.map { cache, floor in
            var message = Peercache__Entry()
            peercache__entry__init(&message)
            message.cache = index(of: cache) { name(cache) }
            (message.stamp_clock, message.stamp_origin) = (floor.clock, floor.origin)
            return message
        }
        var message = Peercache__Bucket()
        peercache__bucket__init(&message)
        message.index = UInt32(bucket.index)
        (message.floor_clock, message.floor_origin) = (floor.clock, floor.origin)
        let pieces = pieces
        let packed = storage.withUnsafeBytes { storage in
            let entries = pieces.map { piece in
                var entry = Peercache__Entry()
                peercache__entry__init(&entry)
                entry.cache = piece.cache
                let start = piece.keyStart + piece.keyBytes
                entry.key = .init(UnsafeRawBufferPointer(rebasing: storage[piece.keyStart..<start]))
                entry.value = .init(UnsafeRawBufferPointer(rebasing: storage[start..<start + piece.valueBytes]))
                (entry.stamp_clock, entry.stamp_origin) = (piece.stamp.clock, piece.stamp.origin)
                entry.ttl_ms = WireEncoder.encoded(piece.ttlMilliseconds)
                entry.kind = piece.kind.rawValue
                return entry
            }
            var packed: [UInt8] = []
            WireEncoder.withPointers(to: entries) { pointers in
                message.n_entries = pointers.count
                message.entries = pointers.baseAddress
                WireEncoder.withPointers(to: floors) { pointers in
                    message.n_gathered = pointers.count
                    message.gathered = pointers.baseAddress
                    WireEncoder.pack(&message.base, field: 2) { packed.append($0, $1) }
                }
            }
            return packed
        }
        bytes += packed
        entryCount += pieces.count + floors.count
        self.pieces.removeAll(keepingCapacity: true)
        storage.removeAll(keepingCapacity: true)
    }

    /// The page as the value of an answer.
    /// - Parameters:
    ///   - slots: finished ones.
    ///   - next: bucket of the first unfinished one.
    package consuming func finish(slots: Int, next: Int) -> [UInt8] {
        var page = Peercache__Page()
        peercache__page__init(&page)
        (page.slots, page.next) = (UInt32(slots), UInt32(next))
        // The names and numbers are a message of their own: concatenated with the buckets they are the page.
        var head: [UInt8] = []
        let flat = names.flatMap { $0 }
        flat.withUnsafeBytes { flat in
            var start = 0
            var data = names.map { name in
                defer { start += name.count }
                return ProtobufCBinaryData(UnsafeRawBufferPointer(rebasing: flat[start..<start + name.count]))
            }
            data.withUnsafeMutableBufferPointer { data in
                page.n_caches = data.count
                page.caches = data.baseAddress
                head.append(protobuf_c_message_get_packed_size(&page.base)) {
                    _ = protobuf_c_message_pack(&page.base, $0.assumingMemoryBound(to: UInt8.self))
                }
            }
        }
        return head + bytes
    }
}

extension [UInt8] {
    mutating func append(_ count: Int, _ write: (UnsafeMutableRawPointer) -> Void) {
        if count == 0 { return }
        self += [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            if let base = buffer.baseAddress { write(UnsafeMutableRawPointer(base)) }
            initialized = count
        }
    }
}

extension EntryInfo {
    /// Time to live from the stamp on, in milliseconds: ``ByteStore/apply(_:_:value:stamp:ttl:kind:now:)`` with it gives the same expiry.
    package var ttlMilliseconds: UInt64? {
        guard let expiry else { return nil }
        let ticks = UInt64(Swift.max(0, Tick(milliseconds: stamp.milliseconds).distance(to: expiry)))
        let milliseconds = ticks * Tick.milliseconds
        return milliseconds - Swift.min(milliseconds, stamp.milliseconds % Tick.milliseconds)
    }
}

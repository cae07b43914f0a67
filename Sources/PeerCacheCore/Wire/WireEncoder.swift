internal import CPeerWire
internal import CProtobufC

/// Encodes single items of a `PeerFrame`.
///
/// A protobuf message is the concatenation of its fields, so a frame is built by appending items one after another, each encoded once and
/// in place; no list of structs is kept. Every function calls `append(count, write)` exactly once: the caller makes room for `count` bytes
/// at the end of the frame and calls `write` with their address.
package enum WireEncoder {
    package typealias Append = (_ count: Int, _ write: (UnsafeMutableRawPointer) -> Void) -> Void

    /// Bytes before the first item: length (4, big endian), tag and value of the clock (9).
    package static let headerBytes = 13

    /// Writes the header of a finished frame.
    /// - Parameters:
    ///   - header: room for ``headerBytes`` bytes at the frame's start.
    ///   - frameBytes: size of the whole frame, header included.
    package static func writeHeader(into header: UnsafeMutableRawPointer, frameBytes: Int, hlc: UInt64) {
        header.storeBytes(of: UInt32(truncatingIfNeeded: frameBytes - 4).bigEndian, as: UInt32.self)
        header.storeBytes(of: 0x09, toByteOffset: 4, as: UInt8.self)  // field 1, fixed64
        header.storeBytes(of: hlc.littleEndian, toByteOffset: 5, as: UInt64.self)
    }

    package static func request(_ request: WireRequest, append: Append) {
        var message = Peercache__Request()
        peercache__request__init(&message)
        message.id = request.id
        message.kind = request.kind.rawValue
        message.deadline_ms = request.deadlineMilliseconds
        message.cache = .init(request.cache)
        message.type = request.type
        message.key = .init(request.key)
        message.value = .init(request.value)
        message.ttl_ms = encoded(request.ttlMilliseconds)
        message.stamp_clock = request.stamp.clock
        message.stamp_origin = request.stamp.origin
        message.flags = request.flags.rawValue
        message.chunked = request.chunkedBytes
        message.placement = request.placement
        message.scheme = request.scheme
        pack(&message.base, field: 2, append)
    }

    package static func response(_ response: WireResponse, append: Append) {
        var message = Peercache__Response()
        peercache__response__init(&message)
        message.id = response.id
        message.status = response.status.rawValue
        message.value = .init(response.value)
        message.ttl_ms = encoded(response.ttlMilliseconds)
        message.stamp_clock = response.stamp.clock
        message.stamp_origin = response.stamp.origin
        message.chunked = response.chunkedBytes
        message.message = .init(response.message)
        message.placement = response.placement
        message.near = response.near
        message.source_version = response.sourceVersion
        message.copied_through = response.copiedThrough
        pack(&message.base, field: 3, append)
    }

    package static func chunk(id: UInt64, isResponse: Bool, bytes: UnsafeRawBufferPointer, append: Append) {
        var message = Peercache__Chunk()
        peercache__chunk__init(&message)
        message.id = id
        message.response = isResponse ? 1 : 0
        message.bytes = .init(bytes)
        pack(&message.base, field: 4, append)
    }

    package static func hello(_ hello: WireHello, append: Append) {
        var message = Peercache__Hello()
        peercache__hello__init(&message)
        message.hash_fingerprint = hello.settings.hashKey
        message.placement_rule = hello.settings.placementRule
        message.slots = hello.settings.slots
        message.buckets_per_slot = hello.settings.bucketsPerSlot
        let storage = MemberBytes(Member(hello.record, status: .alive))
        withPointers(to: [storage.message]) { pointers in
            message.member = pointers[0]
            pack(&message.base, field: 6, append)
        }
        withExtendedLifetime(storage) {}
    }

    package static func goodbye(_ goodbye: Goodbye, append: Append) { varint(field: 7, UInt64(goodbye.rawValue) + 1, append) }

    package static func cancel(id: UInt64, append: Append) { varint(field: 8, id, append) }

    /// Several in one frame add up.
    package static func taken(chunks: Int, append: Append) { varint(field: 10, UInt64(UInt32(clamping: chunks)), append) }

    package static func invalidation(_ invalidation: WireInvalidation, append: Append) {
        var message = Peercache__Invalidation()
        peercache__invalidation__init(&message)
        message.number = invalidation.number
        switch invalidation.subject {
        case .everything: message.everything = 1
        case .key(let hash, let stamp):
            message.hash = hash
            message.stamp_clock = stamp.clock
            message.stamp_origin = stamp.origin
        }
        pack(&message.base, field: 9, append)
    }

    /// 0 means "none" on the wire, so that the usual entry without TTL costs no byte.
    static func encoded(_ ttlMilliseconds: UInt64?) -> UInt64 {
        guard let ttlMilliseconds else { return 0 }
        return ttlMilliseconds == .max ? .max : ttlMilliseconds + 1
    }

    /// Appends a submessage as field `field` of the frame: tag, length, content.
    static func pack(_ message: UnsafePointer<ProtobufCMessage>, field: UInt8, _ append: Append) {
        let count = protobuf_c_message_get_packed_size(message)
        let lengthBytes = varintBytes(UInt64(count))
        append(1 + lengthBytes + count) { destination in
            destination.storeBytes(of: field << 3 | 2, as: UInt8.self)
            writeVarint(UInt64(count), into: destination + 1)
            protobuf_c_message_pack(message, (destination + 1 + lengthBytes).assumingMemoryBound(to: UInt8.self))
        }
    }

    private static func varint(field: UInt8, _ value: UInt64, _ append: Append) {
        append(1 + varintBytes(value)) { destination in
            destination.storeBytes(of: field << 3, as: UInt8.self)
            writeVarint(value, into: destination + 1)
        }
    }

    private static func varintBytes(_ value: UInt64) -> Int { value == 0 ? 1 : (70 - value.leadingZeroBitCount) / 7 }

    private static func writeVarint(_ value: UInt64, into destination: UnsafeMutableRawPointer) {
        var value = value, offset = 0
        while value >= 0x80 {
            destination.storeBytes(of: UInt8(truncatingIfNeeded: value) | 0x80, toByteOffset: offset, as: UInt8.self)
            value >>= 7
            offset += 1
        }
        destination.storeBytes(of: UInt8(truncatingIfNeeded: value), toByteOffset: offset, as: UInt8.self)
    }

    /// protobuf-c wants an array of pointers to structs; they are valid during the call.
    static func withPointers<Struct>(
        to structs: [Struct], _ body: (UnsafeMutableBufferPointer<UnsafeMutablePointer<Struct>?>) -> Void
    ) {
        var structs = structs
        structs.withUnsafeMutableBufferPointer { buffer in
            var pointers: [UnsafeMutablePointer<Struct>?] = buffer.indices.map { index in buffer.baseAddress.map { $0 + index } }
            pointers.withUnsafeMutableBufferPointer { body($0) }
        }
    }
}

extension ProtobufCBinaryData {
    /// Points at the bytes without copying; protobuf-c does not write through the pointer while packing.
    init(_ bytes: UnsafeRawBufferPointer) {
        self.init(len: bytes.count, data: UnsafeMutablePointer(mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)))
    }
}

internal import CPeerWire
internal import CProtobufC

/// Decodes frames that a peer sent: protobuf-c into a capped arena, then one check per message that turns it into a Swift value
/// (`SECURITY.md` SEC21, SEC23). One per connection; not shared between threads.
package final class WireDecoder {
    private let arena = BumpArena()

    package init() {}

    /// Bytes of memory that the structs of a frame of `count` bytes may take. The fixed part is for many small items: an answer without a
    /// value takes 6 bytes on the wire and some 200 in memory.
    package static func arenaCap(frameBytes count: Int) -> Int { min(256 * 1024 + 16 * count, 4 * 1024 * 1024) }

    /// Memory the last frame took.
    package var arenaBytesTaken: Int { arena.taken }

    /// The clock of a frame without decoding the rest, or nil when the frame does not begin with it.
    package static func clock(of frame: UnsafeRawBufferPointer) -> UInt64? {
        guard frame.count >= 9, frame[0] == 0x09 else { return nil }
        return UInt64(littleEndian: frame.loadUnaligned(fromByteOffset: 1, as: UInt64.self))
    }

    /// Decodes one frame and calls `body` for each message in it, after the whole frame has been checked for shape. Pointers in the messages
    /// are valid during the call of `body` only.
    ///
    /// Throws when the frame is not acceptable; messages before the bad one may have been delivered. Close the connection then.
    /// - Complexity: O(bytes); memory as ``arenaCap(frameBytes:)``.
    package func decode(_ frame: UnsafeRawBufferPointer, _ body: (WireMessage) -> Void) throws(WireError) {
        guard frame.count <= WireLimits.frameBytesMax else { throw .frameTooLong }
        arena.reset(cap: Self.arenaCap(frameBytes: frame.count))
        defer { arena.releaseExtraBlocks() }
        guard
            let unpacked = peercache__peer_frame__unpack(
                arena.allocator, frame.count, frame.baseAddress?.assumingMemoryBound(to: UInt8.self))
        else { throw .undecodable }
        let message = unpacked.pointee
        for count in [
            message.n_requests, message.n_responses, message.n_chunks, message.n_gossip, message.n_cancels, message.n_invalidations,
            message.n_chunks_taken,
        ]
        where count > WireLimits.itemsMax { throw .tooManyItems }

        if let hello = message.hello { body(.hello(try Self.hello(hello.pointee))) }
        for gossip in Self.elements(message.gossip, message.n_gossip) {
            if let gossip = try Self.gossip(gossip.pointee) { body(.gossip(gossip)) }
        }
        for invalidation in Self.elements(message.invalidations, message.n_invalidations) {
            body(.invalidation(Self.invalidation(invalidation.pointee)))
        }
        for request in Self.elements(message.requests, message.n_requests) { body(try Self.request(request.pointee)) }
        for response in Self.elements(message.responses, message.n_responses) { body(.response(try Self.response(response.pointee))) }
        for chunk in Self.elements(message.chunks, message.n_chunks) {
            body(
                .chunk(
                    id: chunk.pointee.id, isResponse: chunk.pointee.response != 0, bytes: UnsafeRawBufferPointer(chunk.pointee.bytes)))
        }
        for count in UnsafeBufferPointer(start: message.chunks_taken, count: message.n_chunks_taken) {
            body(.taken(chunks: Int(count)))
        }
        for id in UnsafeBufferPointer(start: message.cancels, count: message.n_cancels) { body(.cancel(id: id)) }
        if message.goodbye != 0 {
            // A reason of a later version is still a goodbye.
            body(.goodbye(UInt8(exactly: message.goodbye - 1).flatMap(Goodbye.init(rawValue:)) ?? .idle))
        }
    }

    private static func hello(_ message: Peercache__Hello) throws(WireError) -> WireHello {
        guard let member = message.member else { throw .badMember }
        var settings = SettingsFingerprint(hashKey: message.hash_fingerprint)
        settings.placementRule = message.placement_rule
        settings.slots = message.slots
        settings.bucketsPerSlot = message.buckets_per_slot
        return WireHello(record: try Member(member.pointee).record, settings: settings)
    }

    private static func request(_ message: Peercache__Request) throws(WireError) -> WireMessage {
        guard let kind = RequestKind(rawValue: message.kind) else { return .unknownRequest(id: message.id) }
        var request = WireRequest(kind: kind, cache: try cacheName(message.cache))
        request.id = message.id
        request.deadlineMilliseconds = message.deadline_ms
        request.type = message.type
        request.key = try key(message.key)
        request.value = UnsafeRawBufferPointer(message.value)
        request.ttlMilliseconds = ttl(message.ttl_ms)
        request.stamp = Stamp(clock: message.stamp_clock, origin: message.stamp_origin)
        request.flags = RequestFlags(rawValue: message.flags).intersection(.all)
        guard message.chunked <= UInt64(WireLimits.valueBytesCeiling) else { throw .frameTooLong }
        request.chunkedBytes = message.chunked
        request.placement = message.placement
        request.scheme = message.scheme
        return .request(request)
    }

    private static func response(_ message: Peercache__Response) throws(WireError) -> WireResponse {
        var response = WireResponse(id: message.id, status: status(message.status))
        response.value = UnsafeRawBufferPointer(message.value)
        response.ttlMilliseconds = ttl(message.ttl_ms)
        response.stamp = Stamp(clock: message.stamp_clock, origin: message.stamp_origin)
        guard message.chunked <= UInt64(WireLimits.valueBytesCeiling) else { throw .frameTooLong }
        response.chunkedBytes = message.chunked
        response.message = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(message.message).prefix(WireLimits.messageBytesMax))
        response.placement = message.placement
        response.near = message.near
        response.sourceVersion = message.source_version
        response.copiedThrough = message.copied_through
        return response
    }

    private static func invalidation(_ message: Peercache__Invalidation) -> WireInvalidation {
        let stamp = Stamp(clock: message.stamp_clock, origin: message.stamp_origin)
        return WireInvalidation(
            message.everything != 0 ? .everything : .key(hash: message.hash, below: stamp), number: message.number)
    }

    private static func key(_ data: ProtobufCBinaryData) throws(WireError) -> UnsafeRawBufferPointer {
        guard data.len <= WireLimits.keyBytesMax else { throw .keyTooLong }
        return UnsafeRawBufferPointer(data)
    }

    private static func cacheName(_ data: ProtobufCBinaryData) throws(WireError) -> UnsafeRawBufferPointer {
        guard data.len <= WireLimits.cacheNameBytesMax else { throw .nameTooLong }
        return UnsafeRawBufferPointer(data)
    }

    /// A status of a later version is one that this version cannot act on.
    private static func status(_ raw: UInt32) -> ResponseStatus { ResponseStatus(rawValue: raw) ?? .unsupported }

    static func ttl(_ encoded: UInt64) -> UInt64? { encoded == 0 ? nil : encoded - 1 }

    /// The structs a repeated field points at. protobuf-c leaves no nil among them.
    static func elements<Struct>(
        _ pointers: UnsafeMutablePointer<UnsafeMutablePointer<Struct>?>?, _ count: Int
    ) -> some Sequence<UnsafeMutablePointer<Struct>> {
        UnsafeBufferPointer(start: pointers, count: count).lazy.compactMap { $0 }
    }
}

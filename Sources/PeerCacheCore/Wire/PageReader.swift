internal import CPeerWire
internal import CProtobufC

/// Reads the values of requests and answers about slots.
package enum PageReader {
    /// What a page says of one bucket.
    package struct Bucket {
        package var index: BucketIndex
        package var floor: Stamp
        package var entries: [WireEntry]
        /// The floors of caches that the other is still gathering; their index as in an entry.
        package var gathered: [(cache: Int, floor: Stamp)] = []
    }

    static func unpack<Message, Result>(
        _ bytes: UnsafeRawBufferPointer,
        _ unpack: (UnsafeMutablePointer<ProtobufCAllocator>, Int, UnsafePointer<UInt8>?) -> UnsafeMutablePointer<Message>?,
        _ body: (Message) throws(WireError) -> Result
    ) throws(WireError) -> Result {
        let arena = BumpArena()
        // An entry that only says a zero floor takes four bytes.
        arena.reset(cap: WireDecoder.arenaCap(frameBytes: 2 * bytes.count))
        guard let message = unpack(arena.allocator, bytes.count, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)) else {
            throw .undecodable
        }
        return try body(message.pointee)
    }

    /// Calls `body` for each bucket of a page, with the names of the caches that its entries refer to.
    /// - Returns: how many slots of the request are finished, and where the next one goes on.
    package static func page(
        _ bytes: UnsafeRawBufferPointer, _ body: (Bucket, [UnsafeRawBufferPointer]) -> Void
    ) throws(WireError) -> (slots: Int, next: Int) {
        try unpack(bytes, peercache__page__unpack) { message throws(WireError) in
            guard message.n_caches <= WireLimits.itemsMax, message.n_buckets <= WireLimits.itemsMax else { throw .tooManyItems }
            var names: [UnsafeRawBufferPointer] = []
            for data in UnsafeBufferPointer(start: message.caches, count: message.n_caches) {
                guard data.len <= WireLimits.cacheNameBytesMax else { throw .nameTooLong }
                names.append(UnsafeRawBufferPointer(data))
            }
            for pointer in WireDecoder.elements(message.buckets, message.n_buckets) {
                let raw = pointer.pointee
                guard let index = BucketIndex(index: Int(raw.index)) else { throw .undecodable }
                var bucket = Bucket(index: index, floor: Stamp(clock: raw.floor_clock, origin: raw.floor_origin), entries: [])
                bucket.entries.reserveCapacity(raw.n_entries)
                for entry in WireDecoder.elements(raw.entries, raw.n_entries) {
                    bucket.entries.append(try Self.entry(entry.pointee, caches: names.count))
                }
                for floor in WireDecoder.elements(raw.gathered, raw.n_gathered) {
                    let entry = try Self.entry(floor.pointee, caches: names.count)
                    bucket.gathered.append((entry.cache, entry.stamp))
                }
                body(bucket, names)
            }
            guard message.next < UInt32(BucketIndex.perSlot) else { throw .undecodable }
            return (Int(message.slots), Int(message.next))
        }
    }

    private static func entry(_ message: Peercache__Entry, caches: Int) throws(WireError) -> WireEntry {
        guard message.key.len <= WireLimits.keyBytesMax else { throw .keyTooLong }
        guard message.cache < UInt32(clamping: caches), let kind = WireEntry.Kind(rawValue: message.kind) else { throw .undecodable }
        return WireEntry(
            cache: Int(message.cache), key: UnsafeRawBufferPointer(message.key), value: UnsafeRawBufferPointer(message.value),
            stamp: Stamp(clock: message.stamp_clock, origin: message.stamp_origin),
            ttlMilliseconds: message.ttl_ms == 0 ? nil : message.ttl_ms - 1, kind: kind)
    }

    package static func pull(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> PullRequest {
        try unpack(bytes, peercache__pull__unpack) { message throws(WireError) in
            guard message.n_slots <= PullRequest.slotsMax, message.bucket < UInt32(BucketIndex.perSlot) else { throw .tooManyItems }
            var slots: [Slot] = []
            for raw in UnsafeBufferPointer(start: message.slots, count: message.n_slots) {
                guard let slot = Slot(index: Int(raw)) else { throw .undecodable }
                slots.append(slot)
            }
            return PullRequest(slots: slots, bucket: Int(message.bucket), isBucketOnly: message.bucket_only != 0)
        }
    }

    package static func claim(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> (slots: SlotSet, isMissed: Bool) {
        try unpack(bytes, peercache__claim__unpack) { message throws(WireError) in (try slots(message.slots), message.missed != 0) }
    }

    /// Calls `floor` for each cache that was cleared.
    package static func claimAnswer(
        _ bytes: UnsafeRawBufferPointer, floor: (UnsafeRawBufferPointer, Stamp) -> Void
    ) throws(WireError) -> ClaimAnswer {
        try unpack(bytes, peercache__claim_answer__unpack) { message throws(WireError) in
            try floors(message.floors, message.n_floors, floor)
            guard message.n_owned <= Ownership.countMax else { throw .tooManyItems }
            var answer = ClaimAnswer(complete: try slots(message.complete), partial: try slots(message.partial))
            for pointer in WireDecoder.elements(message.owned, message.n_owned) {
                answer.owned.append(Ownership(since: pointer.pointee.since, slots: try slots(pointer.pointee.slots)))
            }
            guard message.n_missed <= MissedWrites.countMax else { throw .tooManyItems }
            for pointer in WireDecoder.elements(message.missed, message.n_missed) {
                let peer = PeerID(high: pointer.pointee.id_high, low: pointer.pointee.id_low)
                answer.missed.append(MissedWrites(peer: peer, slots: try slots(pointer.pointee.slots)))
            }
            return answer
        }
    }

    static func floors(
        _ pointers: UnsafeMutablePointer<UnsafeMutablePointer<Peercache__CacheFloor>?>?, _ count: Int,
        _ body: (UnsafeRawBufferPointer, Stamp) -> Void
    ) throws(WireError) {
        guard count <= WireLimits.itemsMax else { throw .tooManyItems }
        for pointer in WireDecoder.elements(pointers, count) {
            guard pointer.pointee.cache.len <= WireLimits.cacheNameBytesMax else { throw .nameTooLong }
            body(
                UnsafeRawBufferPointer(pointer.pointee.cache), Stamp(clock: pointer.pointee.clock, origin: pointer.pointee.origin))
        }
    }

    static func slots(_ data: ProtobufCBinaryData) throws(WireError) -> SlotSet {
        guard let slots = SlotSet(UnsafeRawBufferPointer(data)) else { throw .undecodable }
        return slots
    }

    package static func compare(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> [BucketSummary] {
        try unpack(bytes, peercache__compare__unpack) { message throws(WireError) in
            let count = message.n_buckets
            guard count <= BucketSummary.countMax, message.n_words == count * BucketSummary.words, message.n_floor_clocks == count,
                message.n_floor_origins == count
            else { throw .tooManyItems }
            var summaries: [BucketSummary] = []
            for position in 0..<count {
                guard let index = BucketIndex(index: Int(message.buckets[position])) else { throw .undecodable }
                let words = UnsafeBufferPointer(start: message.words + position * BucketSummary.words, count: BucketSummary.words)
                summaries.append(
                    BucketSummary(
                        index: index, floor: Stamp(clock: message.floor_clocks[position], origin: message.floor_origins[position]),
                        digest: BucketDigest(
                            newestUnit: words[BucketDigest.units + 1], cells: Array(words.prefix(BucketDigest.units)),
                            older: words[BucketDigest.units])))
            }
            return summaries
        }
    }

    package static func differences(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> [BucketIndex] {
        try unpack(bytes, peercache__differences__unpack) { message throws(WireError) in
            guard message.n_buckets <= BucketSummary.countMax else { throw .tooManyItems }
            var buckets: [BucketIndex] = []
            for raw in UnsafeBufferPointer(start: message.buckets, count: message.n_buckets) {
                guard let bucket = BucketIndex(index: Int(raw)) else { throw .undecodable }
                buckets.append(bucket)
            }
            return buckets
        }
    }
}

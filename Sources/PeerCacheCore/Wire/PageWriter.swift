internal import CPeerWire
internal import CProtobufC

/// Writes the values of requests and answers about slots.
package enum PageWriter {
    package static func pull(_ request: PullRequest) -> [UInt8] {
        var message = Peercache__Pull()
        peercache__pull__init(&message)
        message.bucket = UInt32(request.bucket)
        message.bucket_only = request.isBucketOnly ? 1 : 0
        var slots = request.slots.map { UInt32($0.index) }
        return slots.withUnsafeMutableBufferPointer { slots in
            (message.n_slots, message.slots) = (slots.count, slots.baseAddress)
            return packed(&message.base)
        }
    }

    package static func claim(_ slots: SlotSet, isMissed: Bool = false) -> [UInt8] {
        var message = Peercache__Claim()
        peercache__claim__init(&message)
        message.missed = isMissed ? 1 : 0
        return slots.bytes.withUnsafeBytes { bytes in
            message.slots = .init(bytes)
            return packed(&message.base)
        }
    }

    package static func claimAnswer(_ answer: ClaimAnswer, floors: [(cache: [UInt8], floor: Stamp)]) -> [UInt8] {
        // Concatenated messages are one message: no pointer has to outlive its turn.
        var bytes: [UInt8] = []
        for (field, slots) in [(UInt8(1), answer.complete), (2, answer.partial)] where !slots.isEmpty {
            slots.bytes.withUnsafeBytes { slots in
                var message = Peercache__ClaimAnswer()
                peercache__claim_answer__init(&message)
                if field == 1 { message.complete = .init(slots) } else { message.partial = .init(slots) }
                bytes += packed(&message.base)
            }
        }
        for ownership in answer.owned {
            ownership.slots.bytes.withUnsafeBytes { slots in
                var message = Peercache__Ownership()
                peercache__ownership__init(&message)
                (message.since, message.slots) = (ownership.since, .init(slots))
                WireEncoder.pack(&message.base, field: 3) { bytes.append($0, $1) }
            }
        }
        append(floors, field: 4, to: &bytes)
        for missed in answer.missed {
            missed.slots.bytes.withUnsafeBytes { slots in
                var message = Peercache__Missed()
                peercache__missed__init(&message)
                (message.id_high, message.id_low, message.slots) = (missed.peer.high, missed.peer.low, .init(slots))
                WireEncoder.pack(&message.base, field: 5) { bytes.append($0, $1) }
            }
        }
        return bytes
    }

    static func append(_ floors: [(cache: [UInt8], floor: Stamp)], field: UInt8, to bytes: inout [UInt8]) {
        for (cache, floor) in floors {
            cache.withUnsafeBytes { cache in
                var message = Peercache__CacheFloor()
                peercache__cache_floor__init(&message)
                (message.cache, message.clock, message.origin) = (.init(cache), floor.clock, floor.origin)
                WireEncoder.pack(&message.base, field: field) { bytes.append($0, $1) }
            }
        }
    }

    package static func compare(_ summaries: [BucketSummary]) -> [UInt8] {
        var message = Peercache__Compare()
        peercache__compare__init(&message)
        var buckets = summaries.map { UInt32($0.index.index) }
        var words = summaries.flatMap { $0.digest.cells + [$0.digest.older, $0.digest.newestUnit] }
        var clocks = summaries.map(\.floor.clock), origins = summaries.map(\.floor.origin)
        return buckets.withUnsafeMutableBufferPointer { buckets in
            words.withUnsafeMutableBufferPointer { words in
                clocks.withUnsafeMutableBufferPointer { clocks in
                    origins.withUnsafeMutableBufferPointer { origins in
                        (message.n_buckets, message.buckets) = (buckets.count, buckets.baseAddress)
                        (message.n_words, message.words) = (words.count, words.baseAddress)
                        (message.n_floor_clocks, message.floor_clocks) = (clocks.count, clocks.baseAddress)
                        (message.n_floor_origins, message.floor_origins) = (origins.count, origins.baseAddress)
                        return packed(&message.base)
                    }
                }
            }
        }
    }

    package static func differences(_ buckets: [BucketIndex]) -> [UInt8] {
        var message = Peercache__Differences()
        peercache__differences__init(&message)
        var indices = buckets.map { UInt32($0.index) }
        return indices.withUnsafeMutableBufferPointer { indices in
            (message.n_buckets, message.buckets) = (indices.count, indices.baseAddress)
            return packed(&message.base)
        }
    }

    static func packed(_ message: UnsafePointer<ProtobufCMessage>) -> [UInt8] {
        let count = protobuf_c_message_get_packed_size(message)
        if count == 0 { return [] }  // writing the length of all empty arrays' shared storage counts as a race
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            if let base = buffer.baseAddress { protobuf_c_message_pack(message, base) }
            initialized = count
        }
    }
}

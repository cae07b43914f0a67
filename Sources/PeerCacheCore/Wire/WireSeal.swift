internal import CPeerWire
internal import CProtobufC

extension PageWriter {
    package static func seal(_ seal: Seal, _ scheme: QuorumScheme) -> [UInt8] {
        var message = Peercache__Seal()
        peercache__seal__init(&message)
        (message.copies, message.read_from, message.acked_by) = (UInt32(scheme.copies), UInt32(scheme.readFrom), UInt32(scheme.ackedBy))
        message.query = seal.isQuery ? 1 : 0
        message.since = seal.since
        var bytes = seal.slots.bytes.withUnsafeBytes { slots in
            message.slots = .init(slots)
            return packed(&message.base)
        }
        for list in seal.lists { append(list, field: 6, to: &bytes) }
        return bytes
    }

    package static func sealAnswer(_ answer: SealAnswer, floors: [(cache: [UInt8], floor: Stamp)]) -> [UInt8] {
        var message = Peercache__SealAnswer()
        // Concatenated messages are one message: no pointer has to outlive its turn.
        var bytes: [UInt8] = []
        let sets: [(SlotSet, WritableKeyPath<Peercache__SealAnswer, ProtobufCBinaryData>)] = [
            (answer.voting, \.voting), (answer.founded, \.founded), (answer.founding, \.founding), (answer.empty, \.empty),
        ]
        for (slots, field) in sets where !slots.isEmpty {
            bytes += slots.bytes.withUnsafeBytes { slots in
                peercache__seal_answer__init(&message)
                message[keyPath: field] = .init(slots)
                return packed(&message.base)
            }
        }
        peercache__seal_answer__init(&message)
        message.since = answer.since
        bytes += packed(&message.base)
        for list in answer.lists { append(list, field: 2, to: &bytes) }
        for time in answer.forgotten.groups {
            time.slots.bytes.withUnsafeBytes { slots in
                var message = Peercache__Ownership()
                peercache__ownership__init(&message)
                (message.since, message.slots) = (time.at, .init(slots))
                WireEncoder.pack(&message.base, field: 3) { bytes.append($0, $1) }
            }
        }
        append(floors, field: 5, to: &bytes)
        return bytes
    }

    private static func append(_ open: OpenList, field: UInt8, to bytes: inout [UInt8]) {
        var message = Peercache__OpenList()
        peercache__open_list__init(&message)
        let list = open.list
        (message.entered, message.since) = (list.entered, list.since)
        var numbers = list.voters.flatMap { [$0.high, $0.low] } + list.voted + list.closers + list.votedAt
        var slots = open.slots.map { UInt32($0.index) }
        numbers.withUnsafeMutableBufferPointer { numbers in
            slots.withUnsafeMutableBufferPointer { slots in
                (message.n_voters, message.voters) = (2 * list.voters.count, numbers.baseAddress)
                (message.n_voted, message.voted) = (list.voted.count, numbers.baseAddress.map { $0 + 2 * list.voters.count })
                (message.n_closers, message.closers) = (
                    list.closers.count, numbers.baseAddress.map { $0 + 2 * list.voters.count + list.voted.count }
                )
                (message.n_voted_at, message.voted_at) = (
                    list.votedAt.count, numbers.baseAddress.map { $0 + numbers.count - list.votedAt.count }
                )
                (message.n_slots, message.slots) = (slots.count, slots.baseAddress)
                WireEncoder.pack(&message.base, field: field) { bytes.append($0, $1) }
            }
        }
    }
}

extension PageReader {
    /// Lists of one message.
    private static let listsMax = 4_096

    package static func seal(_ bytes: UnsafeRawBufferPointer, placement: UInt64) throws(WireError) -> (Seal, QuorumScheme) {
        try unpack(bytes, peercache__seal__unpack) { message throws(WireError) in
            let (copies, readFrom, ackedBy) = (Int(message.copies), Int(message.read_from), Int(message.acked_by))
            guard let scheme = QuorumScheme(copies: copies, readFrom: readFrom, ackedBy: ackedBy) else { throw .undecodable }
            let lists = try lists(message.lists, message.n_lists)
            let slots = try slots(message.slots)
            guard slots.count <= Seal.slotsMax else { throw .tooManyItems }
            return (Seal(placement: placement, slots: slots, lists: lists, since: message.since, isQuery: message.query != 0), scheme)
        }
    }

    /// Calls `floor` for each cache that was cleared.
    package static func sealAnswer(
        _ bytes: UnsafeRawBufferPointer, floor: (UnsafeRawBufferPointer, Stamp) -> Void
    ) throws(WireError) -> SealAnswer {
        try unpack(bytes, peercache__seal_answer__unpack) { message throws(WireError) in
            try floors(message.floors, message.n_floors, floor)
            var answer = SealAnswer(voting: try slots(message.voting), lists: try lists(message.lists, message.n_lists))
            answer.founded = try slots(message.founded)
            answer.founding = try slots(message.founding)
            answer.empty = try slots(message.empty)
            answer.since = message.since
            answer.forgotten = try times(message.forgotten, message.n_forgotten)
            return answer
        }
    }

    private static func times(
        _ pointers: UnsafeMutablePointer<UnsafeMutablePointer<Peercache__Ownership>?>?, _ count: Int
    ) throws(WireError) -> SlotTimes {
        guard count <= SlotTimes.countMax else { throw .tooManyItems }
        var times = SlotTimes()
        for pointer in WireDecoder.elements(pointers, count) {
            times.groups.append(SlotTimes.Group(at: pointer.pointee.since, slots: try slots(pointer.pointee.slots)))
        }
        return times
    }

    private static func lists(
        _ pointers: UnsafeMutablePointer<UnsafeMutablePointer<Peercache__OpenList>?>?, _ count: Int
    ) throws(WireError) -> [OpenList] {
        guard count <= listsMax else { throw .tooManyItems }
        var lists: [OpenList] = []
        for pointer in WireDecoder.elements(pointers, count) {
            let raw = pointer.pointee
            guard raw.n_voters % 2 == 0, (2...2 * Placement.ranksMax).contains(raw.n_voters), raw.n_slots <= Slot.count,
                max(raw.n_voted, raw.n_voted_at, raw.n_closers) <= VoterList.placementsMax
            else {
                throw .tooManyItems
            }
            let voters = stride(from: 0, to: raw.n_voters, by: 2).map { PeerID(high: raw.voters[$0], low: raw.voters[$0 + 1]) }
            let voted = Array(UnsafeBufferPointer(start: raw.voted, count: raw.n_voted))
            // Twice would count as two.
            guard Set(voters).count == voters.count, Set(voted).count == voted.count else { throw .undecodable }
            var slots: [Slot] = []
            for index in UnsafeBufferPointer(start: raw.slots, count: raw.n_slots) {
                guard let slot = Slot(index: Int(index)) else { throw .undecodable }
                slots.append(slot)
            }
            let list = VoterList(
                voters: voters, since: raw.since, entered: raw.entered, voted: voted,
                votedAt: Array(UnsafeBufferPointer(start: raw.voted_at, count: raw.n_voted_at)),
                closers: Array(UnsafeBufferPointer(start: raw.closers, count: raw.n_closers)))
            lists.append(OpenList(list: list, slots: slots))
        }
        return lists
    }
}

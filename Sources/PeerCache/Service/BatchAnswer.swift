internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// Gathers the items of a `getMany` answer and sends it when the last is there. Values beyond what fits one frame are `deferred`: the caller
/// asks for them alone.
final class BatchAnswer: Sendable {
    /// Bytes of values in one answer, so that it stays well below the frame's limit.
    static let valueBytesMax = 192 * 1024

    struct Item: Sendable {
        var status: ResponseStatus
        var value = ByteBuffer()
        var ttlMilliseconds: UInt64?
        var stamp = Stamp.zero
    }
    fileprivate struct State {
        var items: [Item?]
        /// Items that are missing, and one for the request itself until it has been dispatched.
        var missing: Int
        var valueBytes = 0
        /// For the whole answer: the lowest of its items'.
        var near: UInt64?
    }
    private let state: Lock<State>
    private let id: UInt64
    private let connection: PeerConnection

    init(id: UInt64, count: Int, connection: PeerConnection) {
        self.id = id
        self.connection = connection
        state = Lock(State(items: Array(repeating: nil, count: count), missing: count + 1))
    }

    func fill(_ index: Int, _ value: RawSpan, stamp: Stamp, ttlMilliseconds: UInt64?) {
        fill(
            index, bytes: value.byteCount,
            Item(status: .ok, ttlMilliseconds: ttlMilliseconds, stamp: stamp)
        ) { value.withUnsafeBytes { ByteBuffer(bytes: $0) } }
    }

    func fill(_ index: Int, _ result: Result<LoadOutcome, any Error>) {
        switch result {
        case .success(.value(let loaded)):
            fill(
                index, bytes: loaded.bytes.readableBytes, Item(status: .ok, ttlMilliseconds: loaded.ttlMilliseconds, stamp: loaded.stamp)
            ) { loaded.bytes }
        case .success(.absent): fill(index, Item(status: .absent))
        // Asked for alone, the loader's error comes with its description.
        case .failure(let error): fill(index, Item(status: ResponseStatus(error)))
        }
    }

    func fill(_ index: Int, _ item: Item) {
        let done = state.withLock { state -> State.Done? in
            state.items[index] = item
            return state.finishOne()
        }
        if let done { send(done.items, near: done.near) }
    }

    /// What the caller is told about near copies of a key; one that may not be kept speaks for all.
    func note(near number: UInt64) { state.withLock { $0.near = min($0.near ?? .max, number) } }

    /// All keys have been looked at.
    func dispatched() {
        let done = state.withLock { $0.finishOne() }
        if let done { send(done.items, near: done.near) }
    }

    private func fill(_ index: Int, bytes: Int, _ item: Item, value: () -> ByteBuffer) {
        let done = state.withLock { state -> State.Done? in
            if state.valueBytes + bytes <= Self.valueBytesMax {
                state.valueBytes += bytes
                var item = item
                item.value = value()
                state.items[index] = item
            } else {
                state.items[index] = Item(status: .deferred)
            }
            return state.finishOne()
        }
        if let done { send(done.items, near: done.near) }
    }

    private func send(_ items: [Item?], near: UInt64) {
        // The wire items point at the buffers' bytes, so all of them go into one block that lives during the call.
        var block = ByteBuffer()
        block.reserveCapacity(items.reduce(1) { $0 + ($1?.value.readableBytes ?? 0) })
        for item in items { if let item { block.writeImmutableBuffer(item.value) } }
        block.withUnsafeReadableBytes { bytes in
            var response = WireResponse(id: id, status: .ok)
            response.near = near
            var offset = 0
            response.items = items.map { item in
                var wire = WireItem(status: item?.status ?? .absent)
                guard let item else { return wire }
                let count = item.value.readableBytes
                wire.value = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
                offset += count
                wire.stamp = item.stamp
                wire.ttlMilliseconds = item.ttlMilliseconds
                return wire
            }
            connection.respond(response)
        }
    }
}

extension BatchAnswer.State {
    fileprivate typealias Done = (items: [BatchAnswer.Item?], near: UInt64)

    fileprivate mutating func finishOne() -> Done? {
        missing -= 1
        return missing == 0 ? (items, near ?? 0) : nil
    }
}

extension PeerConnection {
    /// Answers with a stamp.
    func respond(id: UInt64, _ status: ResponseStatus, stamp: Stamp, near: UInt64 = 0) {
        guard id != 0 else { return }
        var response = WireResponse(id: id, status: status)
        response.stamp = stamp
        response.near = near
        respond(response)
    }

    /// Answers with a value, in chunks when it is large.
    func respond(id: UInt64, _ value: ByteBuffer, stamp: Stamp, ttlMilliseconds: UInt64?, near: UInt64 = 0) {
        var response = WireResponse(id: id, status: .ok)
        response.stamp = stamp
        response.ttlMilliseconds = ttlMilliseconds
        response.near = near
        guard value.readableBytes <= WireLimits.chunkBytes else {
            response.chunkedBytes = UInt64(value.readableBytes)
            return respond(response, large: value)
        }
        value.withUnsafeReadableBytes { bytes in
            response.value = bytes
            respond(response)
        }
    }

    /// Answers with what a load brought.
    func respond(id: UInt64, _ result: Result<LoadOutcome, any Error>, near: UInt64 = 0) {
        switch result {
        case .success(.value(let loaded)):
            guard loaded.bytes.readableBytes <= limits.valueBytesMax else { return respond(id: id, .valueTooLarge, stamp: .zero) }
            respond(id: id, loaded.bytes, stamp: loaded.stamp, ttlMilliseconds: loaded.ttlMilliseconds, near: near)
        case .success(.absent): respond(id: id, .absent, stamp: .zero)
        case .failure(let error):
            var response = WireResponse(id: id, status: ResponseStatus(error))
            var text = String(describing: error)
            text.withUTF8 { bytes in
                response.message = UnsafeRawBufferPointer(
                    bytes.count > WireLimits.messageBytesMax ? .init(rebasing: bytes.prefix(WireLimits.messageBytesMax)) : bytes)
                respond(response)
            }
        }
    }
}

extension ResponseStatus {
    /// How an error of a load is told to a remote caller.
    init(_ error: any Error) {
        switch (error as? PeerCacheError)?.code {
        case .overloaded: self = .overloaded
        case .loadTimedOut: self = .timedOut
        case .shuttingDown: self = .shuttingDown
        default: self = error is CancellationError ? .timedOut : .loadFailed
        }
    }
}

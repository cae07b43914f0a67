internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// The items of a `getMany` answer. It says nothing of keys that the caller has to ask for alone.
struct BatchItems: Sendable {
    /// Bytes of items in one answer, so that it stays below what travels in chunks.
    static let bytesMax = 224 * 1024

    private var bytes: [UInt8] = []
    /// What the caller is told about near copies: the lowest of its items', as one that may not be kept speaks for all.
    private var near: UInt64?

    init(count: Int) { bytes.reserveCapacity(count * 128) }

    mutating func append(absent index: Int) { WireItems.append(absent: index, to: &bytes) }

    mutating func append(unloaded index: Int) { WireItems.append(unloaded: index, to: &bytes) }

    /// Appends a value if there is room.
    mutating func append(_ index: Int, _ value: UnsafeRawBufferPointer, _ life: WireItem.Life?) {
        if bytes.count + value.count <= Self.bytesMax { WireItems.append(index, value, life, to: &bytes) }
    }

    mutating func note(near number: UInt64) { near = min(near ?? .max, number) }

    func send(_ id: UInt64, _ connection: PeerConnection) {
        bytes.withUnsafeBytes { bytes in
            var response = WireResponse(id: id, status: .ok)
            response.near = near ?? 0
            response.value = bytes
            connection.respond(response)
        }
    }
}

/// A `getMany` answer of which some items are being loaded; sends it when the last is there.
final class BatchAnswer: Sendable {
    private struct State {
        var items: BatchItems
        var missing: Int
        /// Of a loader, the first one: the caller has no use for the rest.
        var failure: (any Error)?
    }
    private let state: Lock<State>
    private let id: UInt64
    private let connection: PeerConnection

    /// - Parameter missing: items that are still to be filled in.
    init(id: UInt64, _ items: BatchItems, missing: Int, _ connection: PeerConnection) {
        (self.id, self.connection) = (id, connection)
        state = Lock(State(items: items, missing: missing))
    }

    /// - Parameter near: see ``BatchItems/note(near:)``; nil: no near copies are kept.
    func fill(_ index: Int, _ result: Result<LoadOutcome, any Error>, near: UInt64?) {
        let done = state.withLock { state -> State? in
            if let near { state.items.note(near: near) }
            switch result {
            case .success(.value(let loaded)):
                let life = near == nil ? nil : WireItem.Life(stamp: loaded.stamp, ttlMilliseconds: loaded.ttlMilliseconds)
                loaded.bytes.withUnsafeReadableBytes { state.items.append(index, $0, life) }
            case .success(.absent): state.items.append(absent: index)
            case .failure(let error):
                switch ResponseStatus(error) {
                // Asked for alone the loader would run again.
                case .loadFailed, .timedOut: state.failure = state.failure ?? error
                default: break
                }
            }
            state.missing -= 1
            return state.missing == 0 ? state : nil
        }
        guard let done else { return }
        if let failure = done.failure { connection.respond(id: id, .failure(failure)) } else { done.items.send(id, connection) }
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
        default: self = .loadFailed
        }
    }
}

package import PeerCacheCore

/// A message of a frame in memory of its own, so that what was sent can be compared with what was decoded.
package enum OwnedMessage: Hashable, Sendable {
    case hello(MemberRecord, SettingsFingerprint)
    case gossip(GossipMessage)
    case invalidation(WireInvalidation)
    case request(OwnedRequest)
    case unknownRequest(id: UInt64)
    case response(OwnedResponse)
    case chunk(id: UInt64, isResponse: Bool, bytes: [UInt8])
    case taken(chunks: Int)
    case cancel(id: UInt64)
    case goodbye(Goodbye)

    package init(_ message: WireMessage) {
        switch message {
        case .hello(let hello): self = .hello(hello.record, hello.settings)
        case .gossip(let gossip): self = .gossip(gossip)
        case .invalidation(let wire): self = .invalidation(wire)
        case .request(let request): self = .request(OwnedRequest(request))
        case .unknownRequest(let id): self = .unknownRequest(id: id)
        case .response(let response): self = .response(OwnedResponse(response))
        case .chunk(let id, let isResponse, let bytes): self = .chunk(id: id, isResponse: isResponse, bytes: Array(bytes))
        case .taken(let chunks): self = .taken(chunks: chunks)
        case .cancel(let id): self = .cancel(id: id)
        case .goodbye(let goodbye): self = .goodbye(goodbye)
        }
    }

    /// Appends the message to a frame. An unknown request cannot be encoded and is left out.
    package func encode(_ append: WireEncoder.Append) {
        switch self {
        case .hello(let record, let settings): WireEncoder.hello(WireHello(record: record, settings: settings), append: append)
        case .gossip(let gossip): WireEncoder.gossip(gossip, append: append)
        case .invalidation(let wire): WireEncoder.invalidation(wire, append: append)
        case .request(let request): request.withWire { WireEncoder.request($0, append: append) }
        case .unknownRequest: break
        case .response(let response): response.withWire { WireEncoder.response($0, append: append) }
        case .chunk(let id, let isResponse, let bytes):
            bytes.withUnsafeBytes { WireEncoder.chunk(id: id, isResponse: isResponse, bytes: $0, append: append) }
        case .taken(let chunks): WireEncoder.taken(chunks: chunks, append: append)
        case .cancel(let id): WireEncoder.cancel(id: id, append: append)
        case .goodbye(let goodbye): WireEncoder.goodbye(goodbye, append: append)
        }
    }

    /// The place of the message's kind in the order in which a decoder delivers a frame.
    package var rank: Int {
        switch self {
        case .hello: 0
        case .gossip: 1
        case .invalidation: 2
        case .request, .unknownRequest: 3
        case .response: 4
        case .chunk: 5
        case .taken: 6
        case .cancel: 7
        case .goodbye: 8
        }
    }
}

package struct OwnedRequest: Hashable, Sendable {
    package var kind: RequestKind
    package var id: UInt64 = 0
    package var deadlineMilliseconds: UInt32 = 0
    package var cache: [UInt8] = []
    package var type: UInt32 = 0
    package var key: [UInt8] = []
    package var value: [UInt8] = []
    package var ttlMilliseconds: UInt64?
    package var stamp = Stamp.zero
    package var flags: UInt32 = 0
    package var chunkedBytes: UInt64 = 0
    package var placement: UInt64 = 0
    package var scheme: UInt32 = 0

    package init(kind: RequestKind) { self.kind = kind }

    init(_ wire: WireRequest) {
        kind = wire.kind
        id = wire.id
        deadlineMilliseconds = wire.deadlineMilliseconds
        cache = Array(wire.cache)
        type = wire.type
        key = Array(wire.key)
        value = Array(wire.value)
        ttlMilliseconds = wire.ttlMilliseconds
        stamp = wire.stamp
        flags = wire.flags.rawValue
        chunkedBytes = wire.chunkedBytes
        placement = wire.placement
        scheme = wire.scheme
    }

    package func withWire(_ body: (WireRequest) -> Void) {
        cache.withUnsafeBytes { cache in
            key.withUnsafeBytes { key in
                value.withUnsafeBytes { value in
                    var wire = WireRequest(kind: kind, cache: cache)
                    wire.id = id
                    wire.deadlineMilliseconds = deadlineMilliseconds
                    wire.type = type
                    wire.key = key
                    wire.value = value
                    wire.ttlMilliseconds = ttlMilliseconds
                    wire.stamp = stamp
                    wire.flags = RequestFlags(rawValue: flags)
                    wire.chunkedBytes = chunkedBytes
                    wire.placement = placement
                    wire.scheme = scheme
                    body(wire)
                }
            }
        }
    }
}

package struct OwnedResponse: Hashable, Sendable {
    package var id: UInt64
    package var status: ResponseStatus
    package var value: [UInt8] = []
    package var ttlMilliseconds: UInt64?
    package var stamp = Stamp.zero
    package var chunkedBytes: UInt64 = 0
    package var message: [UInt8] = []
    package var placement: UInt64 = 0
    package var near: UInt64 = 0
    package var copiedThrough: UInt64 = 0

    package init(id: UInt64, status: ResponseStatus) {
        self.id = id
        self.status = status
    }

    init(_ wire: WireResponse) {
        self.init(id: wire.id, status: wire.status)
        value = Array(wire.value)
        ttlMilliseconds = wire.ttlMilliseconds
        stamp = wire.stamp
        chunkedBytes = wire.chunkedBytes
        message = Array(wire.message)
        placement = wire.placement
        near = wire.near
        copiedThrough = wire.copiedThrough
    }

    package func withWire(_ body: (WireResponse) -> Void) {
        value.withUnsafeBytes { value in
            message.withUnsafeBytes { message in
                var wire = WireResponse(id: id, status: status)
                wire.value = value
                wire.ttlMilliseconds = ttlMilliseconds
                wire.stamp = stamp
                wire.chunkedBytes = chunkedBytes
                wire.message = message
                wire.placement = placement
                wire.near = near
                wire.copiedThrough = copiedThrough
                body(wire)
            }
        }
    }
}

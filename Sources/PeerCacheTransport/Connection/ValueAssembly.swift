package import NIOCore
package import PeerCacheCore

/// Puts values together that travel in chunks. Confined to the connection's event loop.
///
/// Memory grows with what arrives, never with what was announced; count, bytes and time are bounded.
package struct ValueAssembly {
    package enum Header {
        case request(StoredRequest)
        case response(PeerResponse)
    }
    package struct Complete {
        package var id: UInt64
        package var header: Header
        package var value: ByteBuffer
    }
    private struct Part {
        let id: UInt64
        let header: Header
        let bytes: Int
        let startedNanoseconds: Int64
        var value = ByteBuffer()

        var isResponse: Bool {
            if case .response = header { true } else { false }
        }
    }

    private var parts: [Part] = []
    private var byteCount = 0
    private let limits: ConnectionLimits

    package init(limits: ConnectionLimits) { self.limits = limits }

    /// Begins a value of `bytes` bytes. False: refused, its chunks will be ignored.
    package mutating func begin(id: UInt64, header: Header, bytes: UInt64, nowNanoseconds: Int64) -> Bool {
        guard let bytes = Int(exactly: bytes), bytes > 0, bytes <= limits.valueBytesMax else { return false }
        let part = Part(id: id, header: header, bytes: bytes, startedNanoseconds: nowNanoseconds)
        guard index(id: id, isResponse: part.isResponse) == nil, bytes <= limits.assemblyBytesMax - byteCount else { return false }
        if !part.isResponse, parts.count(where: { !$0.isResponse }) >= limits.assembliesMax { return false }
        byteCount += bytes
        parts.append(part)
        return true
    }

    /// Adds a chunk and returns the value when it is whole. A chunk of a value that was refused or has timed out is ignored.
    package mutating func add(_ chunk: UnsafeRawBufferPointer, id: UInt64, isResponse: Bool) throws(WireError) -> Complete? {
        guard let index = index(id: id, isResponse: isResponse) else { return nil }
        guard chunk.count <= WireLimits.chunkBytes, chunk.count <= parts[index].bytes - parts[index].value.readableBytes else {
            throw .badChunk
        }
        parts[index].value.writeBytes(chunk)
        guard parts[index].value.readableBytes == parts[index].bytes else { return nil }
        let part = parts.remove(at: index)
        byteCount -= part.bytes
        return Complete(id: id, header: part.header, value: part.value)
    }

    /// Drops the value of a caller that gave up. A copy of a write is not the caller's to withdraw.
    package mutating func cancel(id: UInt64) {
        remove { part in
            guard case .request(let request) = part.header else { return false }
            return part.id == id && request.kind != .apply
        }
    }

    package mutating func expire(nowNanoseconds: Int64) {
        let limit = limits.assemblyTimeout.nanosecondsSaturating
        remove { nowNanoseconds - $0.startedNanoseconds > limit }
    }

    private mutating func remove(where condition: (Part) -> Bool) {
        parts.removeAll { part in
            guard condition(part) else { return false }
            byteCount -= part.bytes
            return true
        }
    }

    private func index(id: UInt64, isResponse: Bool) -> Int? { parts.firstIndex { $0.id == id && $0.isResponse == isResponse } }
}

/// A request in memory of its own, while its value is on the way.
package struct StoredRequest {
    private let cache: [UInt8]
    private let key: [UInt8]
    var kind: RequestKind { fields.kind }
    /// Everything else; its pointers are outdated.
    private let fields: WireRequest

    package init(_ request: WireRequest) {
        cache = Array(request.cache)
        key = Array(request.key)
        var fields = request
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        fields.cache = none
        fields.key = none
        fields.value = none
        self.fields = fields
    }

    /// The request again, with its value; valid during the call.
    package func withRequest(value: ByteBuffer, _ body: (WireRequest) -> Void) {
        cache.withUnsafeBytes { cache in
            key.withUnsafeBytes { key in
                value.withUnsafeReadableBytes { value in
                    var request = fields
                    request.cache = cache
                    request.key = key
                    request.value = value
                    request.chunkedBytes = 0
                    body(request)
                }
            }
        }
    }
}

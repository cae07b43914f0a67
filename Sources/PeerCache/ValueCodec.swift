internal import Foundation
public import NIOCore
internal import NIOFoundationCompat

/// How the values of a cache become bytes and values again.
public struct ValueCodec<Value: Sendable>: Sendable {
    /// Equal on two peers exactly when each can decode what the other encodes. Part of what peers compare before they exchange values, so
    /// change it when the format changes: then a rolling deploy meets `.incompatibleCache` instead of garbage.
    public var name: String
    /// Encodes a value. May throw; nothing is stored then, and the caller gets `.encodingFailed`.
    public var encode: @Sendable (Value) throws -> ByteBuffer
    /// Decodes bytes that ``encode`` made, on any peer. A throw is a miss: counted, logged, and the value is loaded again.
    public var decode: @Sendable (ByteBuffer) throws -> Value
    /// What is encoded begins with a version: see ``versioned(by:)``.
    var isVersioned = false

    /// A codec of two closures.
    public init(
        name: String, encode: @escaping @Sendable (Value) throws -> ByteBuffer, decode: @escaping @Sendable (ByteBuffer) throws -> Value
    ) {
        self.name = name
        self.encode = encode
        self.decode = decode
    }
}

extension ValueCodec where Value: Codable {
    /// JSON by Foundation's coders with their default settings, keys sorted.
    public static var json: ValueCodec {
        ValueCodec(
            name: "json",
            encode: { value in
                let encoder = JSONEncoder()
                encoder.outputFormatting = .sortedKeys
                return ByteBuffer(data: try encoder.encode(value))
            },
            decode: { try JSONDecoder().decode(Value.self, from: $0) })
    }
}

extension ValueCodec where Value == [UInt8] {
    /// The bytes themselves.
    public static var bytes: ValueCodec {
        ValueCodec(name: "bytes", encode: { ByteBuffer(bytes: $0) }, decode: { Array($0.readableBytesView) })
    }
}

extension ValueCodec where Value == ByteBuffer {
    /// The readable bytes themselves.
    public static var buffer: ValueCodec { ValueCodec(name: "bytes", encode: { $0 }, decode: { $0 }) }
}

/// Bytes that should be text are not UTF-8.
struct NotUTF8: Error {}

extension ValueCodec where Value == String {
    /// UTF-8.
    public static var utf8: ValueCodec {
        ValueCodec(
            name: "utf8", encode: { ByteBuffer(string: $0) },
            decode: { buffer in
                guard let text = String(validating: buffer.readableBytesView, as: UTF8.self) else { throw NotUTF8() }
                return text
            })
    }
}

extension ValueCodec {
    /// The same codec for values that know their version in the data source: a row's version, a change number, the time of the last commit.
    /// It travels with the value, at eight bytes each, and decides before the order of writes: while a value, or its removal, is held, nothing
    /// of a lower version replaces it, so a loader or a writer that reads a lagging replica does not bring back what was replaced.
    ///
    /// A `set` of a lower version than the held one changes nothing and does not throw; the result of such a load is returned and not
    /// stored. ``Cache/remove(_:)`` throws `.invalidConfiguration` in caches with versions: use ``Cache/remove(_:sourceVersion:)``. What has
    /// been evicted or has expired is forgotten with its version.
    /// - Parameter version: never falls for a key, whatever process asks.
    public func versioned(by version: @escaping @Sendable (Value) -> UInt64) -> ValueCodec {
        var codec = ValueCodec(
            name: name + "+version",
            encode: { value in
                var bytes = ByteBuffer(integer: version(value))
                bytes.writeImmutableBuffer(try self.encode(value))
                return bytes
            },
            decode: { bytes in
                var bytes = bytes
                guard bytes.readInteger(as: UInt64.self) != nil else { throw NoVersion() }
                return try self.decode(bytes)
            })
        codec.isVersioned = true
        return codec
    }
}

/// Bytes that should begin with a version are too short.
struct NoVersion: Error {}

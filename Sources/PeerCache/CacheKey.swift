public import Foundation

/// A type that can be the key of a cache: it has a byte form that is equal on all peers, and can be made from it.
///
/// Conforming: `String`, `Int`, `UInt64`, `UUID`, `[UInt8]`, and by one empty extension every `RawRepresentable` of those:
/// ```swift
/// struct UserID: RawRepresentable, CacheKey { var rawValue: Int }
/// ```
public protocol CacheKey: Hashable, Sendable {
    /// Calls `body` with the key's bytes, at most 1,024 of them. Two keys are equal exactly when their bytes are.
    func withKeyBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result

    /// The key with these bytes, or nil when no key has them. Peers send keys as bytes; the owner's loader needs the key.
    init?(keyBytes: UnsafeRawBufferPointer)
}

extension String: CacheKey {
    /// Its UTF-8 as it is. Strings that Swift holds for equal in different Unicode normal forms ("é" as one scalar or as two) are different
    /// keys: normalise what comes from outside.
    @inlinable
    public func withKeyBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        if let result = try utf8.withContiguousStorageIfAvailable({ try body(UnsafeRawBufferPointer($0)) }) { return result }
        var copy = self
        return try copy.withUTF8 { try body(UnsafeRawBufferPointer($0)) }
    }

    /// Nil when the bytes are not valid UTF-8.
    public init?(keyBytes: UnsafeRawBufferPointer) { self.init(validating: keyBytes, as: UTF8.self) }
}

extension Int: CacheKey {
    /// Eight bytes, big endian.
    @inlinable
    public func withKeyBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try Swift.withUnsafeBytes(of: Int64(self).bigEndian) { try body($0) }
    }

    /// Nil unless there are eight bytes.
    public init?(keyBytes: UnsafeRawBufferPointer) {
        guard keyBytes.count == 8 else { return nil }
        self.init(exactly: Int64(bigEndian: keyBytes.loadUnaligned(as: Int64.self)))
    }
}

extension UInt64: CacheKey {
    /// Eight bytes, big endian.
    @inlinable
    public func withKeyBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try Swift.withUnsafeBytes(of: bigEndian) { try body($0) }
    }

    /// Nil unless there are eight bytes.
    public init?(keyBytes: UnsafeRawBufferPointer) {
        guard keyBytes.count == 8 else { return nil }
        self.init(bigEndian: keyBytes.loadUnaligned(as: UInt64.self))
    }
}

extension UUID: CacheKey {
    /// Its 16 bytes.
    @inlinable
    public func withKeyBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try Swift.withUnsafeBytes(of: uuid) { try body($0) }
    }

    /// Nil unless there are 16 bytes.
    public init?(keyBytes: UnsafeRawBufferPointer) {
        guard keyBytes.count == 16 else { return nil }
        self.init(uuid: keyBytes.loadUnaligned(as: uuid_t.self))
    }
}

extension [UInt8]: CacheKey {
    /// Its bytes.
    @inlinable
    public func withKeyBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try withUnsafeBytes { try body($0) }
    }

    /// Any bytes.
    public init?(keyBytes: UnsafeRawBufferPointer) { self.init(keyBytes) }
}

extension CacheKey where Self: RawRepresentable, RawValue: CacheKey {
    /// The raw value's bytes.
    @inlinable
    public func withKeyBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try rawValue.withKeyBytes(body)
    }

    /// Nil when no raw value has these bytes, or no key has this raw value.
    public init?(keyBytes: UnsafeRawBufferPointer) {
        guard let rawValue = RawValue(keyBytes: keyBytes) else { return nil }
        self.init(rawValue: rawValue)
    }
}

extension CacheKey {
    /// In memory of its own.
    var keyBytes: [UInt8] { withKeyBytes { Array($0) } }
}

internal import CXXHash

/// The secret under which a cache hashes its keys: 192 bytes, derived from the cluster's hash key and the cache's name, so that nobody
/// outside can choose keys that collide or share a peer (`SECURITY.md` SEC19).
package struct HashSecret: Sendable, CustomStringConvertible, CustomReflectable {
    package static let byteCount = 192
    private let bytes: [UInt8]

    /// Nil unless there are exactly 192 bytes.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    /// Without the bytes, in logs and crash reports as well (SEC4).
    package var description: String { "HashSecret(redacted)" }
    package var customMirror: Mirror { Mirror(self, children: [:]) }

    /// XXH3-64 of the key under this secret. O(length), no allocation.
    package func hash(_ key: UnsafeRawBufferPointer) -> UInt64 {
        bytes.withUnsafeBytes { secret in peercache_xxh3_64(key.baseAddress, key.count, secret.baseAddress) }
    }

    package func hash(_ key: RawSpan) -> UInt64 { key.withUnsafeBytes { hash($0) } }
}

/// XXH3-64 without a secret: for cache names, ring points and digests, never for users' keys.
package func publicHash(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
    peercache_xxh3_64_seeded(bytes.baseAddress, bytes.count, seed)
}

/// XXH3-64 of a string's UTF-8 without a secret.
package func publicHash(_ text: String, seed: UInt64 = 0) -> UInt64 {
    var text = text
    return text.withUTF8 { publicHash(UnsafeRawBufferPointer($0), seed: seed) }
}

internal import CXXHash

/// The secret under which a cache hashes its keys: 192 bytes, derived from the cluster's hash key and the cache's name, so that nobody
/// outside can choose keys that collide or share a peer (`SECURITY.md` SEC19).
package struct HashSecret: Sendable, CustomStringConvertible, CustomReflectable {
    package static let byteCount = 192
    private let memory: Memory

    private final class Memory: Sendable {
        // Safe: written here only, and lives as long as this object.
        nonisolated(unsafe) let start: UnsafeMutableRawPointer

        init(_ bytes: [UInt8]) {
            start = .allocate(byteCount: bytes.count, alignment: 64)
            bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(start: start, count: bytes.count).copyMemory(from: $0) }
        }

        deinit { start.deallocate() }
    }

    /// Nil unless there are exactly 192 bytes.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        memory = Memory(bytes)
    }

    /// The secret for who cannot afford to count a reference, valid as long as this value or a copy of it.
    package var address: UnsafeRawPointer { UnsafeRawPointer(memory.start) }

    /// Without the bytes, in logs and crash reports as well (SEC4).
    package var description: String { "HashSecret(redacted)" }
    package var customMirror: Mirror { Mirror(self, children: [:]) }

    /// XXH3-64 of the key under this secret. O(length), no allocation.
    package func hash(_ key: UnsafeRawBufferPointer) -> UInt64 {
        Self.hash(key, secretAt: memory.start)
    }

    /// As ``hash(_:)``, with an ``address``.
    package static func hash(_ key: UnsafeRawBufferPointer, secretAt address: UnsafeRawPointer) -> UInt64 {
        peercache_xxh3_64(key.baseAddress, key.count, address)
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

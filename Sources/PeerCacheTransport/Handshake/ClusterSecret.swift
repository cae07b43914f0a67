internal import Crypto

/// A secret setting that cannot be used, and why. The message names the setting and the allowed range, never the secret.
package struct SecurityConfigurationError: Error, Sendable, Hashable, CustomStringConvertible {
    package var message: String

    package var description: String { message }
}

/// The secret that the peers of a cluster share. Its bytes appear in no description (`SECURITY.md` SEC4).
///
/// Use 32 random bytes: a recorded handshake lets anybody test guesses offline, so a password is as weak here as anywhere.
package struct ClusterSecret: Sendable, Redacted {
    package static let byteCountMin = 16
    let key: SymmetricKey

    /// - Throws: ``SecurityConfigurationError`` for fewer than 16 bytes.
    package init(_ bytes: [UInt8]) throws(SecurityConfigurationError) {
        guard bytes.count >= Self.byteCountMin else {
            throw SecurityConfigurationError(
                message:
                    "security: the shared secret has \(bytes.count) bytes; it needs at least \(Self.byteCountMin), better 32 random ones")
        }
        key = SymmetricKey(data: bytes)
    }

    /// The text's UTF-8 bytes are the secret.
    package init(_ text: String) throws(SecurityConfigurationError) { try self.init(Array(text.utf8)) }

    /// A key that HKDF made of another one.
    init(derived key: SymmetricKey) { self.key = key }

    /// What stands in for a secret where there is none. Everything derived from it is public.
    static let empty = ClusterSecret(derived: SymmetricKey(data: [UInt8]()))

    /// HKDF-SHA256 without salt. O(bytes).
    func derive(_ label: String, _ name: String = "", byteCount: Int) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(inputKeyMaterial: key, info: keyInfo(label, name), outputByteCount: byteCount)
    }

    /// The first 8 bytes of the derived key: a public name for a secret, or for a secret together with a cluster.
    func tag(_ label: String, _ name: String = "") -> UInt64 { derive(label, name, byteCount: 8).bigEndianPrefix }
}

/// The secrets of one peer: it dials with `current` and accepts all of them, chosen by key id. More than one only while rotating:
/// accept the new one everywhere, make it current everywhere, drop the old one (`SECURITY.md` SEC13).
package struct KeyRing: Sendable, Redacted {
    package static let acceptingMax = 3
    package let current: ClusterSecret
    package let accepting: [ClusterSecret]

    /// - Parameter accepting: at most 3, in any order; `current` need not be repeated, and may be.
    /// - Throws: ``SecurityConfigurationError`` for more than 3.
    package init(current: ClusterSecret, accepting: [ClusterSecret] = []) throws(SecurityConfigurationError) {
        guard accepting.count <= Self.acceptingMax else {
            throw SecurityConfigurationError(
                message: "security: \(accepting.count) accepted secrets beside the current one; at most \(Self.acceptingMax) are allowed")
        }
        self.current = current
        self.accepting = accepting
    }
}

/// How peers prove that they belong together.
package enum HandshakeSecurity: Sendable {
    /// Proves nothing: the same messages with an empty secret, no X25519 and MACs of zeros. For loopback, tests, and inside mutual TLS.
    case insecure
    case sharedSecret(KeyRing)
}

/// For types that hold key bytes: neither `print`, `dump` nor a crash report shows what is inside.
package protocol Redacted: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {}

extension Redacted {
    package var description: String { "\(Self.self)(redacted)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// The info of every HKDF call: "peercache/1", then label and name, each after its length (4 bytes, big-endian), then `suffix`. The lengths
/// keep ("a", "bc") apart from ("ab", "c").
func keyInfo(_ label: String, _ name: String, suffix: some Sequence<UInt8> = EmptyCollection()) -> [UInt8] {
    var info = Array("peercache/1".utf8)
    for part in [label, name] {
        info.append(bigEndian: UInt32(truncatingIfNeeded: part.utf8.count))
        info += part.utf8
    }
    info += suffix
    return info
}

extension SymmetricKey {
    var bigEndianPrefix: UInt64 { withUnsafeBytes { $0.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } } }
}

internal import Crypto
package import PeerCacheCore

/// What decides which peer holds which key, apart from the members: the root of every cache's hash secret.
///
/// Made from the cluster name and the cluster's first secret, and kept when the secret changes, so that a rotation moves no key
/// (`SECURITY.md` §3, SEC14).
package struct HashKey: Sendable, Redacted {
    private let secret: ClusterSecret
    /// Public: peers compare it and refuse each other if it differs. Tells nothing about the key.
    package let fingerprint: UInt64

    /// - Parameters:
    ///   - hashKey: 16 bytes or more, for a ring the bytes of the first secret ever used; nil: the one configured secret. Without a secret it
    ///     may stay nil; hashes then depend on the cluster's name alone, and whoever chooses keys can aim them all at one peer.
    ///   - cluster: the cluster's name.
    /// - Throws: ``SecurityConfigurationError`` for a ring of several secrets without a hash key, or a hash key that is too short.
    package init(_ hashKey: [UInt8]?, security: HandshakeSecurity, cluster: String) throws(SecurityConfigurationError) {
        let root: ClusterSecret
        switch (hashKey, security) {
        case (let bytes?, _):
            guard bytes.count >= ClusterSecret.byteCountMin else {
                throw SecurityConfigurationError(
                    message: "hashKey: \(bytes.count) bytes; it needs at least \(ClusterSecret.byteCountMin)")
            }
            root = try ClusterSecret(bytes)
        case (nil, .insecure): root = .empty
        case (nil, .sharedSecret(let ring)):
            guard ring.accepting.isEmpty else {
                throw SecurityConfigurationError(
                    message: "hashKey: not set, but must be with several secrets, else the next rotation moves every key; "
                        + "set it to the bytes of the first secret this cluster used")
            }
            root = ring.current
        }
        secret = ClusterSecret(derived: root.derive("hash key", cluster, byteCount: 32))
        fingerprint = secret.tag("fingerprint")
    }

    /// The 192 bytes under which a cache hashes its keys. Equal on all peers with the same fingerprint. O(1), six HMACs.
    package func hashSecret(cache: String) -> HashSecret {
        let bytes = secret.derive("cache", cache, byteCount: HashSecret.byteCount).withUnsafeBytes { Array($0) }
        guard let result = HashSecret(bytes) else { preconditionFailure("HKDF returned \(bytes.count) bytes") }
        return result
    }
}

package import Crypto
package import PeerCacheCore

/// What a peer brings to every handshake. Made once: deriving the key ids costs a few HKDF calls.
package struct HandshakeConfiguration: Sendable {
    package static let clusterBytesMax = 128

    package let cluster: String
    package let me: PeerID
    /// What we say we are when we dial. Only peers listen.
    package let role: PeerRole
    /// Wire versions we speak; the highest common one is used.
    package let versions: ClosedRange<UInt16>
    /// How we can seal frames. Empty: frames are not sealed.
    package let ciphers: FrameCiphers
    /// The first is the one to dial with. Never empty.
    let candidates: [Candidate]
    let isInsecure: Bool

    /// A secret with what a hello says about it.
    struct Candidate: Sendable {
        let secret: ClusterSecret
        let keyID: UInt64
        let clusterTag: UInt64

        init(_ secret: ClusterSecret, cluster: String) {
            self.secret = secret
            keyID = secret.tag("key id")
            clusterTag = secret.tag("cluster", cluster)
        }
    }

    /// - Parameters:
    ///   - cluster: 1...128 bytes of UTF-8.
    ///   - me: not ``PeerID/none``.
    /// - Throws: ``SecurityConfigurationError`` when one of these is out of bounds.
    package init(
        cluster: String, security: HandshakeSecurity, me: PeerID, role: PeerRole = .peer, versions: ClosedRange<UInt16> = 1...1,
        ciphers: FrameCiphers = []
    ) throws(SecurityConfigurationError) {
        guard 1...Self.clusterBytesMax ~= cluster.utf8.count else {
            throw SecurityConfigurationError(
                message: "cluster: the name has \(cluster.utf8.count) bytes; allowed are 1...\(Self.clusterBytesMax)")
        }
        guard me != .none else { throw SecurityConfigurationError(message: "peer id: zero is reserved for \"no peer\"") }
        self.cluster = cluster
        self.me = me
        self.role = role
        self.versions = versions
        self.ciphers = ciphers
        switch security {
        case .insecure:
            isInsecure = true
            candidates = [Candidate(.empty, cluster: cluster)]
        case .sharedSecret(let ring):
            isInsecure = false
            candidates = ([ring.current] + ring.accepting).map { Candidate($0, cluster: cluster) }
        }
    }
}

/// The random part of one handshake on one side. Never used twice.
package struct HandshakeEntropy: Sendable, Redacted {
    /// 32 bytes.
    let nonce: [UInt8]
    /// Nil without a secret.
    let privateKey: Curve25519.KeyAgreement.PrivateKey?

    /// Makes the random part of a handshake; the argument says whether an X25519 key is needed. Called only once the work is due.
    package typealias Source = @Sendable (_ withKey: Bool) -> HandshakeEntropy

    /// From the operating system.
    package static let system: Source = { withKey in
        var generator = SystemRandomNumberGenerator()
        return HandshakeEntropy(nonce: randomBytes(from: &generator), privateKey: withKey ? .init() : nil)
    }

    /// From a generator of the caller's, for tests that repeat.
    package init(using generator: inout some RandomNumberGenerator, withKey: Bool) {
        let nonce = Self.randomBytes(from: &generator)
        // Any 32 bytes are an X25519 private key, so this fails only if swift-crypto changes the size.
        let key = withKey ? try? Curve25519.KeyAgreement.PrivateKey(rawRepresentation: Self.randomBytes(from: &generator)) : nil
        self.init(nonce: nonce, privateKey: key)
    }

    private init(nonce: [UInt8], privateKey: Curve25519.KeyAgreement.PrivateKey?) {
        self.nonce = nonce
        self.privateKey = privateKey
    }

    /// 32 bytes; zeros without a key.
    var publicKey: [UInt8] { privateKey.map { Array($0.publicKey.rawRepresentation) } ?? [UInt8](repeating: 0, count: 32) }

    private static func randomBytes(from generator: inout some RandomNumberGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(32)
        for _ in 0..<4 { bytes.append(bigEndian: generator.next() as UInt64) }
        return bytes
    }
}

/// How a handshake ended.
package struct HandshakeResult: Sendable {
    /// The other side, proved unless the handshake was insecure. May be our own id: of this process, or of another one that was cloned.
    package let peer: PeerID
    package let role: PeerRole
    /// Highest version both speak.
    package let version: UInt16
    /// One cipher, or empty: frames are not sealed.
    package let cipher: FrameCiphers
    /// False when the dialer expected another peer at this address. The connection is good, but nothing meant for that peer may be sent on it
    /// (`GOSSIP.md` §10, address re-use).
    package let isExpected: Bool
    /// Nil in an insecure handshake: keys that anybody can compute must not look like keys.
    package let frameKeys: FrameKeys?
}

/// One 256-bit key per direction.
package struct FrameKeys: Sendable, Redacted {
    package let dialerToListener: SymmetricKey
    package let listenerToDialer: SymmetricKey
}

/// Why a handshake failed. The connection is closed and nothing else is told to the other side.
package enum HandshakeError: Error, Hashable, Sendable {
    /// The listener refused our hello. Not proved: anybody on the path can say so.
    case refused(HandshakeRefusal)
    /// Wrong size, magic or field.
    case malformed
    /// The MAC is wrong: another secret, or a changed, replayed or redirected message.
    case wrongProof
    /// The X25519 key makes the shared secret zero.
    case lowOrderPoint
    /// A message that is not due.
    case outOfOrder
}

internal import Crypto

/// Transcript, keys and MACs of one handshake, equal on both sides when both saw the same messages (`SECURITY.md` §3).
///
/// ```
/// th  = SHA-256(hello ‖ answer without its MAC)
/// prk = HKDF-Extract(salt: hello's nonce ‖ answer's nonce, secret ‖ X25519 shared);   key(x) = HKDF-Expand(prk, info(x, cluster) ‖ th)
/// ```
/// Everything either side said is in `th`, so a stripped version, another expected id or a swapped half shows in every key.
struct HandshakeSchedule: Sendable, Redacted {
    private let transcript: [UInt8]
    private let pseudoRandomKey: SymmetricKey
    private let cluster: String

    /// - Parameter answer: its MAC is not looked at.
    /// - Throws: `.malformed` or `.lowOrderPoint` for a public key that cannot be used.
    init(
        secret: ClusterSecret, cluster: String, hello: HelloMessage, answer: AnswerMessage,
        privateKey: Curve25519.KeyAgreement.PrivateKey, publicKey: ArraySlice<UInt8>
    ) throws(HandshakeError) {
        let shared = try Self.agree(privateKey, publicKey)
        var hash = SHA256()
        hash.update(data: hello.bytes)
        hash.update(data: answer.beforeMAC)
        transcript = Array(hash.finalize())
        // HKDF-Extract is HMAC under the salt; written out, the secrets need not be joined in memory.
        var extract = HMAC<SHA256>(key: SymmetricKey(data: Array(hello.nonce) + answer.nonce))
        secret.key.withUnsafeBytes { extract.update(data: $0) }
        shared.withUnsafeBytes { extract.update(data: $0) }
        pseudoRandomKey = SymmetricKey(data: extract.finalize())
        self.cluster = cluster
    }

    private static func agree(
        _ privateKey: Curve25519.KeyAgreement.PrivateKey, _ publicKey: ArraySlice<UInt8>
    ) throws(HandshakeError) -> SharedSecret {
        guard let key = try? Curve25519.KeyAgreement.PublicKey(rawRepresentation: publicKey) else { throw .malformed }
        // CryptoKit refuses low-order points itself, BoringSSL's X25519 under swift-crypto hands out the zeros.
        guard let shared = try? privateKey.sharedSecretFromKeyAgreement(with: key) else { throw .lowOrderPoint }
        guard shared.withUnsafeBytes({ $0.reduce(0, |) }) != 0 else { throw .lowOrderPoint }
        return shared
    }

    private func key(_ label: String) -> SymmetricKey {
        HKDF<SHA256>.expand(
            pseudoRandomKey: pseudoRandomKey, info: keyInfo(label, cluster, suffix: transcript), outputByteCount: 32)
    }

    /// 32 bytes.
    func listenerMAC() -> [UInt8] { Array(HMAC<SHA256>.authenticationCode(for: transcript, using: key("listener"))) }

    /// 32 bytes.
    func dialerMAC(after listenerMAC: ArraySlice<UInt8>) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: transcript + listenerMAC, using: key("dialer")))
    }

    /// Constant time.
    func isListenerMAC(_ mac: ArraySlice<UInt8>) -> Bool {
        HMAC<SHA256>.isValidAuthenticationCode(mac, authenticating: transcript, using: key("listener"))
    }

    /// Constant time.
    func isDialerMAC(_ mac: [UInt8], after listenerMAC: ArraySlice<UInt8>) -> Bool {
        HMAC<SHA256>.isValidAuthenticationCode(mac, authenticating: transcript + listenerMAC, using: key("dialer"))
    }

    func frameKeys() -> FrameKeys { FrameKeys(dialerToListener: key("d→l"), listenerToDialer: key("l→d")) }
}

package import PeerCacheCore

/// The dialer's side: send ``hello``, read one answer, send the finish it gives. Frames may follow the finish at once.
package struct DialerHandshake: Sendable {
    /// 128 bytes to send first.
    package var hello: [UInt8] { message.bytes }

    private let configuration: HandshakeConfiguration
    private let message: HelloMessage
    private let expected: PeerID
    private let entropy: HandshakeEntropy
    private var isEnded = false

    /// - Parameters:
    ///   - expecting: who should be at this address; nil for anybody. Another peer is not an error: ``HandshakeResult/isExpected``.
    ///   - entropy: from the operating system; tests pass their own.
    package init(
        _ configuration: HandshakeConfiguration, expecting: PeerID?, entropy source: HandshakeEntropy.Source = HandshakeEntropy.system
    ) {
        self.configuration = configuration
        let candidate = configuration.candidates[0]
        entropy = source(!configuration.isInsecure)
        expected = expecting ?? .none
        message = HelloMessage(
            versions: configuration.versions, role: configuration.role, ciphers: configuration.ciphers, keyID: candidate.keyID,
            clusterTag: candidate.clusterTag, nonce: entropy.nonce, publicKey: entropy.publicKey, id: configuration.me, expected: expected)
    }

    /// Checks the listener's proof. One answer per handshake: a second call throws `.outOfOrder`, whatever the first one gave.
    /// - Parameter bytes: 128 bytes as received.
    /// - Returns: 32 bytes to send, and who is at the other end.
    /// - Throws: ``HandshakeError``; send nothing more and close.
    /// - Complexity: one X25519 agreement and seven HMACs; no waiting.
    package mutating func handle(answer bytes: [UInt8]) throws(HandshakeError) -> (finish: [UInt8], result: HandshakeResult) {
        guard !isEnded else { throw .outOfOrder }
        isEnded = true
        guard let answer = AnswerMessage(bytes) else { throw .malformed }
        guard answer.status == AnswerMessage.accepted else {
            throw HandshakeRefusal(rawValue: answer.status).map(HandshakeError.refused) ?? .malformed
        }
        let candidate = configuration.candidates[0]
        guard answer.keyID == candidate.keyID, answer.id != .none, configuration.versions.contains(answer.version),
            answer.cipher.rawValue.nonzeroBitCount <= 1, configuration.ciphers.isSuperset(of: answer.cipher)
        else { throw .malformed }
        let proof = try prove(answer, candidate)
        let result = HandshakeResult(
            peer: answer.id, role: .peer, version: answer.version, cipher: answer.cipher,
            isExpected: expected == .none || expected == answer.id, frameKeys: proof.keys)
        return (proof.finish, result)
    }

    private func prove(
        _ answer: AnswerMessage, _ candidate: HandshakeConfiguration.Candidate
    ) throws(HandshakeError) -> (finish: [UInt8], keys: FrameKeys?) {
        guard !configuration.isInsecure else {
            guard answer.mac.isZero, answer.publicKey.isZero else { throw .wrongProof }
            return ([UInt8](repeating: 0, count: HandshakeSize.finish), nil)
        }
        guard let privateKey = entropy.privateKey else { throw .malformed }
        let schedule = try HandshakeSchedule(
            secret: candidate.secret, cluster: configuration.cluster, hello: message, answer: answer, privateKey: privateKey,
            publicKey: answer.publicKey)
        guard schedule.isListenerMAC(answer.mac) else { throw .wrongProof }
        return (schedule.dialerMAC(after: answer.mac), schedule.frameKeys())
    }
}

extension Collection<UInt8> {
    /// For bytes that are no secret: stops at the first difference.
    var isZero: Bool { allSatisfy { $0 == 0 } }
}

internal import PeerCacheCore

/// What to do about a hello.
package enum ListenerStep: Sendable, Hashable {
    /// Send these 128 bytes and wait for the finish.
    case answer([UInt8])
    /// Send these 128 bytes and close.
    case refuse([UInt8], HandshakeRefusal)
    /// Close without a word.
    case close(HandshakeError)
}

/// The listener's side: read one hello, answer, read one finish. Until that has been checked, no other byte of the connection is looked at.
package struct ListenerHandshake: Sendable {
    private let configuration: HandshakeConfiguration
    private let entropy: HandshakeEntropy.Source
    private var state = State.waitingForHello

    private enum State: Sendable {
        case waitingForHello
        /// `schedule` is nil in an insecure handshake.
        case waitingForFinish(HandshakeSchedule?, mac: ArraySlice<UInt8>, HandshakeResult)
        case ended
    }

    /// - Parameter entropy: from the operating system; tests pass their own. Asked once, after the hello has passed the free checks.
    package init(_ configuration: HandshakeConfiguration, entropy: @escaping HandshakeEntropy.Source = HandshakeEntropy.system) {
        self.configuration = configuration
        self.entropy = entropy
    }

    /// Whether answering costs key agreements, which the caller rations.
    package var needsAgreement: Bool { !configuration.isInsecure }

    /// What comes of a hello before any X25519 work: a refusal, or nil when it deserves the work. Ask this before the limiter of agreements per
    /// second, so that who does not even know the key id cannot use it up.
    /// - Complexity: a few comparisons; allocates only for a refusal.
    package func refusal(of bytes: [UInt8]) -> ListenerStep? {
        switch screen(bytes) {
        case .success: nil
        case .failure(.refused(let reason)): .refuse(AnswerMessage(refusal: reason).bytes, reason)
        case .failure(let error): .close(error)
        }
    }

    /// Answers a hello. One per handshake: a second call closes.
    /// - Parameter bytes: 128 bytes as received.
    /// - Complexity: refused: as ``refusal(of:)``. Else two X25519 operations and six HMACs.
    package mutating func handle(hello bytes: [UInt8]) -> ListenerStep {
        guard case .waitingForHello = state else {
            state = .ended
            return .close(.outOfOrder)
        }
        state = .ended
        switch screen(bytes) {
        case .failure(.refused(let reason)): return .refuse(AnswerMessage(refusal: reason).bytes, reason)
        case .failure(let error): return .close(error)
        case .success(let screened):
            do { return .answer(try answer(screened)) } catch { return .close(error) }
        }
    }

    /// Checks the dialer's proof. One per handshake: a second call throws `.outOfOrder`.
    /// - Parameter bytes: 32 bytes as received.
    /// - Throws: ``HandshakeError``; send nothing and close.
    package mutating func handle(finish bytes: [UInt8]) throws(HandshakeError) -> HandshakeResult {
        guard case .waitingForFinish(let schedule, let mac, let result) = state else {
            state = .ended
            throw .outOfOrder
        }
        state = .ended
        guard bytes.count == HandshakeSize.finish else { throw .malformed }
        let isProved = schedule.map { $0.isDialerMAC(bytes, after: mac) } ?? bytes.isZero
        guard isProved else { throw .wrongProof }
        return result
    }

    /// A hello that has passed the free checks.
    private struct Screened {
        let hello: HelloMessage
        let candidate: HandshakeConfiguration.Candidate
        let role: PeerRole
        let version: UInt16
    }

    private func screen(_ bytes: [UInt8]) -> Result<Screened, HandshakeError> {
        guard let hello = HelloMessage(bytes) else { return .failure(.malformed) }
        // First, so that who does not know the secret learns nothing but that. No constant time: a key id is public.
        guard let candidate = configuration.candidates.first(where: { $0.keyID == hello.keyID }) else { return .failure(.refused(.secret)) }
        guard candidate.clusterTag == hello.clusterTag else { return .failure(.refused(.cluster)) }
        let low = max(hello.versionLow, configuration.versions.lowerBound)
        let high = min(hello.versionHigh, configuration.versions.upperBound)
        guard low <= high, hello.versionLow <= hello.versionHigh else { return .failure(.refused(.version)) }
        guard hello.id != .none, let role = hello.role else { return .failure(.malformed) }
        return .success(Screened(hello: hello, candidate: candidate, role: role, version: high))
    }

    private mutating func answer(_ screened: Screened) throws(HandshakeError) -> [UInt8] {
        let hello = screened.hello
        let own = entropy(!configuration.isInsecure)
        let cipher = configuration.ciphers.chosen(from: hello.ciphers)
        var answer = AnswerMessage(
            version: screened.version, cipher: cipher, keyID: screened.candidate.keyID, nonce: own.nonce, publicKey: own.publicKey,
            id: configuration.me)
        var schedule: HandshakeSchedule?
        if configuration.isInsecure {
            guard hello.publicKey.isZero else { throw .malformed }
        } else {
            guard let privateKey = own.privateKey else { throw .malformed }
            let proved = try HandshakeSchedule(
                secret: screened.candidate.secret, cluster: configuration.cluster, hello: hello, answer: answer, privateKey: privateKey,
                publicKey: hello.publicKey)
            answer.mac = proved.listenerMAC()[...]
            schedule = proved
        }
        let result = HandshakeResult(
            peer: hello.id, role: screened.role, version: screened.version, cipher: cipher,
            isExpected: hello.expected == .none || hello.expected == configuration.me, frameKeys: schedule?.frameKeys())
        state = .waitingForFinish(schedule, mac: answer.mac, result)
        return answer.bytes
    }
}

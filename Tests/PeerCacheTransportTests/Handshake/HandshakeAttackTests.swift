import PeerCacheCore
import PeerCacheTesting
import PeerCacheTransport
import Testing

/// SEC5, SEC6, SEC7 of `SECURITY.md`.
@Suite struct HandshakeAttackTests {
    #if DEBUG
    static let rounds = 10_000
    #else
    static let rounds = 100_000
    #endif

    /// The shell decodes frames only after `handle(finish:)` returned; the spy counts how often it would have.
    @Test(arguments: [UInt64(1)])
    func sec5_randomOrCutHandshakesReachNoDecoder(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var decoderCalls = 0, dialerBelieved = 0, answers = 0
        let valid = Fixture.dialer(seed: 3).hello
        for round in 0..<Self.rounds {
            var dialer = Fixture.dialer(seed: 4), listener = Fixture.listener(seed: 5)
            // One in 32 begins with a good hello, so that the finish is tried as well; the others are random, cut, or random with a good start.
            let hello = round % 32 == 0 ? valid : Self.damaged(valid, &random)
            if let answer = listener.answer(to: hello) {
                answers += 1
                let finish = Self.bytes(random.next() % 2 == 0 ? 32 : Int(random.next() % 40), &random)
                if (try? listener.handle(finish: finish)) != nil { decoderCalls += 1 }
                if round % 64 == 0, dialer.errorOfAnswer(Self.damaged(answer, &random)) == nil { dialerBelieved += 1 }
            } else {
                if (try? listener.handle(finish: Self.bytes(32, &random))) != nil { decoderCalls += 1 }
                if dialer.errorOfAnswer(Self.damaged(hello, &random)) == nil { dialerBelieved += 1 }
            }
        }
        #expect(decoderCalls == 0 && dialerBelieved == 0, "seed \(seed)")
        #expect(answers >= Self.rounds / 32)
    }

    private static func bytes(_ count: Int, _ random: inout SeededRandom) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    /// Random, cut, lengthened, or good up to some byte. Never `good` itself.
    private static func damaged(_ good: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        let cut = Int(random.next() % UInt64(max(1, good.count)))
        switch random.next() % 4 {
        case 0: return bytes(128, &random)
        case 1: return Array(good.prefix(cut))
        case 2: return good + bytes(1 + cut, &random)
        default: return good.prefix(cut) + [~(good.dropFirst(cut).first ?? 0)] + bytes(max(0, 127 - cut), &random)
        }
    }

    @Test func sec6_replayedMessagesFail() {
        let recorded = Exchange(Fixture.dialer(seed: 1), Fixture.listener(seed: 2))
        #expect(recorded.listenerResult != nil)
        var listener = Fixture.listener(seed: 3)
        let answer = listener.answer(to: recorded.hello)  // a replayed hello is answered, under a fresh nonce and key
        #expect(answer != nil && answer != recorded.answer)
        let finish = listener.errorOfFinish(recorded.finish)
        #expect(finish == .wrongProof)
        var dialer = Fixture.dialer(seed: 4)
        let error = dialer.errorOfAnswer(recorded.answer)
        #expect(error == .wrongProof)
    }

    @Test func sec6_theDialersOwnMessagesReflectedFail() {
        var dialer = Fixture.dialer()
        let hello = dialer.hello
        let reflected = dialer.errorOfAnswer(hello)
        #expect(reflected == .malformed)
        var own = Fixture.listener(Fixture.configuration(Fixture.dialerID))  // to its own listener
        _ = own.handle(hello: hello)
        let unproved = own.errorOfFinish(Array(hello[96...]))
        #expect(unproved == .wrongProof)
        // The dialer's nonce, key and id in a well-formed answer, and the listener's MAC sent back as the finish.
        let honest = Exchange(Fixture.dialer(), Fixture.listener())
        dialer = Fixture.dialer()
        let mirrored = honest.answer.replacing(16..<48, with: hello[32..<64]).replacing(48..<80, with: hello[64..<96])
        let error = dialer.errorOfAnswer(mirrored.replacing(80..<96, with: hello[96..<112]))
        #expect(error == .wrongProof)
        let echoed = Exchange(Fixture.dialer(), Fixture.listener(), changeFinish: { _ in Array(honest.answer[96...]) })
        #expect(echoed.listenerError == .wrongProof)
    }

    @Test func sec6_halvesOfDifferentHandshakesDoNotJoin() {
        let other = Exchange(Fixture.dialer(seed: 11), Fixture.listener(seed: 12))
        let answer = Exchange(Fixture.dialer(seed: 21), Fixture.listener(seed: 22), changeAnswer: { _ in other.answer })
        #expect(answer.isSucceededNowhere && answer.dialerError == .wrongProof)
        let proof = Exchange(
            Fixture.dialer(seed: 21), Fixture.listener(seed: 22), changeAnswer: { $0.replacing(96..<128, with: other.answer[96...]) })
        #expect(proof.isSucceededNowhere && proof.dialerError == .wrongProof)
        let finish = Exchange(Fixture.dialer(seed: 21), Fixture.listener(seed: 22), changeFinish: { _ in other.finish })
        #expect(finish.listenerError == .wrongProof)
        // A peer's proof passed on by somebody between: the id in the answer is not the passer's own to change.
        let redirected = Exchange(
            Fixture.dialer(seed: 21), Fixture.listener(seed: 22),
            changeAnswer: { $0.replacing(80..<96, with: [UInt8](repeating: 7, count: 16)) })
        #expect(redirected.isSucceededNowhere)
    }

    @Test func sec6_strippedOffersFail() {
        let versions: ([UInt8]) -> [UInt8] = { $0.replacing(10..<12, with: [0, 1]) }
        let version = Exchange(Fixture.dialer(), Fixture.listener(), changeHello: versions)
        #expect(version.isSucceededNowhere && version.dialerError == .wrongProof)
        let ciphers = Exchange(Fixture.dialer(), Fixture.listener(), changeHello: { $0.replacing(13..<14, with: [0]) })
        #expect(ciphers.isSucceededNowhere && ciphers.dialerError == .wrongProof)
        let chosen = Exchange(Fixture.dialer(), Fixture.listener(), changeAnswer: { $0.replacing(3..<4, with: [0]) })
        #expect(chosen.isSucceededNowhere && chosen.dialerError == .wrongProof)
        let both = Exchange(
            Fixture.dialer(), Fixture.listener(), changeHello: versions, changeAnswer: { $0.replacing(1..<3, with: [0, 3]) })
        #expect(both.isSucceededNowhere)
    }

    /// RFC 7748 §6.1; the points of order 1, 2, 4 and 8 and their encodings above the prime, as listed in cr.yp.to/ecdh.html.
    static let lowOrderPoints: [[UInt8]] = {
        let eight: [UInt8] = [
            0xE0, 0xEB, 0x7A, 0x7C, 0x3B, 0x41, 0xB8, 0xAE, 0x16, 0x56, 0xE3, 0xFA, 0xF1, 0x9F, 0xC4, 0x6A, 0xDA, 0x09, 0x8D, 0xEB, 0x9C,
            0x32,
            0xB1, 0xFD, 0x86, 0x62, 0x05, 0x16, 0x5F, 0x49, 0xB8, 0x00,
        ]
        let otherEight: [UInt8] = [
            0x5F, 0x9C, 0x95, 0xBC, 0xA3, 0x50, 0x8C, 0x24, 0xB1, 0xD0, 0xB1, 0x55, 0x9C, 0x83, 0xEF, 0x5B, 0x04, 0x44, 0x5C, 0xC4, 0x58,
            0x1C,
            0x8E, 0x86, 0xD8, 0x22, 0x4E, 0xDD, 0xD0, 0x9F, 0x11, 0x57,
        ]
        let zero = [UInt8](repeating: 0, count: 32)
        func nearPrime(_ low: UInt8) -> [UInt8] { [low] + [UInt8](repeating: 0xFF, count: 30) + [0x7F] }
        let points = [zero, zero.replacing(0..<1, with: [1]), eight, otherEight, nearPrime(0xEC), nearPrime(0xED), nearPrime(0xEE)]
        return points + points.map { $0.flipping(bit: 255) }  // X25519 ignores the top bit
    }()

    @Test(arguments: lowOrderPoints)
    func sec6_lowOrderPointsAreRefused(point: [UInt8]) {
        let hello = Exchange(Fixture.dialer(), Fixture.listener(), changeHello: { $0.replacing(64..<96, with: point) })
        #expect(hello.listenerError == .lowOrderPoint && hello.isSucceededNowhere)
        let answer = Exchange(Fixture.dialer(), Fixture.listener(), changeAnswer: { $0.replacing(48..<80, with: point) })
        #expect(answer.dialerError == .lowOrderPoint && answer.isSucceededNowhere)
    }

    @Test func sec6_everyFlippedBitFails() {
        let honest = Exchange(Fixture.dialer(), Fixture.listener())
        var listenerAnswered = Fixture.listener()
        _ = listenerAnswered.answer(to: honest.hello)
        for bit in 0..<HandshakeSize.hello * 8 {
            let exchange = Exchange(Fixture.dialer(), Fixture.listener(), changeHello: { $0.flipping(bit: bit) })
            #expect(exchange.isSucceededNowhere, "hello bit \(bit)")
        }
        for bit in 0..<HandshakeSize.answer * 8 {
            var dialer = Fixture.dialer()
            let error = dialer.errorOfAnswer(honest.answer.flipping(bit: bit))
            #expect(error != nil, "answer bit \(bit)")
        }
        for bit in 0..<HandshakeSize.finish * 8 {
            var listener = listenerAnswered
            let error = listener.errorOfFinish(honest.finish.flipping(bit: bit))
            #expect(error == .wrongProof, "finish bit \(bit)")
        }
    }

    /// A copy of this process (a cloned machine) listens elsewhere: both ends know its id only when it is proved.
    @Test func sec6_ourOwnIdIsProvedLikeAnyOther() {
        let own = Fixture.configuration(Fixture.dialerID)
        let twin = Exchange(Fixture.dialer(), Fixture.listener(own))
        #expect(twin.dialerResult?.peer == Fixture.dialerID && twin.listenerResult?.peer == Fixture.dialerID)
        let stranger = Exchange(Fixture.dialer(), Fixture.listener(own), changeFinish: { $0.flipping(bit: 1) })
        #expect(stranger.listenerError == .wrongProof)
        let impostor = Exchange(
            Fixture.dialer(), Fixture.listener(), changeAnswer: { $0.replacing(80..<96, with: Fixture.dialer().hello[96..<112]) })
        #expect(impostor.isSucceededNowhere && impostor.dialerError == .wrongProof)
    }
}

extension ListenerStep {
    var refusal: HandshakeRefusal? {
        guard case .refuse(_, let reason) = self else { return nil }
        return reason
    }
}

import PeerCacheCore
import PeerCacheTesting
import PeerCacheTransport
import Testing

/// SEC3, SEC4, SEC7, SEC13 and SEC14 of `SECURITY.md`.
@Suite struct HandshakeRefusalTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String, dialer: HandshakeConfiguration, refusal: HandshakeRefusal
        var testDescription: String { name }
    }

    static let cases = [
        Case(name: "wrong secret", dialer: Fixture.configuration(Fixture.dialerID, Fixture.ring(Fixture.newSecret)), refusal: .secret),
        Case(name: "insecure dials secret", dialer: Fixture.configuration(Fixture.dialerID, .insecure), refusal: .secret),
        Case(name: "wrong cluster", dialer: Fixture.configuration(Fixture.dialerID, cluster: "shop2"), refusal: .cluster),
        Case(name: "no common version", dialer: Fixture.configuration(Fixture.dialerID, versions: 4...5), refusal: .version),
    ]

    @Test(arguments: cases)
    func sec7_theReasonIsToldBeforeAnyWork(refused: Case) {
        let counter = EntropyCounter()
        let listener = ListenerHandshake(Fixture.configuration(Fixture.listenerID), entropy: counter.source)
        let exchange = Exchange(Fixture.dialer(refused.dialer), listener)
        #expect(exchange.refusal == refused.refusal && exchange.dialerError == .refused(refused.refusal))
        #expect(exchange.answer == [refused.refusal.rawValue] + [UInt8](repeating: 0, count: 127))
        #expect(counter.count == 0)
        #expect(listener.refusal(of: exchange.hello) == .refuse(exchange.answer, refused.refusal))
    }

    @Test func sec7_aGoodHelloIsNotRefusedAndAWrongProofHasNoReason() {
        let hello = Fixture.dialer().hello
        #expect(Fixture.listener().refusal(of: hello) == nil)
        // The key id is public: whoever copies it gets past the screen, but not past the proof, and is told nothing.
        let thief = Fixture.dialer(Fixture.configuration(Fixture.dialerID, Fixture.ring(Fixture.newSecret)))
        var listener = Fixture.listener()
        let answer = listener.answer(to: thief.hello.replacing(16..<32, with: hello[16..<32]))
        #expect(answer?.first == 1)
        let error = listener.errorOfFinish([UInt8](repeating: 0, count: 32))
        #expect(error == .wrongProof)
    }

    @Test func sec7_secretAndInsecureNeverAcceptEachOther() {
        let secret = Fixture.configuration(Fixture.dialerID), open = Fixture.configuration(Fixture.listenerID, .insecure)
        let dialsOpen = Exchange(Fixture.dialer(secret), Fixture.listener(open))
        #expect(dialsOpen.isSucceededNowhere && dialsOpen.refusal == .secret)
        // Even when somebody on the path translates the key ids and tags.
        let secretIDs = Array(Fixture.dialer(secret).hello[16..<32])
        let openIDs = Array(Fixture.dialer(Fixture.configuration(Fixture.dialerID, .insecure)).hello[16..<32])
        let downgraded = Exchange(
            Fixture.dialer(secret), Fixture.listener(open),
            changeHello: { $0.replacing(16..<32, with: openIDs).replacing(64..<96, with: [UInt8](repeating: 0, count: 32)) },
            changeAnswer: { $0.replacing(8..<16, with: secretIDs[..<8]) })
        #expect(downgraded.isSucceededNowhere && downgraded.dialerError == .lowOrderPoint)
        let upgraded = Exchange(
            Fixture.dialer(Fixture.configuration(Fixture.dialerID, .insecure)),
            Fixture.listener(Fixture.configuration(Fixture.listenerID)),
            changeHello: { $0.replacing(16..<32, with: secretIDs) }, changeAnswer: { $0.replacing(8..<16, with: openIDs[..<8]) })
        #expect(upgraded.isSucceededNowhere && upgraded.listenerError == .lowOrderPoint)
    }

    @Test func sec7_unknownRolesAndSizesAreClosedWithoutAWord() {
        let hello = Fixture.dialer().hello
        for bad in [[], Array(hello.dropLast()), hello + [0], hello.flipping(bit: 0), hello.replacing(12..<13, with: [9])] {
            var listener = Fixture.listener()
            let step = listener.handle(hello: bad)
            #expect(step == .close(.malformed))
        }
        for status: UInt8 in [0, 6, 255] {
            var dialer = Fixture.dialer()
            let error = dialer.errorOfAnswer([status] + [UInt8](repeating: 0, count: 127))
            #expect(error == .malformed)
        }
    }

    @Test func sec13_rotationKeepsEveryPairTalking() {
        let old = Fixture.oldSecret, new = Fixture.newSecret
        let steps = [
            Fixture.ring(old), Fixture.ring(old, accepting: [new]), Fixture.ring(new, accepting: [old]), Fixture.ring(new),
        ]
        for (earlier, later) in zip(steps, steps.dropFirst()) {
            for (dialer, listener) in [(earlier, later), (later, earlier), (later, later)] {
                let exchange = Exchange(
                    Fixture.dialer(Fixture.configuration(Fixture.dialerID, dialer)),
                    Fixture.listener(Fixture.configuration(Fixture.listenerID, listener)))
                #expect(exchange.dialerResult != nil && exchange.listenerResult != nil)
            }
        }
        let skipped = Exchange(
            Fixture.dialer(Fixture.configuration(Fixture.dialerID, steps[3])),
            Fixture.listener(Fixture.configuration(Fixture.listenerID, steps[0])))
        #expect(skipped.refusal == .secret)
    }

    @Test func sec14_theHashKeySurvivesARotation() throws {
        let first = Array("an old secret of 32 random bytes".utf8)
        let before = try HashKey(nil, security: Fixture.ring(Fixture.oldSecret), cluster: "shop")
        for security in [Fixture.ring(Fixture.oldSecret, accepting: [Fixture.newSecret]), Fixture.ring(Fixture.newSecret), .insecure] {
            let during = try HashKey(first, security: security, cluster: "shop")
            #expect(during.fingerprint == before.fingerprint)
            for key in ["", "a", "user:17"] {
                #expect(hash(key, during.hashSecret(cache: "users")) == hash(key, before.hashSecret(cache: "users")))
            }
        }
        #expect(throws: SecurityConfigurationError.self) {
            try HashKey(nil, security: Fixture.ring(Fixture.newSecret, accepting: [Fixture.oldSecret]), cluster: "shop")
        }
        #expect(throws: SecurityConfigurationError.self) { try HashKey([1, 2, 3], security: .insecure, cluster: "shop") }
    }

    @Test func hashSecretsDifferByCacheClusterAndKey() throws {
        let users = try HashKey(nil, security: Fixture.ring(Fixture.oldSecret), cluster: "shop")
        let others = [
            try HashKey(nil, security: Fixture.ring(Fixture.oldSecret), cluster: "shop2"),
            try HashKey(nil, security: Fixture.ring(Fixture.newSecret), cluster: "shop"),
            try HashKey(nil, security: .insecure, cluster: "shop"),
        ]
        let reference = hash("k", users.hashSecret(cache: "users"))
        #expect(reference != hash("k", users.hashSecret(cache: "orders")))
        for other in others {
            #expect(other.fingerprint != users.fingerprint && hash("k", other.hashSecret(cache: "users")) != reference)
        }
    }

    private func hash(_ key: String, _ secret: HashSecret) -> UInt64 { Array(key.utf8).withUnsafeBytes { secret.hash($0) } }

    @Test func sec3_shortSecretsAreRefusedWithTheReason() {
        let error = #expect(throws: SecurityConfigurationError.self) { try ClusterSecret("fifteen letters") }
        #expect(error?.message.contains("15 bytes") == true && error?.message.contains("letters") == false)
        #expect(throws: Never.self) { try ClusterSecret("sixteen letters!") }
        #expect(throws: SecurityConfigurationError.self) {
            try KeyRing(current: Fixture.oldSecret, accepting: [ClusterSecret](repeating: Fixture.newSecret, count: 4))
        }
        for cluster in ["", String(repeating: "x", count: 129)] {
            #expect(throws: SecurityConfigurationError.self) {
                try HandshakeConfiguration(cluster: cluster, security: .insecure, me: Fixture.dialerID)
            }
        }
        #expect(throws: SecurityConfigurationError.self) { try HandshakeConfiguration(cluster: "a", security: .insecure, me: .none) }
    }

    @Test func sec4_noDescriptionShowsASecret() throws {
        let text = "an old secret of 32 random bytes", listing = Array(text.utf8).map(String.init).joined(separator: ", ").prefix(40)
        var listener = Fixture.listener()
        _ = listener.answer(to: Fixture.dialer().hello)
        let exchange = Exchange(Fixture.dialer(), Fixture.listener())
        let hashKey = try HashKey(nil, security: Fixture.ring(Fixture.oldSecret), cluster: "shop")
        let configuration = Fixture.configuration(Fixture.dialerID)
        let keys = try #require(exchange.dialerResult?.frameKeys)
        let derived = keys.dialerToListener.testBytes.map(String.init).joined(separator: ", ")
        let things: [Any] = [
            Fixture.oldSecret, Fixture.ring(Fixture.oldSecret), configuration, Fixture.dialer(), listener, exchange, hashKey,
            hashKey.hashSecret(cache: "users"),
        ]
        for thing in things {
            var dumped = ""
            dump(thing, to: &dumped)
            for shown in ["\(thing)", String(reflecting: thing), dumped] {
                #expect(!shown.contains(text) && !shown.contains(listing) && !shown.contains(derived))
                #expect(!shown.contains("SecureBytes") && !shown.contains("PrivateKey"))
            }
        }
    }
}

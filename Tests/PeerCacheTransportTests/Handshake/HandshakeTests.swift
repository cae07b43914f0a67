import Crypto
import PeerCacheCore
import PeerCacheTesting
import PeerCacheTransport
import Testing

/// What a handshake between honest peers gives.
@Suite struct HandshakeTests {
    @Test func bothSidesAgree() throws {
        let exchange = Exchange(
            Fixture.dialer(Fixture.configuration(Fixture.dialerID, role: .observer, versions: 2...7)),
            Fixture.listener(Fixture.configuration(Fixture.listenerID, versions: 1...5)))
        let dialer = try #require(exchange.dialerResult), listener = try #require(exchange.listenerResult)
        #expect(dialer.peer == Fixture.listenerID && listener.peer == Fixture.dialerID)
        #expect(dialer.role == .peer && listener.role == .observer)
        #expect(dialer.version == 5 && listener.version == 5)
        #expect(dialer.cipher == .aes256GCM && listener.cipher == .aes256GCM)
        #expect(dialer.isExpected && listener.isExpected)
        let ours = try #require(dialer.frameKeys), theirs = try #require(listener.frameKeys)
        #expect(ours.dialerToListener == theirs.dialerToListener && ours.listenerToDialer == theirs.listenerToDialer)
        #expect(ours.dialerToListener != ours.listenerToDialer && ours.dialerToListener.bitCount == 256)
        #expect(exchange.hello.count == HandshakeSize.hello && exchange.answer.count == HandshakeSize.answer)
        #expect(exchange.finish.count == HandshakeSize.finish)
    }

    @Test func theSystemsRandomnessGivesFreshNoncesAndKeys() {
        let configuration = Fixture.configuration(Fixture.dialerID)
        let first = DialerHandshake(configuration, expecting: nil).hello, second = DialerHandshake(configuration, expecting: nil).hello
        #expect(first[..<32] == second[..<32])
        #expect(first[32..<64] != second[32..<64] && first[64..<96] != second[64..<96])
        let listener = ListenerHandshake(Fixture.configuration(Fixture.listenerID))
        #expect(Exchange(DialerHandshake(configuration, expecting: nil), listener).listenerResult != nil)
    }

    @Test func anotherPeerAtTheAddressIsProvedAndMarked() throws {
        let exchange = Exchange(Fixture.dialer(expecting: PeerID(high: 7, low: 7)), Fixture.listener())
        let dialer = try #require(exchange.dialerResult), listener = try #require(exchange.listenerResult)
        #expect(!dialer.isExpected && !listener.isExpected && dialer.peer == Fixture.listenerID)
        let anybody = Exchange(Fixture.dialer(expecting: nil), Fixture.listener())
        #expect(anybody.dialerResult?.isExpected == true && anybody.listenerResult?.isExpected == true)
    }

    @Test(
        arguments: [
            (1...1, 1...1, 1), (1...2, 2...3, 2), (1...9, 3...5, 5), (3...5, 1...9, 5), (0...UInt16.max, 4...4, 4), (1...1, 2...2, nil),
            (5...6, 1...4, nil),
        ] as [(ClosedRange<UInt16>, ClosedRange<UInt16>, UInt16?)])
    func theHighestCommonVersionIsUsed(dialer: ClosedRange<UInt16>, listener: ClosedRange<UInt16>, expected: UInt16?) {
        let exchange = Exchange(
            Fixture.dialer(Fixture.configuration(Fixture.dialerID, versions: dialer)),
            Fixture.listener(Fixture.configuration(Fixture.listenerID, versions: listener)))
        #expect(exchange.dialerResult?.version == expected && exchange.listenerResult?.version == expected)
        #expect(exchange.refusal == (expected == nil ? .version : nil))
    }

    @Test(
        arguments: [
            ([], [.aes256GCM], []), ([.aes256GCM], [], []), ([.chaChaPoly], [.aes256GCM], []),
            ([.chaChaPoly, .aes256GCM], [.chaChaPoly], .chaChaPoly), ([.chaChaPoly, .aes256GCM], [.chaChaPoly, .aes256GCM], .aes256GCM),
            (FrameCiphers(rawValue: 0xFF), [.chaChaPoly], .chaChaPoly),
        ] as [(FrameCiphers, FrameCiphers, FrameCiphers)])
    func oneCommonCipherIsChosenOrNone(dialer: FrameCiphers, listener: FrameCiphers, expected: FrameCiphers) {
        let exchange = Exchange(
            Fixture.dialer(Fixture.configuration(Fixture.dialerID, ciphers: dialer)),
            Fixture.listener(Fixture.configuration(Fixture.listenerID, ciphers: listener)))
        #expect(exchange.dialerResult?.cipher == expected && exchange.listenerResult?.cipher == expected)
    }

    @Test func insecurePeersProveNothingAndGetNoKeys() throws {
        let exchange = Exchange(
            Fixture.dialer(Fixture.configuration(Fixture.dialerID, .insecure)),
            Fixture.listener(Fixture.configuration(Fixture.listenerID, .insecure)))
        let dialer = try #require(exchange.dialerResult), listener = try #require(exchange.listenerResult)
        #expect(dialer.peer == Fixture.listenerID && listener.peer == Fixture.dialerID)
        #expect(dialer.frameKeys == nil && listener.frameKeys == nil)
        #expect(exchange.finish == [UInt8](repeating: 0, count: 32))
        #expect(exchange.hello[64..<96].allSatisfy { $0 == 0 } && exchange.answer[96...].allSatisfy { $0 == 0 })
        let otherCluster = Exchange(
            Fixture.dialer(Fixture.configuration(Fixture.dialerID, .insecure, cluster: "shop2")),
            Fixture.listener(Fixture.configuration(Fixture.listenerID, .insecure)))
        #expect(otherCluster.refusal == .cluster)
    }

    /// Computed from `SECURITY.md` §3 by a second implementation; changes only with the wire.
    @Test func theBytesOnTheWireAreFixed() throws {
        let exchange = Exchange(Fixture.dialer(), Fixture.listener())
        let keys = try #require(exchange.listenerResult?.frameKeys)
        #expect(digest(exchange.hello) == "8abc61b41dfae3a4")
        #expect(digest(exchange.answer) == "39bf5d5dccabb21e")
        #expect(digest(exchange.finish) == "4497749c1d983bc9")
        #expect(digest(keys.dialerToListener.testBytes + keys.listenerToDialer.testBytes) == "e31291da134fc46b")
    }

    private func digest(_ bytes: [UInt8]) -> String {
        SHA256.hash(data: bytes).prefix(8).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    @Test func everySecondMessageIsOutOfOrder() {
        var dialer = Fixture.dialer(), listener = Fixture.listener()
        let tooEarly = listener.errorOfFinish([UInt8](repeating: 0, count: 32))
        #expect(tooEarly == .outOfOrder)
        #expect(listener.answer(to: dialer.hello) == nil)  // a finish before the hello ends it
        listener = Fixture.listener()
        let answer = listener.answer(to: dialer.hello) ?? []
        let second = listener.handle(hello: dialer.hello)
        #expect(second == .close(.outOfOrder))
        let finish = (try? dialer.handle(answer: answer))?.finish ?? []
        let afterwards = listener.errorOfFinish(finish), again = dialer.errorOfAnswer(answer)
        #expect(afterwards == .outOfOrder && again == .outOfOrder)
    }
}

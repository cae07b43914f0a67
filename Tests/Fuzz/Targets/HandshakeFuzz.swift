import PeerCacheCore
import PeerCacheTransport

/// Messages of a handshake in any order and with any change, both roles: nothing traps, and nobody who does not know the secret gets through.
enum HandshakeFuzz {
    private static let dialerID = PeerID(high: 1, low: 2), listenerID = PeerID(high: 3, low: 4)

    private struct Sides {
        let dialer: HandshakeConfiguration, listener: HandshakeConfiguration
        let isInsecure: Bool

        init(_ dialerSecurity: HandshakeSecurity, _ listenerSecurity: HandshakeSecurity, isInsecure: Bool) throws {
            dialer = try HandshakeConfiguration(cluster: "fuzz", security: dialerSecurity, me: HandshakeFuzz.dialerID, ciphers: .aes256GCM)
            listener = try HandshakeConfiguration(
                cluster: "fuzz", security: listenerSecurity, me: HandshakeFuzz.listenerID, ciphers: .aes256GCM)
            self.isInsecure = isInsecure
        }
    }

    private static let sides: [Sides] = {
        do {
            let secret = HandshakeSecurity.sharedSecret(try KeyRing(current: ClusterSecret("a secret for fuzzing only")))
            return [
                try Sides(.insecure, .insecure, isInsecure: true), try Sides(secret, secret, isInsecure: false),
                try Sides(.insecure, secret, isInsecure: true), try Sides(secret, .insecure, isInsecure: true),
            ]
        } catch { fatalError("\(error)") }
    }()

    static func run(_ input: FuzzInput) {
        var input = input
        let side = sides[Int(input.byte()) % sides.count]
        var dialer = DialerHandshake(side.dialer, expecting: input.byte() & 1 == 0 ? nil : listenerID, entropy: entropy(input.number()))
        var listener = ListenerHandshake(side.listener, entropy: entropy(input.number()))
        var answer: [UInt8] = [], finish: [UInt8] = []
        var isHelloChanged = false, isAnswerChanged = false
        var dialerResult: HandshakeResult?, listenerResult: HandshakeResult?
        for _ in 0..<6 {
            let step = input.byte()
            switch step & 3 {
            case 0:
                let hello = changed(dialer.hello, by: step, &input)
                _ = listener.refusal(of: hello)
                if case .answer(let bytes) = listener.handle(hello: hello) {
                    answer = bytes
                    isHelloChanged = hello != dialer.hello
                }
            case 1:
                let bytes = changed(answer, by: step, &input)
                isAnswerChanged = bytes != answer
                if let (proof, result) = try? dialer.handle(answer: bytes) {
                    finish = proof
                    dialerResult = result
                    require(side.isInsecure || !(isHelloChanged || isAnswerChanged), "the dialer believes a changed handshake")
                }
            case 2:
                let bytes = changed(finish, by: step, &input)
                if let result = try? listener.handle(finish: bytes) {
                    listenerResult = result
                    require(
                        side.isInsecure || (!isHelloChanged && bytes == finish && !finish.isEmpty),
                        "the listener believes a changed handshake")
                }
            default: break
            }
        }
        if let dialerResult, !side.isInsecure { require(dialerResult.peer == listenerID && dialerResult.frameKeys != nil, "dialer") }
        if let listenerResult, !side.isInsecure { require(listenerResult.peer == dialerID && listenerResult.frameKeys != nil, "listener") }
    }

    private static func changed(_ message: [UInt8], by step: UInt8, _ input: inout FuzzInput) -> [UInt8] {
        var message = message
        switch step >> 2 & 3 {
        case 0: break
        case 1: if !message.isEmpty { message[Int(input.byte()) % message.count] ^= input.byte() }
        case 2: message = input.block()
        default: message = Array(message.prefix(Int(input.byte())))
        }
        return message
    }

    private static func entropy(_ seed: UInt64) -> HandshakeEntropy.Source {
        { withKey in
            var generator = Counter(value: seed)
            return HandshakeEntropy(using: &generator, withKey: withKey)
        }
    }

    private struct Counter: RandomNumberGenerator {
        var value: UInt64
        mutating func next() -> UInt64 {
            value = value &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return value
        }
    }
}

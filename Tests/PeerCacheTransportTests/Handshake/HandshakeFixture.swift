import Crypto
import PeerCacheCore
import PeerCacheTesting
import PeerCacheTransport
import Synchronization

/// Configurations and a network of two for handshake tests.
enum Fixture {
    static let dialerID = PeerID(high: 0xD1, low: 0xD2), listenerID = PeerID(high: 0xE1, low: 0xE2)
    static let oldSecret = secret("an old secret of 32 random bytes"), newSecret = secret("a new secret with 32 random bytes")

    static func secret(_ text: String) -> ClusterSecret {
        do { return try ClusterSecret(text) } catch { fatalError("\(error)") }
    }

    static func ring(_ current: ClusterSecret, accepting: [ClusterSecret] = []) -> HandshakeSecurity {
        do { return .sharedSecret(try KeyRing(current: current, accepting: accepting)) } catch { fatalError("\(error)") }
    }

    static func configuration(
        _ me: PeerID, _ security: HandshakeSecurity = ring(oldSecret), cluster: String = "shop", role: PeerRole = .peer,
        versions: ClosedRange<UInt16> = 1...3, ciphers: FrameCiphers = [.aes256GCM, .chaChaPoly]
    ) -> HandshakeConfiguration {
        do {
            return try HandshakeConfiguration(
                cluster: cluster, security: security, me: me, role: role, versions: versions, ciphers: ciphers)
        } catch { fatalError("\(error)") }
    }

    static func entropy(seed: UInt64) -> HandshakeEntropy.Source {
        { withKey in
            var random = SeededRandom(seed: seed)
            return HandshakeEntropy(using: &random, withKey: withKey)
        }
    }

    static func dialer(
        _ configuration: HandshakeConfiguration = configuration(dialerID), expecting: PeerID? = listenerID, seed: UInt64 = 1
    ) -> DialerHandshake { DialerHandshake(configuration, expecting: expecting, entropy: entropy(seed: seed)) }

    static func listener(_ configuration: HandshakeConfiguration = configuration(listenerID), seed: UInt64 = 2) -> ListenerHandshake {
        ListenerHandshake(configuration, entropy: entropy(seed: seed))
    }
}

/// Everything a handshake of two peers produced, or the first failure.
struct Exchange {
    var hello: [UInt8] = [], answer: [UInt8] = [], finish: [UInt8] = []
    var dialerResult: HandshakeResult?, listenerResult: HandshakeResult?
    var dialerError: HandshakeError?, listenerError: HandshakeError?
    var refusal: HandshakeRefusal?

    /// Neither side believes the other.
    var isSucceededNowhere: Bool { dialerResult == nil && listenerResult == nil }

    /// Runs a handshake; the closures are the attacker on the path.
    init(
        _ dialer: DialerHandshake, _ listener: ListenerHandshake, changeHello: ([UInt8]) -> [UInt8] = { $0 },
        changeAnswer: ([UInt8]) -> [UInt8] = { $0 }, changeFinish: ([UInt8]) -> [UInt8] = { $0 }
    ) {
        var dialer = dialer, listener = listener
        hello = dialer.hello
        switch listener.handle(hello: changeHello(hello)) {
        case .answer(let bytes): answer = bytes
        case .refuse(let bytes, let reason): (answer, refusal) = (bytes, reason)
        case .close(let error):
            listenerError = error
            return
        }
        do throws(HandshakeError) {
            (finish, dialerResult) = try dialer.handle(answer: changeAnswer(answer))
        } catch {
            dialerError = error
            return
        }
        do throws(HandshakeError) {
            listenerResult = try listener.handle(finish: changeFinish(finish))
        } catch {
            listenerError = error
        }
    }
}

extension ListenerHandshake {
    /// The answer, or nil when the hello was refused.
    mutating func answer(to hello: [UInt8]) -> [UInt8]? {
        guard case .answer(let bytes) = handle(hello: hello) else { return nil }
        return bytes
    }

    /// The error for a finish, or nil when it was accepted.
    mutating func errorOfFinish(_ bytes: [UInt8]) -> HandshakeError? {
        do throws(HandshakeError) {
            _ = try handle(finish: bytes)
            return nil
        } catch { return error }
    }
}

extension DialerHandshake {
    mutating func errorOfAnswer(_ bytes: [UInt8]) -> HandshakeError? {
        do throws(HandshakeError) {
            _ = try handle(answer: bytes)
            return nil
        } catch { return error }
    }
}

extension SymmetricKey {
    var testBytes: [UInt8] { withUnsafeBytes { Array($0) } }
}

extension [UInt8] {
    func flipping(bit: Int) -> [UInt8] {
        var bytes = self
        bytes[bit / 8] ^= 1 << (bit % 8)
        return bytes
    }

    func replacing(_ range: Range<Int>, with part: some Collection<UInt8>) -> [UInt8] {
        var bytes = self
        bytes.replaceSubrange(range, with: part)
        return bytes
    }
}

/// Counts X25519 keys asked for.
final class EntropyCounter: Sendable {
    private let asked = Atomic<Int>(0)
    var count: Int { asked.load(ordering: .relaxed) }
    var source: HandshakeEntropy.Source {
        { withKey in
            self.asked.add(1, ordering: .relaxed)
            return Fixture.entropy(seed: 9)(withKey)
        }
    }
}

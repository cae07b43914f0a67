internal import PeerCacheCore

/// Sizes of the three messages in bytes. Both ends read exactly this much and no more: the next byte is the first of a frame.
package enum HandshakeSize {
    package static let hello = 128
    package static let answer = 128
    package static let finish = 32
}

/// What a peer is to the others.
package enum PeerRole: UInt8, Sendable, Hashable {
    /// Holds slots and takes part in gossip.
    case peer = 1
    /// Gets, sets and removes, holds nothing, is in no member table (`SECURITY.md` SEC8).
    case observer = 2
}

/// Algorithms that can seal frames, one bit each, as offered in a hello. An answer carries the one chosen or zero.
package struct FrameCiphers: OptionSet, Sendable, Hashable {
    package var rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let aes256GCM = FrameCiphers(rawValue: 1)
    package static let chaChaPoly = FrameCiphers(rawValue: 2)

    /// The first of ours, in the order above, that the other side offers too; empty when there is none: frames are not sealed.
    func chosen(from offered: FrameCiphers) -> FrameCiphers {
        let common = intersection(offered)
        for cipher in [FrameCiphers.aes256GCM, .chaChaPoly] where common.contains(cipher) { return cipher }
        return []
    }
}

/// Why a hello was refused. Sent without proof, so it may only feed what cannot do harm when it is forged (`SECURITY.md` SEC7).
package enum HandshakeRefusal: UInt8, Sendable, Hashable {
    /// The listener does not know the key id.
    case secret = 2
    case cluster = 3
    /// The two version ranges have nothing in common.
    case version = 4
    /// The dialer's id is the listener's. Only early versions say so.
    case isSelf = 5
}

/// First message. A view of 128 bytes, all integers big-endian:
///
/// magic 8, version low 2, high 2, role 1, ciphers offered 1, zero 2, key id 8, cluster tag 8, nonce 32, X25519 key 32, id 16,
/// id expected 16 (zero: any). The zero bytes are reserved: proved like the rest, otherwise ignored, so a later version may use them.
struct HelloMessage: Sendable {
    static let magic: [UInt8] = Array("PCACHE/1".utf8)
    let bytes: [UInt8]

    /// Nil unless there are 128 bytes that begin with the magic.
    init?(_ bytes: [UInt8]) {
        guard bytes.count == HandshakeSize.hello, bytes[..<8] == Self.magic[...] else { return nil }
        self.bytes = bytes
    }

    /// - Parameters:
    ///   - nonce: 32 bytes.
    ///   - publicKey: 32 bytes; zero without a secret.
    init(
        versions: ClosedRange<UInt16>, role: PeerRole, ciphers: FrameCiphers, keyID: UInt64, clusterTag: UInt64, nonce: [UInt8],
        publicKey: [UInt8], id: PeerID, expected: PeerID
    ) {
        var bytes = Self.magic
        bytes.reserveCapacity(HandshakeSize.hello)
        bytes.append(bigEndian: versions.lowerBound)
        bytes.append(bigEndian: versions.upperBound)
        bytes += [role.rawValue, ciphers.rawValue, 0, 0]
        bytes.append(bigEndian: keyID)
        bytes.append(bigEndian: clusterTag)
        bytes += nonce
        bytes += publicKey
        bytes.append(id)
        bytes.append(expected)
        assert(bytes.count == HandshakeSize.hello)
        self.bytes = bytes
    }

    var versionLow: UInt16 { bytes.bigEndian(at: 8) }
    var versionHigh: UInt16 { bytes.bigEndian(at: 10) }
    /// Nil for a role of a later version.
    var role: PeerRole? { PeerRole(rawValue: bytes[12]) }
    var ciphers: FrameCiphers { FrameCiphers(rawValue: bytes[13]) }
    var keyID: UInt64 { bytes.bigEndian(at: 16) }
    var clusterTag: UInt64 { bytes.bigEndian(at: 24) }
    var nonce: ArraySlice<UInt8> { bytes[32..<64] }
    var publicKey: ArraySlice<UInt8> { bytes[64..<96] }
    var id: PeerID { bytes.peerID(at: 96) }
    var expected: PeerID { bytes.peerID(at: 112) }
}

/// Second message. A view of 128 bytes, all integers big-endian:
///
/// status 1 (1: accepted, else a ``HandshakeRefusal`` and 127 zeros), version 2, cipher 1, zero 4, key id 8, nonce 32, X25519 key 32, id 16,
/// MAC 32 (zero without a secret).
struct AnswerMessage: Sendable {
    static let accepted: UInt8 = 1
    static let bytesBeforeMAC = 96
    private(set) var bytes: [UInt8]

    /// Nil unless there are 128 bytes.
    init?(_ bytes: [UInt8]) {
        guard bytes.count == HandshakeSize.answer else { return nil }
        self.bytes = bytes
    }

    init(refusal: HandshakeRefusal) {
        bytes = [UInt8](repeating: 0, count: HandshakeSize.answer)
        bytes[0] = refusal.rawValue
    }

    /// An accepting answer with a MAC of zeros.
    init(version: UInt16, cipher: FrameCiphers, keyID: UInt64, nonce: [UInt8], publicKey: [UInt8], id: PeerID) {
        var bytes = [Self.accepted]
        bytes.reserveCapacity(HandshakeSize.answer)
        bytes.append(bigEndian: version)
        bytes += [cipher.rawValue, 0, 0, 0, 0]
        bytes.append(bigEndian: keyID)
        bytes += nonce
        bytes += publicKey
        bytes.append(id)
        assert(bytes.count == Self.bytesBeforeMAC)
        bytes += [UInt8](repeating: 0, count: 32)
        self.bytes = bytes
    }

    var status: UInt8 { bytes[0] }
    var version: UInt16 { bytes.bigEndian(at: 1) }
    var cipher: FrameCiphers { FrameCiphers(rawValue: bytes[3]) }
    var keyID: UInt64 { bytes.bigEndian(at: 8) }
    var nonce: ArraySlice<UInt8> { bytes[16..<48] }
    var publicKey: ArraySlice<UInt8> { bytes[48..<80] }
    var id: PeerID { bytes.peerID(at: 80) }
    var beforeMAC: ArraySlice<UInt8> { bytes[..<Self.bytesBeforeMAC] }

    /// 32 bytes.
    var mac: ArraySlice<UInt8> {
        get { bytes[Self.bytesBeforeMAC...] }
        set { bytes.replaceSubrange(Self.bytesBeforeMAC..., with: newValue) }
    }
}

extension [UInt8] {
    mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }

    mutating func append(_ id: PeerID) {
        append(bigEndian: id.high)
        append(bigEndian: id.low)
    }

    /// The caller has checked the message's size.
    fileprivate func bigEndian<Value: FixedWidthInteger & UnsignedInteger>(at offset: Int) -> Value {
        self[offset..<offset + Value.bitWidth / 8].reduce(0) { $0 << 8 | Value(truncatingIfNeeded: $1) }
    }

    fileprivate func peerID(at offset: Int) -> PeerID { PeerID(high: bigEndian(at: offset), low: bigEndian(at: offset + 8)) }
}

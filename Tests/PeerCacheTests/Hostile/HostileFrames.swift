import PeerCacheCore
import PeerCacheTesting
import PeerCacheTransport
import WireSamples

/// What a hostile peer sends over one connection after the handshake, drawn from a generator.
struct HostileBatch: Sendable {
    /// All frames, one after another.
    var bytes: [UInt8] = []
    var frameCount = 0
    /// The last frame ends the conversation: it is refused, a goodbye, or leaves the stream without frame boundaries.
    var endsConnection = false
}

/// Draws frames: valid ones with extreme fields, mutated ones, and noise.
struct HostileFrames {
    static let framesPerConnectionMax = 64
    /// Id of the request that every conversation ends with; no other has it.
    static let lastID: UInt64 = 0x5E_5E5E_5E5E

    var random: SeededRandom
    private let samples: RandomMessages
    private let decoder = WireDecoder()

    init(seed: UInt64, caches: [String], memberIDs: [PeerID]) {
        random = SeededRandom(seed: seed)
        var samples = RandomMessages()
        samples.caches = caches.map { Array($0.utf8) }
        samples.memberIDs = memberIDs
        self.samples = samples
    }

    /// Frames up to and including the first that ends the connection, so that the receiver looks at every frame that is counted.
    mutating func batch(framesMax: Int) -> HostileBatch {
        var batch = HostileBatch()
        while batch.frameCount < min(framesMax, Self.framesPerConnectionMax), !batch.endsConnection {
            let draw = random.next() % 64
            if draw == 0 {
                batch.bytes += noise()
                batch.endsConnection = true
            } else {
                let payload = payload(draw)
                guard isHarmlessElsewhere(payload) else { continue }
                batch.bytes += SampleFrame.framed(payload)
                batch.endsConnection = ends(payload)
            }
            batch.frameCount += 1
        }
        return batch
    }

    /// The frame that asks whether the peer still answers.
    static var last: [UInt8] {
        var request = OwnedRequest(kind: .readClock)
        request.id = lastID
        return SampleFrame.bytes(of: [.request(request)])
    }

    private mutating func payload(_ draw: UInt64) -> [UInt8] {
        var payload = SampleFrame.payload(of: messages(), hlc: random.next() % 4 == 0 ? samples.number(using: &random) : 0)
        switch draw {
        case 1..<32: return payload  // valid, with extreme fields
        case 32..<48: flipBits(&payload)
        case 48..<54: payload = Array(payload.prefix(index(in: payload)))
        case 54..<58: payload = payload.prefix(index(in: payload)) + SampleFrame.payload(of: messages()).suffix(index(in: payload))
        case 58..<61: setBytes(&payload)
        default: payload = noisePayload()
        }
        return payload
    }

    private mutating func messages() -> [OwnedMessage] {
        (0...Int(random.next() % 3)).map { _ in
            let message = random.next() % 256 == 0 ? samples.hello(using: &random) : samples.message(using: &random)
            // Goodbyes end conversations: fewer of them make more frames per connection.
            if case .goodbye = message, random.next() % 8 != 0 { return .cancel(id: random.next()) }
            return message
        }
    }

    private mutating func flipBits(_ payload: inout [UInt8]) {
        for _ in 0...random.next() % 4 { payload[index(in: payload)] ^= 1 << UInt8(random.next() % 8) }
    }

    /// Lengths, tags and numbers become the values around which arithmetic goes wrong.
    private mutating func setBytes(_ payload: inout [UInt8]) {
        let at = index(in: payload)
        let value = ([0, 1, 0x7F, 0x80, 0xFF] as [UInt8]).randomElement(using: &random) ?? 0
        for position in at..<min(payload.count, at + Int(1 + random.next() % 10)) { payload[position] = value }
    }

    private mutating func noisePayload() -> [UInt8] {
        (0..<Int(random.next() % 400)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    /// Bytes without frame boundaries: a length that is too long, one that promises more than comes, or random bytes.
    private mutating func noise() -> [UInt8] {
        let payload = SampleFrame.payload(of: messages())
        let lengths: [UInt32] = [UInt32(WireLimits.frameBytesMax), UInt32(WireLimits.frameBytesMax) + 1, 1 << 31, .max]
        switch random.next() % 3 {
        case 0: return withUnsafeBytes(of: (lengths.randomElement(using: &random) ?? 0).bigEndian) { Array($0) } + payload
        case 1: return Array(SampleFrame.framed(payload).dropLast(1 + index(in: payload) / 2))
        default: return noisePayload()
        }
    }

    private mutating func index(in payload: [UInt8]) -> Int { Int(random.next() % UInt64(max(1, payload.count))) }

    private func ends(_ payload: [UInt8]) -> Bool {
        guard case .success(let messages) = SampleFrame.decode(payload, with: decoder) else { return true }
        return messages.contains {
            switch $0 {
            case .hello, .goodbye: true
            default: false
            }
        }
    }

    /// A mutated address must not make the peer dial anything but a loopback port at which nobody listens.
    private func isHarmlessElsewhere(_ payload: [UInt8]) -> Bool {
        var isHarmless = true
        payload.withUnsafeBytes { bytes in
            // Also what was delivered before the frame was refused.
            try? decoder.decode(bytes) { message in
                let records: [MemberRecord] =
                    switch message {
                    case .gossip(.sync(let members, _)): members.map(\.record)
                    case .hello(let hello): [hello.record]
                    default: []
                    }
                if records.contains(where: { !$0.address.host.hasPrefix("127.0.0.") || $0.address.port > 1023 }) { isHarmless = false }
            }
        }
        return isHarmless
    }
}

import NIOCore
import PeerCacheCore
import PeerCacheTransport
import WireSamples

/// What is fuzzed. The first byte of an input chooses; `PEERCACHE_FUZZ_TARGET` fixes the choice.
enum FuzzTarget: UInt8, CaseIterable {
    case frame, samples, splitter, outbound, handshake, assembly, gossip, requestTable, slots

    func run(_ bytes: ArraySlice<UInt8>) {
        switch self {
        case .frame: Self.frame(Array(bytes))
        case .samples: Self.samples(FuzzRandom(FuzzInput(bytes)))
        case .splitter: Self.splitter(FuzzInput(bytes))
        case .outbound: Self.outbound(FuzzRandom(FuzzInput(bytes)))
        case .handshake: HandshakeFuzz.run(FuzzInput(bytes))
        case .assembly: Self.assembly(FuzzInput(bytes))
        case .gossip: GossipFuzz.run(FuzzInput(bytes))
        case .requestTable: Self.requestTable(FuzzInput(bytes))
        case .slots: SlotsFuzz.run(FuzzInput(bytes))
        }
    }

    /// Kept from input to input, as a connection keeps it from frame to frame.
    nonisolated(unsafe) private static let decoder = WireDecoder()

    /// Any bytes as a payload: memory bounded, limits kept, and what was accepted survives another round trip.
    private static func frame(_ payload: [UInt8]) {
        let result = SampleFrame.decode(payload, with: decoder)
        require(decoder.arenaBytesTaken <= WireDecoder.arenaCap(frameBytes: payload.count), "arena")
        guard case .success(let messages) = result else { return }
        for message in messages {
            switch message {
            case .request(let request):
                require(request.key.count <= WireLimits.keyBytesMax && request.cache.count <= WireLimits.cacheNameBytesMax, "lengths")
                require(request.chunkedBytes <= UInt64(WireLimits.valueBytesCeiling), "chunked")
                checkMany(request.value)
                require(RequestFlags(rawValue: request.flags).isSubset(of: .all), "flags")
            case .response(let response):
                require(response.message.count <= WireLimits.messageBytesMax, "response")
                checkMany(response.value)
            case .gossip(.sync(let members, _)): members.forEach { check($0) }
            case .hello(let record, _): check(Member(record, status: .alive))
            default: break
            }
        }
        roundTrip(messages.filter { if case .unknownRequest = $0 { false } else { true } })
    }

    /// Any value may be said to be that of a `getMany`.
    private static func checkMany(_ value: [UInt8]) {
        value.withUnsafeBytes { value in
            if let keys = WireKeys(value) {
                require(keys.count <= WireLimits.keysMax && keys.allSatisfy { $0.count <= WireLimits.keyBytesMax }, "keys")
                require(
                    keys.reduce(0) { $0 + 2 + $1.count } == value.count && keys.reduce(0) { count, _ in count + 1 } == keys.count, "sum")
            }
            var end = 0
            for range in WireItems(value).compactMap(\.value) {
                require(range.lowerBound >= end && range.upperBound <= value.count, "items")
                end = range.upperBound
            }
        }
    }

    private static func check(_ member: Member) {
        let record = member.record
        require(record.id != .none && record.incarnation > 0 && record.weight <= 1000 && record.metadata.count <= 512, "member")
        require((member.status == .dead) == (member.cause != nil), "cause")
    }

    /// Frames of other encoders may be more compact than ours, so one message at a time, as long as it fits.
    private static func roundTrip(_ messages: [OwnedMessage]) {
        for message in messages {
            let payload = SampleFrame.payload(of: [message])
            guard payload.count <= WireLimits.frameBytesMax else { continue }
            let again = SampleFrame.decode(payload)
            if case .failure(.undecodable) = again { continue }  // above the cap of memory: packed by others, not by us
            require(again == .success([message]), "round trip of \(message)")
        }
    }

    /// Valid messages: `decode(encode(x)) == x`, also with one byte changed, which must not trap.
    private static func samples(_ random: FuzzRandom) {
        var random = random
        let samples = RandomMessages()
        var messages: [OwnedMessage] = []
        while !random.isEmpty, messages.count < 8 {
            let message = random.next() % 16 == 0 ? samples.hello(using: &random) : samples.message(using: &random)
            if case .goodbye = message, messages.contains(where: { if case .goodbye = $0 { true } else { false } }) { continue }
            if case .hello = message, messages.contains(where: { if case .hello = $0 { true } else { false } }) { continue }
            messages.append(message)
        }
        var payload = SampleFrame.payload(of: messages, hlc: random.next())
        require(SampleFrame.decode(payload, with: decoder) == .success(messages.inDeliveryOrder), "round trip of \(messages)")
        payload[Int(random.next() % UInt64(payload.count))] ^= UInt8(truncatingIfNeeded: random.next())
        frame(payload)
    }

    /// A stream in two different cuts gives the same frames and the same end.
    private static func splitter(_ input: FuzzInput) {
        var input = input
        let cuts = input.bytes(16), stream = input.remaining
        func frames(_ step: (Int) -> Int) -> (frames: [[UInt8]], failed: Bool) {
            var splitter = FrameSplitter()
            var frames: [[UInt8]] = []
            var rest = stream[...], index = 0
            while !rest.isEmpty {
                let count = min(rest.count, max(1, step(index)))
                index += 1
                splitter.push(ByteBuffer(bytes: rest.prefix(count)))
                rest = rest.dropFirst(count)
                do throws(WireError) {
                    while let frame = try splitter.next() { frames.append(Array(frame.readableBytesView)) }
                } catch { return (frames, true) }
                require(splitter.pendingBytes <= WireLimits.frameBytesMax + 4, "pending")
            }
            return (frames, false)
        }
        let whole = frames { _ in .max }, cut = frames { Int(cuts.isEmpty ? 1 : cuts[$0 % cuts.count]) }
        require(whole == cut, "cuts matter")
        for frame in whole.frames { Self.frame(frame) }
    }

    /// Whatever is appended arrives, in frames that a receiver accepts.
    private static func outbound(_ random: FuzzRandom) {
        var random = random
        let samples = RandomMessages()
        var outbound = OutboundFrames(), sent: [OwnedMessage] = []
        let repeats = 1 + Int(random.next() % 64)
        while !random.isEmpty, sent.count < 10_000 {
            let message = samples.message(using: &random)
            if case .goodbye = message { continue }
            for _ in 0..<repeats {
                append(message, to: &outbound)
                sent.append(message)
            }
        }
        var splitter = FrameSplitter()
        splitter.push(outbound.take(hlc: random.next()))
        var received: [OwnedMessage] = []
        do throws(WireError) {
            while let frame = try splitter.next() {
                received += try SampleFrame.decode(Array(frame.readableBytesView), with: decoder).get()
            }
        } catch { require(false, "refused: \(error)") }
        require(splitter.pendingBytes == 0 && received.count == sent.count, "\(received.count) of \(sent.count)")
        require(Set(received) == Set(sent), "other messages")
    }

    private static func append(_ message: OwnedMessage, to outbound: inout OutboundFrames) {
        switch message {
        case .request(let request): request.withWire { outbound.append($0) }
        case .response(let response): response.withWire { outbound.append($0) }
        case .gossip(let gossip): outbound.append(gossip)
        case .taken(let chunks): outbound.append(takenChunks: chunks)
        case .cancel(let id): outbound.append(cancel: id)
        case .chunk(let id, let isResponse, let bytes):
            bytes.withUnsafeBytes { outbound.append(chunk: $0, id: id, isResponse: isResponse) }
        case .invalidation(let wire): outbound.append(wire)
        case .hello, .goodbye, .unknownRequest: break
        }
    }

    /// Headers, chunks, cancels and time in any order: bytes held stay below the limit and every complete value is whole.
    private static func assembly(_ input: FuzzInput) {
        var input = input
        var limits = ConnectionLimits()
        limits.valueBytesMax = 4096
        limits.assemblyBytesMax = 16_384
        var assembly = ValueAssembly(limits: limits)
        var now: Int64 = 0
        while !input.isEmpty {
            let step = input.byte(), id = UInt64(step >> 4), isResponse = step & 8 != 0
            switch step & 3 {
            case 0:
                let bytes = step & 4 != 0 ? input.number() : UInt64(input.byte()) * 16
                let empty = UnsafeRawBufferPointer(start: nil, count: 0)
                let header: ValueAssembly.Header =
                    isResponse ? .response(PeerResponse(status: .ok)) : .request(StoredRequest(WireRequest(kind: .set, cache: empty)))
                _ = assembly.begin(id: id, header: header, bytes: bytes, nowNanoseconds: now)
            case 1:
                let chunk = [UInt8](repeating: step, count: Int(input.byte()) * 16)
                let complete = chunk.withUnsafeBytes { try? assembly.add($0, id: id, isResponse: isResponse) }
                if let complete { require(complete.value.readableBytes <= limits.valueBytesMax && complete.id == id, "complete") }
            case 2: assembly.cancel(id: id)
            default:
                now &+= Int64(input.byte()) * 100_000_000
                assembly.expire(nowNanoseconds: now)
            }
        }
    }

    /// Ids are never given out twice while in use, and the count is right.
    private static func requestTable(_ input: FuzzInput) {
        var input = input
        var table = RequestTable<UInt64>(countMax: 8)
        var ids: [UInt64] = [], inUse: [UInt64: UInt64] = [:], waiters: UInt64 = 0, now: Int64 = 0
        while !input.isEmpty {
            let step = input.byte()
            let id = ids.isEmpty ? 0 : ids[Int(step >> 3) % ids.count]
            switch step & 7 {
            case 0, 1, 2:
                waiters += 1
                guard let new = table.insert(waiters, nowNanoseconds: now, deadlineNanoseconds: now + Int64(input.byte()))
                else { continue }
                require(new != 0 && inUse.updateValue(waiters, forKey: new) == nil, "id twice")
                ids.append(new)
            case 3, 4, 5: if let taken = table.take(id) { require(inUse.removeValue(forKey: id) == taken, "take") }
            case 6:
                now += Int64(input.byte())
                for (id, waiter) in table.takeExpired(nowNanoseconds: now, sentBefore: now - Int64(input.byte())) {
                    require(inUse.removeValue(forKey: id) == waiter, "expired")
                }
            default: _ = table.take(input.number())
            }
            require(table.count <= 8 && table.count == inUse.count, "count \(table.count), \(inUse.count)")
        }
    }
}

import NIOCore
import PeerCacheCore
import PeerCacheTesting
import PeerCacheTransport
import Testing
import WireSamples

/// A class, so that `#expect` can call it.
private final class Bench {
    private var assembly: ValueAssembly

    init(_ limits: ConnectionLimits) { assembly = ValueAssembly(limits: limits) }

    func begin(_ id: UInt64, _ header: ValueAssembly.Header, bytes: UInt64, now: Int64 = 0) -> Bool {
        assembly.begin(id: id, header: header, bytes: bytes, nowNanoseconds: now)
    }
    func add(_ chunk: [UInt8], _ id: UInt64, isResponse: Bool = false) throws -> ValueAssembly.Complete? {
        try chunk.withUnsafeBytes { try assembly.add($0, id: id, isResponse: isResponse) }
    }
    func cancel(_ id: UInt64) { assembly.cancel(id: id) }
    func expire(now: Int64) { assembly.expire(nowNanoseconds: now) }
}

@Suite struct ValueAssemblyTests {
    private let limits: ConnectionLimits = {
        var limits = ConnectionLimits()
        limits.valueBytesMax = 1000
        limits.assemblyBytesMax = 5000
        limits.assembliesMax = 3
        return limits
    }()
    private var request: ValueAssembly.Header { request(.set) }
    private func request(_ kind: RequestKind) -> ValueAssembly.Header {
        var request = OwnedRequest(kind: kind)
        (request.key, request.cache) = ([1, 2], [3])
        var header: ValueAssembly.Header?
        request.withWire { header = .request(StoredRequest($0)) }
        return header ?? .response(PeerResponse(status: .ok))
    }
    private let response = ValueAssembly.Header.response(PeerResponse(status: .ok))

    @Test func requestsAndResponsesOfOneIdAreApart() throws {
        let assembly = Bench(limits)
        #expect(assembly.begin(1, request, bytes: 3))
        #expect(assembly.begin(1, response, bytes: 2))
        #expect(!assembly.begin(1, request, bytes: 3))
        #expect(try assembly.add([1], 1) == nil)
        #expect(try assembly.add([9, 8], 1, isResponse: true)?.value == ByteBuffer(bytes: [9, 8]))
        let complete = try assembly.add([2, 3], 1)
        guard case .request(let stored)? = complete?.header, let value = complete?.value else { Issue.record("no request"); return }
        #expect(value == ByteBuffer(bytes: [1, 2, 3]))
        stored.withRequest(value: value) { request in
            #expect(OwnedMessage(.request(request)) != .cancel(id: 0))
            #expect(request.key.elementsEqual([1, 2]) && request.cache.elementsEqual([3]) && request.value.elementsEqual([1, 2, 3]))
            #expect(request.chunkedBytes == 0)
        }
        // It is over: what comes behind is ignored.
        #expect(try assembly.add([1], 1) == nil)
    }

    @Test func sizesAndCountsAreBounded() {
        let assembly = Bench(limits)
        for bytes in [0, 1001, UInt64(Int.max) + 1, .max] {
            #expect(!assembly.begin(1, request, bytes: bytes))
            #expect(!assembly.begin(1, response, bytes: bytes))
        }
        for id in 1...3 as ClosedRange<UInt64> { #expect(assembly.begin(id, request, bytes: 1000)) }
        #expect(!assembly.begin(4, request, bytes: 1))
        for id in 1...2 as ClosedRange<UInt64> { #expect(assembly.begin(id, response, bytes: 1000)) }
        #expect(!assembly.begin(3, response, bytes: 1))
        assembly.cancel(1)
        #expect(assembly.begin(4, request, bytes: 1000))
    }

    @Test func moreThanAnnouncedIsRefused() throws {
        let assembly = Bench(limits)
        #expect(assembly.begin(1, request, bytes: 3))
        #expect(try assembly.add([1, 2], 1) == nil)
        #expect(throws: WireError.badChunk) { try assembly.add([3, 4], 1) }
    }

    /// However much room the value has left.
    @Test func chunksHaveABound() throws {
        let chunkBytes = WireLimits.chunkBytes
        let assembly = Bench(ConnectionLimits())
        #expect(assembly.begin(1, request, bytes: UInt64(2 * chunkBytes)))
        #expect(try assembly.add([UInt8](repeating: 1, count: chunkBytes), 1) == nil)
        #expect(throws: WireError.badChunk) { try assembly.add([UInt8](repeating: 1, count: chunkBytes + 1), 1) }
        #expect(assembly.begin(2, request, bytes: UInt64(2 * chunkBytes)))
        #expect(throws: WireError.badChunk) { try assembly.add([UInt8](repeating: 1, count: chunkBytes + 1), 2) }
    }

    /// Chunks of any size, empty ones too, come to the value that was announced, and only then.
    @Test func emptyChunksAddNothing() throws {
        let assembly = Bench(limits)
        #expect(assembly.begin(1, request, bytes: 2))
        for _ in 0..<1000 { #expect(try assembly.add([], 1) == nil) }
        #expect(try assembly.add([7], 1) == nil)
        for _ in 0..<1000 { #expect(try assembly.add([], 1) == nil) }
        #expect(try assembly.add([8], 1)?.value == ByteBuffer(bytes: [7, 8]))
    }

    /// Only requests count: an answer was asked for, and its request has its own bound.
    @Test func aCompleteValueMakesRoom() throws {
        var limits = limits
        limits.assembliesMax = 2
        let assembly = Bench(limits)
        for id in 1...20 as ClosedRange<UInt64> { #expect(assembly.begin(id, response, bytes: 1)) }
        for id in 1...2 as ClosedRange<UInt64> { #expect(assembly.begin(id, request, bytes: 1000)) }
        #expect(!assembly.begin(3, request, bytes: 1000))
        let value = [UInt8](repeating: 5, count: 1000)
        for id in 3...50 as ClosedRange<UInt64> {
            #expect(try assembly.add(value, id - 2)?.value == ByteBuffer(bytes: value))
            #expect(assembly.begin(id, request, bytes: 1000))
            #expect(!assembly.begin(id + 1, request, bytes: 1000))
        }
    }

    /// Who gives up withdraws the own request, and nothing else under that id.
    @Test func givingUpWithdrawsNoCopyAndNoAnswer() throws {
        let assembly = Bench(limits)
        #expect(assembly.begin(1, request(.apply), bytes: 1) && assembly.begin(2, response, bytes: 1))
        #expect(assembly.begin(3, request, bytes: 1) && assembly.begin(4, request, bytes: 1))
        for id in 1...3 as ClosedRange<UInt64> { assembly.cancel(id) }
        #expect(try assembly.add([9], 1) != nil)
        #expect(try assembly.add([9], 2, isResponse: true) != nil)
        #expect(try assembly.add([9], 3) == nil)
        #expect(try assembly.add([9], 4) != nil)
    }

    /// The time runs from the announcement: bytes that drip in do not prolong it.
    @Test func whoDripsIsDropped() throws {
        let assembly = Bench(limits)
        let timeout = limits.assemblyTimeout.nanosecondsSaturating
        #expect(assembly.begin(1, request, bytes: 1000, now: 5))
        #expect(assembly.begin(2, request, bytes: 2, now: 6))
        for step in 1...10 as ClosedRange<Int64> {
            #expect(try assembly.add([1], 1) == nil)
            assembly.expire(now: 5 + timeout / 10 * step)
        }
        assembly.expire(now: 6 + timeout)
        // The other one is younger.
        #expect(try assembly.add([1, 2], 2)?.value == ByteBuffer(bytes: [1, 2]))
        #expect(try assembly.add([UInt8](repeating: 1, count: 990), 1) == nil)
    }

    @Test func theSlowAreDropped() throws {
        let assembly = Bench(limits)
        let timeout = limits.assemblyTimeout.nanosecondsSaturating
        #expect(assembly.begin(1, request, bytes: 1000))
        assembly.expire(now: timeout)
        #expect(!assembly.begin(1, request, bytes: 1, now: timeout))
        assembly.expire(now: timeout + 1)
        #expect(try assembly.add([1], 1) == nil)
        #expect(assembly.begin(1, request, bytes: 1, now: timeout + 1))
        #expect(try assembly.add([1], 1)?.value == ByteBuffer(bytes: [1]))
    }

    /// Every announced byte is given back, whatever the order: at the end the whole room is free.
    @Test(arguments: Seeds.chosen(1...30)) func roomIsGivenBack(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let assembly = Bench(limits)
        for step in 0..<500 {
            let id = random.next() % 6, isResponse = random.next() % 2 == 0
            switch random.next() % 4 {
            case 0:
                _ = assembly.begin(id, isResponse ? response : request, bytes: random.next() % 1200, now: Int64(step))
            case 1: assembly.cancel(id)
            case 2 where random.next() % 8 == 0: assembly.expire(now: Int64(step) + Int64(random.next() % 20_000_000_000))
            default: _ = try? assembly.add([UInt8](repeating: 0, count: Int(random.next() % 400)), id, isResponse: isResponse)
            }
        }
        assembly.expire(now: .max)
        for id in 1...5 as ClosedRange<UInt64> {
            #expect(assembly.begin(id, response, bytes: 1000), "PEERCACHE_SEED=\(seed)")
        }
    }
}

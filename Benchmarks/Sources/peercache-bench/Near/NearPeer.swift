import ArgumentParser
import Foundation
import Logging
import NIOCore
import PeerCache

/// A running peer without others, all of whose keys have near copies.
final class NearPeer<Value: Sendable>: Sendable {
    let cache: Cache<String, Value>
    let workload: Workload
    /// Of each thread.
    let keys: [KeyStrings]
    private let peer: CachePeer
    private let running: Task<Void, any Error>

    init(_ workload: Workload, _ codec: ValueCodec<Value>, value: (Int) -> Value) async throws {
        self.workload = workload
        var configuration = CachePeerConfiguration(cluster: "bench")
        configuration.bind = .init(host: "127.0.0.1", port: 0)
        configuration.security = .insecure
        configuration.leaveGrace = .zero
        configuration.logger.logLevel = .error  // standard output belongs to the figures
        // An eighth is for near copies: none must go.
        configuration.memory = .bytes(max(256 << 20, workload.keyCount * 400 * 8))
        let peer = try CachePeer(configuration: configuration)
        cache = peer.cache(
            "near", key: String.self, value: Value.self, codec: codec, options: CacheOptions(copies: 1, nearFor: .seconds(24 * 3600)))
        self.peer = peer
        running = Task { try await peer.run() }
        keys = workload.threads.map { _ in KeyStrings(count: workload.keyCount) }
        while peer.address == nil { try await Task.sleep(for: .milliseconds(5)) }
        for number in 0..<workload.keyCount { try await cache.set(keys[0].all[number], value(number)) }
        guard peer.snapshot().nearEntries == workload.keyCount else { throw ValidationError("the near store did not keep all keys") }
    }

    /// Reads that near copies answered.
    var nearHits: UInt64 { peer.snapshot().caches["near"]?.nearHits ?? 0 }

    func stop() async {
        running.cancel()
        _ = try? await running.value
    }
}

/// Strings of all keys, by number.
final class KeyStrings: @unchecked Sendable {  // written once, here
    let all: UnsafeBufferPointer<String>

    init(count: Int) {
        let strings = UnsafeMutableBufferPointer<String>.allocate(capacity: count)
        for number in 0..<count { strings.initializeElement(at: number, to: Workload.key(number)) }
        all = UnsafeBufferPointer(strings)
    }

    deinit { UnsafeMutableBufferPointer(mutating: all).deinitialize().deallocate() }
}

/// 100 bytes without a reference.
struct PlainValue: Sendable {
    private var head: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (1, 2, 3, 4, 5, 6)
    private var middle: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (7, 8, 9, 10, 11, 12)
    var number: UInt32

    init(_ number: Int) { self.number = UInt32(truncatingIfNeeded: number) }

    static let codec = ValueCodec<PlainValue>(
        name: "plain", encode: { ByteBuffer(repeating: 1, count: 96) + ByteBuffer(integer: $0.number) },
        decode: { buffer in
            guard let number = buffer.getInteger(at: buffer.writerIndex - 4, as: UInt32.self) else { throw ValidationError("no value") }
            return PlainValue(Int(number))
        })
}

/// One object with the same bytes.
final class ObjectValue: Sendable {
    let value: PlainValue

    init(_ value: PlainValue) { self.value = value }

    static let codec = ValueCodec<ObjectValue>(
        name: "object", encode: { try PlainValue.codec.encode($0.value) }, decode: { ObjectValue(try PlainValue.codec.decode($0)) })
}

private func + (left: ByteBuffer, right: ByteBuffer) -> ByteBuffer {
    var sum = left
    sum.writeImmutableBuffer(right)
    return sum
}

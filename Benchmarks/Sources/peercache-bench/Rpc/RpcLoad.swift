import ArgumentParser
import Dispatch
import NIOCore
import PeerCache

/// Callers that repeat one operation on random keys for a time.
struct RpcLoad: Sendable {
    enum Operation: String, CaseIterable, ExpressibleByArgument, Codable { case get, set, remove }
    enum Executor: String, CaseIterable, ExpressibleByArgument { case global, eventLoop }

    let cache: Cache<String, ByteBuffer>
    let keys: [String]
    /// Those of the calling peer.
    let eventLoops: [any EventLoop]
    let value: ByteBuffer
    let seconds: Double

    func run(_ operation: Operation, callers: Int, on executor: Executor = .global, round: Int) async throws -> LoadResult {
        try await timed(operation, callers: callers, on: executor, round: round).result
    }

    func timed(_ operation: Operation, callers: Int, on executor: Executor = .global, round: Int) async throws -> TimedLatencies {
        let cache = cache, value = value
        switch operation {
        case .get:
            return try await repeated(callers: callers, on: executor, round: round) { keys in
                guard try await cache.get(keys.next()) != nil else { throw ValidationError("a filled key had no value") }
            }
        case .set: return try await repeated(callers: callers, on: executor, round: round) { try await cache.set($0.next(), value) }
        case .remove: return try await repeated(callers: callers, on: executor, round: round) { try await cache.remove($0.next()) }
        }
    }

    /// One clock reading per operation: its end is the next one's start.
    func repeated(
        callers: Int, on executor: Executor = .global, round: Int, _ operation: @escaping @Sendable (inout KeyPicker) async throws -> Void
    ) async throws -> TimedLatencies {
        let executors: [EventLoopTaskExecutor?] = executor == .global ? [nil] : eventLoops.map { EventLoopTaskExecutor($0) }
        let start = DispatchTime.now().uptimeNanoseconds, end = start + UInt64(seconds * 1e9)
        var all = Latencies()
        try await withThrowingTaskGroup(of: Latencies.self) { group in
            for caller in 0..<callers {
                let picker = KeyPicker(keys: keys, seed: UInt64(round * 1000 + caller + 1))
                group.addTask(executorPreference: executors[caller % executors.count]) {
                    var latencies = Latencies(), picker = picker
                    var before = DispatchTime.now().uptimeNanoseconds
                    while before < end {
                        try await operation(&picker)
                        let now = DispatchTime.now().uptimeNanoseconds
                        latencies.record(now - before)
                        before = now
                    }
                    return latencies
                }
            }
            for try await latencies in group { all.add(latencies) }
        }
        return TimedLatencies(latencies: all, seconds: Double(DispatchTime.now().uptimeNanoseconds - start) / 1e9)
    }

    /// Removed keys must be there again before the next get.
    func fill() async throws { try await cache.fill(keys, value) }
}

/// Draws keys.
struct KeyPicker: Sendable {
    let keys: [String]
    private var state: UInt64

    init(keys: [String], seed: UInt64) {
        self.keys = keys
        state = seed &* 0x9E37_79B9_7F4A_7C15
    }

    /// xorshift: cheap, and good enough to pick keys.
    mutating func next() -> String {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return keys[Int(state % UInt64(keys.count))]
    }

    /// So many in a row of the list, from a random one on.
    mutating func next(_ count: Int) -> ArraySlice<String> {
        _ = next()
        let first = Int(state % UInt64(keys.count - count + 1))
        return keys[first..<first + count]
    }
}

/// Latencies and how long it took to collect them.
struct TimedLatencies: Sendable, Codable {
    var latencies: Latencies
    var seconds: Double

    var result: LoadResult { latencies.result(seconds: seconds) }

    /// What ran at the same time.
    mutating func add(_ other: TimedLatencies) {
        latencies.add(other.latencies)
        seconds = max(seconds, other.seconds)
    }
}

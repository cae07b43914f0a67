import ArgumentParser
import Dispatch
import NIOCore
import PeerCache

/// Callers that repeat one operation on random keys for a time.
struct RpcLoad {
    enum Operation: String, CaseIterable, ExpressibleByArgument { case get, set, remove }
    enum Executor: String, CaseIterable, ExpressibleByArgument { case global, eventLoop }

    let cluster: RpcCluster
    let value: ByteBuffer
    let seconds: Double

    func run(_ operation: Operation, callers: Int, on executor: Executor, round: Int) async throws -> LoadResult {
        let executors: [EventLoopTaskExecutor?] =
            executor == .global ? [nil] : cluster.eventLoops.map { EventLoopTaskExecutor($0) }
        let start = DispatchTime.now().uptimeNanoseconds, end = start + UInt64(seconds * 1e9)
        let cache = cluster.cache, keys = cluster.keys, value = value
        var all = Latencies()
        try await withThrowingTaskGroup(of: Latencies.self) { group in
            for caller in 0..<callers {
                let seed = UInt64(round * 1000 + caller + 1)
                group.addTask(executorPreference: executors[caller % executors.count]) {
                    switch operation {
                    case .get:
                        try await Self.repeating(keys, until: end, seed: seed) { key in
                            guard try await cache.get(key) != nil else { throw ValidationError("a filled key had no value") }
                        }
                    case .set: try await Self.repeating(keys, until: end, seed: seed) { try await cache.set($0, value) }
                    case .remove: try await Self.repeating(keys, until: end, seed: seed) { try await cache.remove($0) }
                    }
                }
            }
            for try await latencies in group { all.add(latencies) }
        }
        return all.result(seconds: Double(DispatchTime.now().uptimeNanoseconds - start) / 1e9)
    }

    /// Removed keys must be there again before the next get.
    func refill() async throws {
        for key in cluster.keys { try await cluster.cache.set(key, value) }
    }

    /// One clock reading per operation: its end is the next one's start.
    private static func repeating(
        _ keys: [String], until end: UInt64, seed: UInt64, _ operation: (String) async throws -> Void
    ) async throws -> Latencies {
        var latencies = Latencies(), state = seed &* 0x9E37_79B9_7F4A_7C15
        var before = DispatchTime.now().uptimeNanoseconds
        while before < end {
            // xorshift: cheap, and good enough to pick keys.
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            try await operation(keys[Int(state % UInt64(keys.count))])
            let now = DispatchTime.now().uptimeNanoseconds
            latencies.record(now - before)
            before = now
        }
        return latencies
    }
}

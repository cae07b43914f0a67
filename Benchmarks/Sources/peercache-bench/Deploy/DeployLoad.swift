import Foundation
import PeerCache
import Synchronization

/// Reads random keys at a steady rate and keeps what each second brought.
final class DeployLoad: @unchecked Sendable {  // unchecked: recorders are touched under the lock only, and read when the load has ended
    private struct State {
        var isOver = false
        var failures = 0
        var markedAt: UInt64 = .max
        var reads: [UInt64: Int] = [:]  // by second
    }
    private let cache: Cache<Int, String>
    private let keys: Int
    private let rate: Int
    private let state = Mutex(State())
    /// Since ``mark()``, and of the second after it.
    let recorder = LatencyRecorder()
    let firstSecond = LatencyRecorder()

    init(_ cache: Cache<Int, String>, keys: Int, rate: Int) {
        (self.cache, self.keys, self.rate) = (cache, keys, rate)
    }

    func mark() { state.withLock { $0.markedAt = Clock.nanoseconds } }

    func stop() { state.withLock { $0.isOver = true } }

    var failures: Int { state.withLock { $0.failures } }

    /// Loader calls per read in the worst second since ``mark()``.
    func worst(_ log: LoadLog) -> Double {
        state.withLock { state in
            state.reads.filter { $0.key >= state.markedAt / 1_000_000_000 && $0.value > rate / 4 }
                .map { Double(log.count($0.key)) / Double($0.value) }.max() ?? 0
        }
    }

    /// Reads start when they are due, however long others take.
    func run() async {
        await withDiscardingTaskGroup { group in
            let began = Clock.nanoseconds
            var started: UInt64 = 0
            while !state.withLock({ $0.isOver }) {
                let due = (Clock.nanoseconds - began) * UInt64(rate) / 1_000_000_000
                while started < due {
                    started += 1
                    let key = Int.random(in: 0..<keys)
                    group.addTask { await self.read(key) }
                }
                try? await Task.sleep(for: .milliseconds(1))
            }
        }
    }

    private func read(_ key: Int) async {
        let began = Clock.nanoseconds
        let isAnswered = (try? await cache.get(key)) != nil
        let took = Clock.nanoseconds - began
        state.withLock { state in
            state.reads[began / 1_000_000_000, default: 0] += 1
            if !isAnswered { state.failures += 1 }
            guard began >= state.markedAt else { return }
            recorder.record(took)
            if began - state.markedAt < 1_000_000_000 { firstSecond.record(took) }
        }
    }
}

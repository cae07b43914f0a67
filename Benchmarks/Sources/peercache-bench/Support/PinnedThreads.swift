import CBenchSystem
import Foundation
import Synchronization

/// What a run of threads showed.
struct ThreadResult {
    /// Per operation, of each thread.
    var nanoseconds: [Double]
    /// The same by the threads' own clocks, which stand still while a thread waits for a lock or a core.
    var used: [Double]
    var operations = 0
    /// Operations that found nothing.
    var misses = 0

    /// Mean over the threads.
    func mean(ofUsed: Bool) -> Double { (ofUsed ? used : nanoseconds).reduce(0, +) / Double(max(1, nanoseconds.count)) }
}

/// Threads that repeat something for a time, each on a core of its own.
enum PinnedThreads {
    /// - Parameter batch: does the operations of one batch of the thread with this number; returns how many they were and how many of them
    ///   found nothing.
    static func run(
        _ threads: Int, seconds: Double, batch: @escaping @Sendable (Int) -> (operations: Int, misses: Int)
    ) async -> ThreadResult {
        let meeting = Meeting(threads)
        return await withCheckedContinuation { continuation in
            for thread in 0..<threads {
                Thread.detachNewThread {
                    _ = peercache_bench_pin(Int32(core(of: thread)))
                    meeting.arrive()
                    let beginUsed = Clock.usedNanoseconds, begin = Clock.nanoseconds, end = begin + UInt64(seconds * 1e9)
                    var now = begin, operations = 0, misses = 0
                    while now < end {
                        let done = batch(thread)
                        operations += done.operations
                        misses += done.misses
                        now = Clock.nanoseconds
                    }
                    let used = Clock.usedNanoseconds - beginUsed
                    if let result = meeting.leave(thread, now - begin, used, operations, misses) {
                        continuation.resume(returning: result)
                    }
                }
            }
        }
    }

    /// Where threads begin together and add up what they did.
    private final class Meeting: Sendable {
        private let threads: Int
        private let arrived = Atomic<Int>(0)
        private let result: Mutex<(sum: ThreadResult, left: Int)>

        init(_ threads: Int) {
            self.threads = threads
            let zeros = [Double](repeating: 0, count: threads)
            result = Mutex((ThreadResult(nanoseconds: zeros, used: zeros), threads))
        }

        /// Returns when all have arrived.
        func arrive() {
            arrived.add(1, ordering: .relaxed)
            while arrived.load(ordering: .relaxed) < threads { sched_yield() }
        }

        /// - Returns: the result, for the last to leave.
        func leave(_ thread: Int, _ nanoseconds: UInt64, _ used: UInt64, _ operations: Int, _ misses: Int) -> ThreadResult? {
            result.withLock { result in
                result.sum.nanoseconds[thread] = Double(nanoseconds) / Double(max(1, operations))
                result.sum.used[thread] = Double(used) / Double(max(1, operations))
                result.sum.operations += operations
                result.sum.misses += misses
                result.left -= 1
                return result.left == 0 ? result.sum : nil
            }
        }
    }

    /// From the last core down: interrupts like the first ones.
    static func core(of thread: Int) -> Int {
        let cores = ProcessInfo.processInfo.activeProcessorCount
        return cores - 1 - thread % cores
    }
}

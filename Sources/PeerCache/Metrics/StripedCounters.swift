internal import CThreadNumber
internal import Synchronization

/// Counters that threads raise without sharing a cache line: each thread adds to the stripe of its own, a reader sums all stripes.
struct StripedCounters<Name: CaseIterable & RawRepresentable & Sendable>: Sendable where Name.RawValue == Int {
    final class Storage: Sendable {
        static var stripes: Int { 16 }
        let stride: Int
        // Safe: the pointer never changes, the memory lives as long as this object, and all access to it is atomic.
        nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>

        init(names: Int) {
            stride = (names + 15) / 16 * 16  // whole pairs of cache lines: prefetchers fetch two
            let count = stride * Self.stripes
            let raw = UnsafeMutableRawPointer.allocate(byteCount: count * 8, alignment: 128)
            words = raw.bindMemory(to: Atomic<UInt64>.self, capacity: count)
            for index in 0..<count { (words + index).initialize(to: Atomic(0)) }
        }

        /// The new value of the thread's stripe.
        @discardableResult
        @inline(__always)
        func add(_ name: Name, _ count: UInt64) -> UInt64 {
            let stripe = Int(truncatingIfNeeded: peercache_thread_number()) & (Self.stripes &- 1)
            return words[stripe &* stride &+ name.rawValue].wrappingAdd(count, ordering: .relaxed).newValue
        }

        deinit {
            words.deinitialize(count: stride * Self.stripes)
            UnsafeMutableRawPointer(words).deallocate()
        }
    }
    let storage = Storage(names: Name.allCases.count)

    /// O(1), no lock.
    func add(_ name: Name, _ count: UInt64 = 1) { storage.add(name, count) }

    /// The sum since the start. O(stripes).
    func value(_ name: Name) -> UInt64 {
        var sum: UInt64 = 0
        for stripe in 0..<Storage.stripes {
            sum &+= storage.words[stripe * storage.stride + name.rawValue].load(ordering: .relaxed)
        }
        return sum
    }
}

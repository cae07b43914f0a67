internal import CThreadNumber
internal import Synchronization

#if canImport(Darwin)
internal import Darwin
#elseif canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Lets threads read what others take apart, without a lock and without counting references: epoch-based reclamation (Fraser, "Practical
/// lock-freedom", 2004).
///
/// A reader writes the current epoch into the line of its thread, reads, and clears the line. What a writer has unlinked is marked with the
/// epoch of that moment and destroyed when no line holds that epoch or an earlier one.
struct NearReaders {
    typealias Line = UnsafeMutablePointer<Atomic<UInt64>>

    private static let lineCount = 128
    /// Two cache lines, as prefetchers fetch pairs.
    private static let lineBytes = 128

    /// The readers' lines, then one for the epoch.
    private let base: UnsafeMutableRawPointer

    init() {
        base = .allocate(byteCount: (Self.lineCount + 1) * Self.lineBytes, alignment: Self.lineBytes)
        for number in 0..<Self.lineCount { line(number).initialize(to: Atomic(0)) }
        epoch.initialize(to: Atomic(1))
    }

    func destroy() { base.deallocate() }

    @inline(__always)
    private func line(_ number: Int) -> Line { (base + number &* Self.lineBytes).assumingMemoryBound(to: Atomic<UInt64>.self) }

    @inline(__always)
    private var epoch: Line { line(Self.lineCount) }

    /// From now until ``leave(_:)`` nothing is destroyed that this thread can reach. Nil: another thread uses the same line; take a lock.
    ///
    /// Short: no suspension and no user code in between, but for copying a value.
    @inline(__always)
    func enter() -> Line? {
        let line = line(Int(truncatingIfNeeded: peercache_thread_number()) & (Self.lineCount &- 1))
        let seen = epoch.pointee.load(ordering: .acquiring)
        // In one order with the fence in `advance`: either that one sees the line, or we see what was unlinked before it.
        guard line.pointee.compareExchange(expected: 0, desired: seen, ordering: .sequentiallyConsistent).exchanged else { return nil }
        #if !arch(x86_64)
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // the exchange alone does not order later loads everywhere
        #endif
        return line
    }

    /// A fence and not a releasing store: the optimiser moves the retain of a value that was read past the latter.
    @inline(__always)
    func leave(_ line: Line) {
        atomicMemoryFence(ordering: .releasing)
        line.pointee.store(0, ordering: .relaxed)
    }

    var now: UInt64 { epoch.pointee.load(ordering: .relaxed) }

    /// Begins a new epoch. O(threads that ever read).
    /// - Returns: what was unlinked in earlier epochs than this one cannot be seen by any reader.
    func advance() -> UInt64 {
        var oldest = epoch.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        // Thread n has line n modulo their count, so as long as there are few threads, most lines were never used.
        for number in 0..<min(Self.lineCount, Int(peercache_thread_count()) + 1) {
            let seen = line(number).pointee.load(ordering: .acquiring)
            if seen != 0 { oldest = min(oldest, seen) }
        }
        return oldest
    }

    static func yield() { sched_yield() }
}

internal import Synchronization

/// The one count of bytes that all shards share. Everything is reserved here *before* it is allocated, so that the sum never exceeds
/// the limit, not even for an instant (`STORE.md` §1.1).
///
/// Relaxed atomics: the number itself is what matters, no other memory is published through it.
struct ByteBudget: ~Copyable {
    private let countedBytes: Atomic<Int>
    private let limitBytes: Atomic<Int>
    /// Share of tombstones in the count: entries and keys, without the index.
    let tombstoneBytes = Atomic<Int>(0)

    init(limit: Int) {
        countedBytes = Atomic(0)
        limitBytes = Atomic(limit)
    }

    var limit: Int { limitBytes.load(ordering: .relaxed) }
    var counted: Int { countedBytes.load(ordering: .relaxed) }

    func setLimit(_ bytes: Int) { limitBytes.store(bytes, ordering: .relaxed) }

    /// Longest value that is kept: an eighth of the limit, and what an entry's 32-bit length can say.
    var valueBytesMax: Int { min(limit / 8, Int(UInt32.max) - 4096) }

    /// Tombstones may take 5 % of the limit.
    var hasTooManyTombstones: Bool { tombstoneBytes.load(ordering: .relaxed) > limit / 20 }

    var isExceeded: Bool { counted > limit }

    /// Takes `bytes` from what is left. False, and nothing is taken, when they would exceed the limit.
    func reserve(_ bytes: Int) -> Bool {
        guard bytes > 0 else { return true }  // also above a limit that was lowered
        var seen = countedBytes.load(ordering: .relaxed)
        while true {
            let (sum, overflow) = seen.addingReportingOverflow(bytes)
            guard !overflow, sum <= limit else { return false }
            let (exchanged, original) = countedBytes.weakCompareExchange(expected: seen, desired: sum, ordering: .relaxed)
            if exchanged { return true }
            seen = original
        }
    }

    /// Takes `bytes` even above the limit. Only for what gives more back in the next moment, once the limit was lowered below the count.
    func take(_ bytes: Int) { countedBytes.wrappingAdd(bytes, ordering: .relaxed) }

    func release(_ bytes: Int) { countedBytes.wrappingSubtract(bytes, ordering: .relaxed) }
}

/// What malloc really takes for a request: for the few things that are not in the arena.
enum AllocatorClass {
    /// From here on glibc maps pages of their own.
    private static let mappedBytes = 128 << 10

    /// Bytes counted for an allocation of `bytes`: the next multiple of 16 and a header of 16, at least 32; large ones whole pages.
    static func charge(_ bytes: Int) -> Int {
        let withHeader = bytes + 16
        return bytes >= mappedBytes ? (withHeader + 4095) & ~4095 : max(32, (withHeader + 15) & ~15)
    }
}

internal import Synchronization

/// What the store knows about one page of 16 KiB. Changed by the shard that has the page, under its lock, or under the pool's.
struct PageRecord {
    /// Neighbours in the list of its class, in the pool or among the holes; 0: none.
    var next: UInt32 = 0
    var back: UInt32 = 0
    /// First free item, as offset / 8 in the page; ``none``: none but the untouched ones.
    var free: UInt16 = 0
    var used: UInt16 = 0
    /// Items that were ever handed out since the page was taken.
    var touched: UInt16 = 0
    var sizeClass: UInt8 = 0
    var isClosed = false

    static let none = UInt16.max
}

/// The memory of a store: one reservation of addresses, in pages of 16 KiB that shards take from a pool and give back.
///
/// Page n lies at base + n × 16 KiB, n ≥ 1; so offset 0 means nothing. Memory is counted before it is taken from the system. Free pages in
/// the pool count too, as they are resident.
struct Arena: ~Copyable {
    static let pageBytes = 16 << 10
    /// Counted for a page: with its record.
    static let pageCharge = pageBytes + MemoryLayout<PageRecord>.stride
    /// The most that 32-bit offsets reach.
    static let bytesMax = 32 << 30

    private struct Pool: Sendable {
        var free: UInt32 = 0
        var freeCount = 0
        /// Given back to the system.
        var holes: UInt32 = 0
        var holeCount = 0
        /// Pages 1...committed were taken once.
        var committed = 0
    }

    let base: UnsafeMutableRawPointer
    let records: UnsafeMutablePointer<PageRecord>
    /// Offsets below may be read. Rises only.
    private let readable = Atomic<Int>(0)
    private let pool = Lock(Pool())
    private let pagesMax: Int
    private let extentPages: Int
    private let memory: PageSource.Reservation
    private let recordMemory: PageSource.Reservation
    private let source: PageSource

    /// Nil when the system refuses.
    init?(bytes: Int, extentBytes: Int, source: PageSource) {
        let pages = max(1, bytes / Self.pageBytes)
        guard let memory = source.reserve(pages * Self.pageBytes) else { return nil }
        let recordBytes = ((pages + 1) * MemoryLayout<PageRecord>.stride + 4095) & ~4095
        guard let recordMemory = source.reserve(recordBytes) else {
            source.release(memory)
            return nil
        }
        guard source.commit(recordMemory.base, recordBytes) else {
            source.release(memory)
            source.release(recordMemory)
            return nil
        }
        self.memory = memory
        self.recordMemory = recordMemory
        self.source = source
        pagesMax = pages
        extentPages = extentBytes / Self.pageBytes
        base = memory.base - Self.pageBytes
        records = recordMemory.base.bindMemory(to: PageRecord.self, capacity: pages + 1)
    }

    deinit {
        source.release(memory)
        source.release(recordMemory)
    }

    /// Offsets from a page on up to here can be read without a fault, whoever has the page.
    var readableEnd: Int {
        @inline(__always) get { readable.load(ordering: .acquiring) }
    }

    /// Whether an offset that may be outdated can be followed.
    @inline(__always)
    static func contains(_ offset: Int, _ bytes: Int, _ end: Int) -> Bool { offset >= pageBytes && offset &+ bytes <= end }

    /// Pages free in the pool, and pages counted in all.
    var pageCounts: (free: Int, counted: Int) { pool.withLock { ($0.freeCount, $0.committed - $0.holeCount) } }

    // MARK: Taking and giving

    /// A page for a shard. 0: the limit leaves none, or the system has none.
    func take(_ budget: borrowing ByteBudget) -> UInt32 {
        let page = pool.withLock { pool in
            if budget.isExceeded { return UInt32(0) }
            if pool.free != 0 { return pop(&pool) }
            if pool.holes != 0 {
                guard budget.reserve(Self.pageCharge) else { return 0 }
                guard source.recommit() else {
                    budget.release(Self.pageCharge)
                    return 0
                }
                let page = pool.holes
                pool.holes = records[Int(page)].next
                pool.holeCount -= 1
                return page
            }
            return extend(&pool, budget) ? pop(&pool) : 0
        }
        // Readers of the shard that had the page must see that it dropped what they find there, before what is written now.
        atomicMemoryFence(ordering: .acquiringAndReleasing)
        return page
    }

    private func pop(_ pool: inout Pool) -> UInt32 {
        let page = pool.free
        pool.free = records[Int(page)].next
        pool.freeCount -= 1
        return page
    }

    /// Commits up to the next border of an extent, as far as the limit goes.
    private func extend(_ pool: inout Pool, _ budget: borrowing ByteBudget) -> Bool {
        var pages = min(extentPages - pool.committed % extentPages, pagesMax - pool.committed)
        while pages > 0, !budget.reserve(pages * Self.pageCharge) {
            pages = min(pages - 1, (budget.limit - budget.counted) / Self.pageCharge)
        }
        guard pages > 0 else { return false }
        let first = pool.committed + 1
        let isHuge = extentPages * Self.pageBytes >= PageSource.alignment
        guard source.commit(base + first * Self.pageBytes, pages * Self.pageBytes, huge: isHuge) else {
            budget.release(pages * Self.pageCharge)
            return false
        }
        pool.committed += pages
        readable.store((pool.committed + 1) * Self.pageBytes, ordering: .releasing)
        for page in (first..<first + pages).reversed() {
            records[page].next = pool.free
            pool.free = UInt32(page)
        }
        pool.freeCount += pages
        return true
    }

    /// Gives a page back to the pool. Nothing in it is reachable any more.
    func give(_ page: UInt32) {
        pool.withLock { pool in
            records[Int(page)].next = pool.free
            pool.free = page
            pool.freeCount += 1
        }
    }

    /// Gives free pages back to the system until `bytes` could be reserved, or none is left. With 0: until the count is within the limit.
    /// - Returns: pages given back.
    func trim(_ budget: borrowing ByteBudget, for bytes: Int = 0) -> Int {
        pool.withLock { pool in
            var trimmed = 0
            while pool.free != 0, budget.counted + bytes > budget.limit {
                let page = pop(&pool)
                let start = base + Int(page) * Self.pageBytes
                if extentPages * Self.pageBytes >= PageSource.alignment {
                    // Only where whole extents lie: a part of one was never a huge page.
                    let extent = (Int(page) - 1) / extentPages
                    source.forbidHugePages(
                        base + (extent * extentPages + 1) * Self.pageBytes, Self.extentBytes(extent, pool.committed, extentPages))
                }
                source.decommit(start, Self.pageBytes)
                records[Int(page)].next = pool.holes
                pool.holes = page
                pool.holeCount += 1
                budget.release(Self.pageCharge)
                trimmed += 1
            }
            return trimmed
        }
    }

    private static func extentBytes(_ extent: Int, _ committed: Int, _ extentPages: Int) -> Int {
        min(extentPages, committed - extent * extentPages) * pageBytes
    }
}

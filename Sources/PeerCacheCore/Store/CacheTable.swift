internal import Synchronization

/// What all shards share about one cache: its floor and its counts.
struct CacheCell: ~Copyable {
    /// Clock of the cache's floor; rises only. The origin is kept under the table's lock, as the two together do not fit in one word:
    /// it is only asked for when clocks are equal.
    let floorClock = Atomic<UInt64>(0)
    let entries = Atomic<Int>(0)
    let tombstones = Atomic<Int>(0)
    let bytes = Atomic<Int>(0)
}

/// The caches of a store, by index and by name. Cells are in pages of 64 that never move, so reading one takes no lock.
struct CacheTable: ~Copyable {
    static let cachesMax = 4096
    static let nameBytesMax = 128
    private static let perPage = 64
    private static let pageCount = cachesMax / perPage
    static let pageCharge = AllocatorClass.charge(perPage * MemoryLayout<CacheCell>.stride)
    /// Bytes counted for the directory of pages.
    static let directoryCharge = AllocatorClass.charge(pageCount * MemoryLayout<Page>.stride)

    private typealias Page = Atomic<UnsafeMutablePointer<CacheCell>?>

    private struct Names {
        var list: [String] = []
        var indices: [String: UInt16] = [:]
        /// Origin of each cache's floor.
        var floorOrigins: [UInt32] = []
    }

    private let pages: UnsafeMutablePointer<Page>
    private let names = Lock(Names())

    init() {
        pages = .allocate(capacity: Self.pageCount)
        for number in 0..<Self.pageCount { (pages + number).initialize(to: Page(nil)) }
    }

    deinit {
        for number in 0..<Self.pageCount {
            guard let page = pages[number].load(ordering: .relaxed) else { continue }
            page.deinitialize(count: Self.perPage)
            page.deallocate()
        }
        pages.deinitialize(count: Self.pageCount)
        pages.deallocate()
    }

    /// Bytes counted for a name: text, list, and its share of the dictionary while that grows.
    static func nameCharge(_ name: String) -> Int { AllocatorClass.charge(name.utf8.count + 32) + 128 }

    /// Nil when no such cache is registered. One or two loads, no lock.
    @inline(__always)
    func cell(_ cache: UInt16) -> UnsafeMutablePointer<CacheCell>? {
        guard Int(cache) < Self.cachesMax, let page = pages[Int(cache) >> 6].load(ordering: .acquiring) else { return nil }
        return page + Int(cache & 63)
    }

    enum Registration: Sendable { case index(UInt16), full, needs(bytes: Int) }

    /// The index of this name, old or new. Bytes for a new one are taken from the budget first.
    func register(_ name: String, _ budget: borrowing ByteBudget) -> Registration {
        names.withLock { names in
            if let known = names.indices[name] { return .index(known) }
            let number = names.list.count
            guard number < Self.cachesMax else { return .full }
            let needsPage = number % Self.perPage == 0
            let bytes = Self.nameCharge(name) + (needsPage ? Self.pageCharge : 0)
            guard budget.reserve(bytes) else { return .needs(bytes: bytes) }
            if needsPage {
                let page = UnsafeMutablePointer<CacheCell>.allocate(capacity: Self.perPage)
                for position in 0..<Self.perPage { (page + position).initialize(to: CacheCell()) }
                pages[number / Self.perPage].store(page, ordering: .releasing)
            }
            names.list.append(name)
            names.floorOrigins.append(0)
            names.indices[name] = UInt16(number)
            return .index(UInt16(number))
        }
    }

    func name(_ cache: UInt16) -> String? {
        names.withLock { Int(cache) < $0.list.count ? $0.list[Int(cache)] : nil }
    }

    /// Caches registered.
    var count: Int { names.withLock { $0.list.count } }

    /// Bytes counted for pages and names. O(caches).
    var charge: Int {
        names.withLock { names in
            let pages = (names.list.count + Self.perPage - 1) / Self.perPage
            return names.list.reduce(pages * Self.pageCharge) { $0 + Self.nameCharge($1) }
        }
    }

    // MARK: Floors

    /// False when the floor was as high already, or the cache is unknown.
    func raiseFloor(_ cache: UInt16, to stamp: Stamp) -> Bool {
        names.withLock { names in
            guard Int(cache) < names.list.count, let cell = cell(cache) else { return false }
            let clock = cell.pointee.floorClock.load(ordering: .relaxed)
            guard stamp > Stamp(clock: clock, origin: names.floorOrigins[Int(cache)]) else { return false }
            names.floorOrigins[Int(cache)] = stamp.origin
            cell.pointee.floorClock.store(stamp.clock, ordering: .releasing)
            return true
        }
    }

    /// The floor of a cache, ``Stamp/zero`` unless it was cleared once.
    func floor(_ cache: UInt16) -> Stamp {
        guard let cell = cell(cache) else { return .zero }
        if cell.pointee.floorClock.load(ordering: .acquiring) == 0 { return .zero }  // no cache is cleared in 1970
        return names.withLock { names in
            guard Int(cache) < names.floorOrigins.count else { return .zero }
            return Stamp(clock: cell.pointee.floorClock.load(ordering: .relaxed), origin: names.floorOrigins[Int(cache)])
        }
    }

    /// Whether an entry of this stamp is at or below its cache's floor. One load, unless the clocks are equal.
    @inline(__always)
    func isCleared(_ cache: UInt16, clock: UInt64, origin: UInt32) -> Bool {
        guard let cell = cell(cache) else { return false }
        let floorClock = cell.pointee.floorClock.load(ordering: .acquiring)
        if clock > floorClock { return false }
        return clock < floorClock || Stamp(clock: clock, origin: origin) <= floor(cache)
    }
}

internal import Synchronization

/// What all shards share about one cache: its floor and its quota.
struct CacheCell: ~Copyable {
    /// Clock of the cache's floor; rises only. The origin is kept under the table's lock, as the two together do not fit in one word:
    /// it is only asked for when clocks are equal.
    let floorClock = Atomic<UInt64>(0)
    /// Most bytes; 0: none of its own.
    let quota = Atomic<Int>(0)
    /// Whether its values begin with a ``SourceVersion``.
    let isVersioned = Atomic<Bool>(false)
}

/// What one shard holds of one cache. Written under the shard's lock only, so without an exchange; read by everybody.
struct CacheCounts: ~Copyable {
    private let entries = Atomic<Int>(0)
    private let tombstones = Atomic<Int>(0)
    private let bytes = Atomic<Int>(0)
    private let valueBytes = Atomic<Int>(0)

    /// Of these, those of values: what a quota bounds.
    var valueBytesNow: Int { valueBytes.load(ordering: .relaxed) }

    @inline(__always)
    func add(bytes more: Int, isTombstone: Bool, sign: Int) {
        bytes.store(bytes.load(ordering: .relaxed) &+ more, ordering: .relaxed)
        if isTombstone {
            tombstones.store(tombstones.load(ordering: .relaxed) &+ sign, ordering: .relaxed)
        } else {
            entries.store(entries.load(ordering: .relaxed) &+ sign, ordering: .relaxed)
            valueBytes.store(valueBytes.load(ordering: .relaxed) &+ more, ordering: .relaxed)
        }
    }

    var usage: CacheUsage {
        CacheUsage(
            entries: entries.load(ordering: .relaxed), tombstones: tombstones.load(ordering: .relaxed),
            bytes: bytes.load(ordering: .relaxed), valueBytes: valueBytesNow)
    }
}

/// The caches of a store, by index and by name. Cells are in pages of 16 that never move, so reading one takes no lock; behind the cells of
/// a page each shard has its counts in lines of its own.
struct CacheTable: ~Copyable {
    static let cachesMax = 4096
    static let nameBytesMax = 128
    private static let perPage = 16
    private static let pageCount = cachesMax / perPage
    private static let cellsBytes = perPage * MemoryLayout<CacheCell>.stride
    private static let countsBytes = perPage * MemoryLayout<CacheCounts>.stride
    /// Bytes counted for the directory of pages.
    static let directoryCharge = AllocatorClass.charge(pageCount * MemoryLayout<Page>.stride)

    private typealias Page = Atomic<UnsafeMutableRawPointer?>

    private struct Names {
        var list: [String] = []
        var indices: [String: UInt16] = [:]
        /// Origin of each cache's floor.
        var floorOrigins: [UInt32] = []
    }

    private let shards: Int
    private let pages: UnsafeMutablePointer<Page>
    private let names = Lock(Names())

    init(shards: Int) {
        self.shards = shards
        pages = .allocate(capacity: Self.pageCount)
        for number in 0..<Self.pageCount { (pages + number).initialize(to: Page(nil)) }
    }

    deinit {
        for number in 0..<Self.pageCount { pages[number].load(ordering: .relaxed)?.deallocate() }  // nothing in it needs an end
        pages.deinitialize(count: Self.pageCount)
        pages.deallocate()
    }

    private var pageBytes: Int { Self.cellsBytes + shards * Self.countsBytes }
    private var pageCharge: Int { AllocatorClass.charge(pageBytes + 64) }  // room to align it

    private func makePage() -> UnsafeMutableRawPointer {
        let page = UnsafeMutableRawPointer.allocate(byteCount: pageBytes, alignment: 64)
        let cells = page.bindMemory(to: CacheCell.self, capacity: Self.perPage)
        let counts = (page + Self.cellsBytes).bindMemory(to: CacheCounts.self, capacity: shards * Self.perPage)
        for position in 0..<Self.perPage { (cells + position).initialize(to: CacheCell()) }
        for position in 0..<shards * Self.perPage { (counts + position).initialize(to: CacheCounts()) }
        return page
    }

    /// Bytes counted for a name: text, list, and its share of the dictionary while that grows.
    static func nameCharge(_ name: String) -> Int { AllocatorClass.charge(name.utf8.count + 32) + 128 }

    @inline(__always)
    private func page(_ cache: UInt16) -> UnsafeMutableRawPointer? {
        Int(cache) < Self.cachesMax ? pages[Int(cache) / Self.perPage].load(ordering: .acquiring) : nil
    }

    /// Nil when no such cache is registered. One or two loads, no lock.
    @inline(__always)
    func cell(_ cache: UInt16) -> UnsafeMutablePointer<CacheCell>? {
        page(cache).map { $0.assumingMemoryBound(to: CacheCell.self) + Int(cache) % Self.perPage }
    }

    /// What a shard holds of the cache; nil when no such cache is registered.
    @inline(__always)
    func counts(_ cache: UInt16, shard: Int) -> UnsafeMutablePointer<CacheCounts>? {
        guard let page = page(cache) else { return nil }
        let counts = (page + Self.cellsBytes).assumingMemoryBound(to: CacheCounts.self)
        return counts + (shard &* Self.perPage &+ Int(cache) % Self.perPage)
    }

    /// Bytes of the cache's values in all shards. O(shards).
    func valueBytes(_ cache: UInt16) -> Int {
        var bytes = 0
        for shard in 0..<shards { bytes &+= counts(cache, shard: shard)?.pointee.valueBytesNow ?? 0 }
        return bytes
    }

    /// What all shards hold of the cache. O(shards).
    func usage(_ cache: UInt16) -> CacheUsage {
        var usage = CacheUsage()
        for shard in 0..<shards {
            guard let part = counts(cache, shard: shard)?.pointee.usage else { break }
            usage.entries &+= part.entries
            usage.tombstones &+= part.tombstones
            usage.bytes &+= part.bytes
            usage.valueBytes &+= part.valueBytes
        }
        return usage
    }

    enum Registration: Sendable { case index(UInt16), full, needs(bytes: Int) }

    /// The index of this name, old or new. Bytes for a new one are taken from the budget first.
    func register(_ name: String, _ budget: borrowing ByteBudget) -> Registration {
        names.withLock { names in
            if let known = names.indices[name] { return .index(known) }
            let number = names.list.count
            guard number < Self.cachesMax else { return .full }
            let needsPage = number % Self.perPage == 0
            let bytes = Self.nameCharge(name) + (needsPage ? pageCharge : 0)
            guard budget.reserve(bytes) else { return .needs(bytes: bytes) }
            if needsPage {
                pages[number / Self.perPage].store(makePage(), ordering: .releasing)
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
            return names.list.reduce(pages * pageCharge) { $0 + Self.nameCharge($1) }
        }
    }

    @inline(__always)
    func isVersioned(_ cache: UInt16) -> Bool { cell(cache)?.pointee.isVersioned.load(ordering: .relaxed) ?? false }

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

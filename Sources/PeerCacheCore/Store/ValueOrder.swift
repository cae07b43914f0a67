internal import Synchronization

/// Which value of a shard goes next, and how old the oldest is. The only place that orders values: one list set for the caches that share
/// the memory, and one for each cache with a quota.
struct ValueOrder: ~Copyable {
    /// Bytes for the ticks at which the eras began.
    static let tableBytes = 256 * MemoryLayout<UInt32>.stride
    /// Caches with a quota at a time.
    static let quotasMax = 64

    private let kind: PolicyKind
    private let isExact: Bool
    private let seed: UInt64
    private var clock = EraClock()
    /// The shared set, then those of ``owners``.
    private var sets: UnsafeMutablePointer<EvictionPolicy>
    private var owners: [UInt16] = []
    /// The set with the longest unused value, looked up again from time to time; only of interest when there are several.
    private var oldestPosition = 0
    private var looksUntilOldest = 0
    /// Sketches or ghosts got no memory the last time.
    private var isRefused = false
    private let published: ReaderEra
    private let began: UnsafeMutablePointer<UInt32>

    /// - Parameters:
    ///   - isExact: each hit moves, under ``PolicyKind/lru``.
    ///   - entriesExpected: how many there will be when memory runs out, roughly and rather too few.
    ///   - table: ``tableBytes`` zero bytes that live as long.
    init(
        _ kind: PolicyKind, isExact: Bool, seed: UInt64, entriesExpected: Int, published: ReaderEra, table: UnsafeMutableRawPointer
    ) {
        self.kind = kind
        self.isExact = isExact
        self.seed = seed
        self.published = published
        sets = .allocate(capacity: 1)
        sets.initialize(to: EvictionPolicy(kind, seed: seed, entriesExpected: entriesExpected, movesOnEveryHit: isExact))
        began = table.bindMemory(to: UInt32.self, capacity: 256)
        switch kind {
        case .lru: if isExact { published.setEachHit() }
        case .tinyLFU: published.setEachHit()
        case .s3fifo: published.setUnsaturated()
        }
    }

    /// To be called before the order goes.
    mutating func deallocate(_ memory: CountedMemory) {
        for position in 0..<setCount { sets[position].releaseMemory(memory) }
        sets.deinitialize(count: setCount)
        sets.deallocate()
    }

    // MARK: Events

    /// A value came. It is in no list.
    /// - Parameter count: values and tombstones of the shard.
    @inline(__always)
    mutating func inserted(_ handle: UInt32, explicit: Bool, count: Int, now: Tick, _ entries: EntryMemory) {
        if clock.inserted(entries: count) {
            began[Int(clock.era)] = now.value
            if kind == .lru, !isExact { published.set(clock.era) }
        }
        sets[position(handle, entries)].inserted(handle, explicit: explicit, era: clock.era, entries)
    }

    @inline(__always)
    mutating func hit(_ handle: UInt32, _ entries: EntryMemory) {
        sets[position(handle, entries)].hit(handle, era: clock.era, entries)
    }

    /// A value got another one in its place.
    mutating func replaced(_ handle: UInt32, costBefore: Int, explicit: Bool, _ entries: EntryMemory) {
        sets[position(handle, entries)].replaced(handle, costBefore: costBefore, explicit: explicit, era: clock.era, entries)
    }

    @inline(__always)
    mutating func removed(_ handle: UInt32, _ entries: EntryMemory) { sets[position(handle, entries)].removed(handle, entries) }

    mutating func moved(to handle: UInt32, _ entries: EntryMemory) { sets[position(handle, entries)].moved(to: handle, entries) }

    // MARK: Victims

    /// The value to go next, 0 when there is none but `spared`. It must go: the policy has taken its decision.
    /// - Parameter incoming: cost of the value that needs the room, 0 when memory is given away.
    @inline(__always)
    mutating func victim(incoming: Int, sparing spared: UInt32, _ entries: EntryMemory) -> UInt32 {
        owners.isEmpty
            ? sets.pointee.victim(incoming: incoming, sparing: spared, era: clock.era, entries)
            : victimOfSets(incoming: incoming, sparing: spared, entries)
    }

    /// From the set with the longest unused value: a quota is a ceiling, not a reserve.
    private mutating func victimOfSets(incoming: Int, sparing spared: UInt32, _ entries: EntryMemory) -> UInt32 {
        let first = oldestSet(entries)
        for step in 0..<setCount {
            let victim = sets[(first + step) % setCount].victim(incoming: incoming, sparing: spared, era: clock.era, entries)
            if victim != 0 { return victim }
        }
        return 0
    }

    /// The next value of this cache, 0 when it has no quota, or no value but `spared`.
    mutating func victim(of cache: UInt16, incoming: Int, sparing spared: UInt32, _ entries: EntryMemory) -> UInt32 {
        guard let owner = owners.firstIndex(of: cache) else { return 0 }
        return sets[owner + 1].victim(incoming: incoming, sparing: spared, era: clock.era, entries)
    }

    /// The set with the longest unused value, as it was up to 64 questions ago.
    private mutating func oldestSet(_ entries: EntryMemory) -> Int {
        looksUntilOldest -= 1
        if looksUntilOldest > 0, oldestPosition < setCount, sets[oldestPosition].oldest != 0 { return oldestPosition }
        looksUntilOldest = 64
        var oldest: UInt32? = nil
        for position in 0..<setCount where sets[position].oldest != 0 {
            let tick = began[Int(entries.era(sets[position].oldest))]
            if let oldest, Tick(oldest).distance(to: Tick(tick)) >= 0 { continue }
            (oldestPosition, oldest) = (position, tick)
        }
        return min(oldestPosition, setCount - 1)
    }

    /// About when the oldest value was last used; nil when there is none. Hits do not count under ``PolicyKind/s3fifo``, and a value that was
    /// left where it is for more than 16 turnovers looks younger.
    @inline(__always)
    mutating func oldestUse(_ entries: EntryMemory) -> UInt32? {
        let oldest = owners.isEmpty ? sets.pointee.oldest : sets[oldestSet(entries)].oldest
        return oldest == 0 ? nil : began[Int(entries.era(oldest))]
    }

    // MARK: Quotas

    var setCount: Int { owners.count + 1 }

    @inline(__always)
    private func position(_ handle: UInt32, _ entries: EntryMemory) -> Int {
        owners.isEmpty ? 0 : (owners.firstIndex(of: entries[handle].cache) ?? -1) + 1
    }

    /// Gives the cache a list set of its own, and moves its values there as they are.
    mutating func addSet(for cache: UInt16, _ entries: EntryMemory) {
        let larger = UnsafeMutablePointer<EvictionPolicy>.allocate(capacity: setCount + 1)
        larger.moveInitialize(from: sets, count: setCount)
        (larger + setCount).initialize(to: EvictionPolicy(kind, seed: seed &+ UInt64(cache) &+ 1, movesOnEveryHit: isExact))
        sets.deallocate()
        sets = larger
        owners.append(cache)
        move(cache, from: 0, to: setCount - 1, entries)
    }

    /// Moves the values of a cache from set to set, each into the list that corresponds to its own, in their order.
    private func move(_ cache: UInt16, from source: Int, to target: Int, _ entries: EntryMemory) {
        for list in sets[source].lists {
            var handle = list.back
            while handle != 0 {
                let next = entries[handle].newer
                if entries[handle].cache == cache {
                    sets[source].removed(handle, entries)
                    sets[target].taken(handle, queue: list.queue, entries)
                }
                handle = next
            }
        }
    }

    /// Takes it away again. Its values become the newest of the shared lists.
    mutating func removeSet(of cache: UInt16, _ memory: CountedMemory, _ entries: EntryMemory) {
        guard let owner = owners.firstIndex(of: cache) else { return }
        let (position, last) = (owner + 1, setCount - 1)
        move(cache, from: position, to: 0, entries)
        sets[position].releaseMemory(memory)
        (sets + position).deinitialize(count: 1)
        if position < last { (sets + position).moveInitialize(from: sets + last, count: 1) }
        owners.swapAt(owner, owners.count - 1)
        owners.removeLast()
    }

    func hasSet(of cache: UInt16) -> Bool { owners.contains(cache) }

    /// Bytes of the sets beside the shared one, for one more cache.
    static let setCharge = AllocatorClass.charge(MemoryLayout<EvictionPolicy>.stride)

    // MARK: Memory

    /// Whether sketches or ghosts are not of the right size.
    @inline(__always)
    var isResizeDue: Bool { kind != .lru && isSomeResizeDue }

    private var isSomeResizeDue: Bool {
        for position in 0..<setCount where sets[position].isResizeDue { return true }
        return false
    }

    /// As ``resize(_:)``, unless that got no memory: then a sweep makes room first.
    mutating func resizeUnlessRefused(_ memory: CountedMemory) {
        if !isRefused { resize(memory) }
    }

    /// The store will not be as large as was expected: tables may become as small as what is held needs.
    mutating func expectNothing() { for position in 0..<setCount { sets[position].expectNothing() } }

    /// One step for each set. False when memory was refused.
    @discardableResult
    mutating func resize(_ memory: CountedMemory) -> Bool {
        var isGranted = true
        for position in 0..<setCount where sets[position].isResizeDue {
            if !sets[position].resize(memory) { isGranted = false }
        }
        isRefused = !isGranted
        return isGranted
    }

    /// Pages of sketches and ghosts.
    var pages: Int { (0..<setCount).reduce(0) { $0 + sets[$1].pieces } }

    /// Bytes counted for their smaller parts, and for the sets of caches with a quota.
    var heapCharge: Int {
        let bytes = (0..<setCount).reduce(0) { $0 + sets[$1].bytes }
        return CountedMemory.heapCharge(bytes - pages * LineTable.pieceBytes) + owners.count * Self.setCharge
    }

    /// All lists, for the recount.
    var lists: [PolicyList] { (0..<setCount).flatMap { sets[$0].lists } }
}

extension EntryMemory: PolicyEntries {
    @inline(__always) package func hash(_ handle: UInt32) -> UInt32 { self[handle].hash }
    @inline(__always) package func cost(_ handle: UInt32) -> Int { self[handle].charge(base) }
    @inline(__always) package func newer(_ handle: UInt32) -> UInt32 { self[handle].newer }
    @inline(__always) package func older(_ handle: UInt32) -> UInt32 { self[handle].older }
    @inline(__always) package func setNewer(_ handle: UInt32, _ other: UInt32) { self[handle].newer = other }
    @inline(__always) package func setOlder(_ handle: UInt32, _ other: UInt32) { self[handle].older = other }
    @inline(__always) package func state(_ handle: UInt32) -> UInt8 { self[handle].state.bits }
    @inline(__always) package func setState(_ handle: UInt32, _ bits: UInt8, mask: UInt8) {
        let entry = self[handle]
        entry.state = EntryRef.State(bits: entry.state.bits & ~mask | bits & mask)
    }
    @inline(__always) package func era(_ handle: UInt32) -> UInt8 { self[handle].era }
    @inline(__always) package func setEra(_ handle: UInt32, _ era: UInt8) { self[handle].era = era }
}

/// Memory for sketches and ghosts, within the store's limit: whole pieces are pages of the arena, smaller ones come from the heap.
struct CountedMemory: PolicyMemory {
    let budget: UnsafeMutablePointer<ByteBudget>
    let arena: UnsafeMutablePointer<Arena>

    init(_ shared: StoreShared) {
        budget = shared.budget
        arena = shared.arena
    }

    func allocateLines(bytes: Int) -> UnsafeMutableRawPointer? {
        if bytes == Arena.pageBytes {
            let page = arena.pointee.take(budget.pointee)
            return page == 0 ? nil : arena.pointee.base + Int(page) * Arena.pageBytes
        }
        return allocate(bytes: bytes)
    }

    func allocate(bytes: Int) -> UnsafeMutableRawPointer? {
        guard budget.pointee.reserve(Self.heapCharge(bytes)) else { return nil }
        return .allocate(byteCount: bytes, alignment: LineTable.lineBytes)
    }

    func deallocateLines(_ memory: UnsafeMutableRawPointer, bytes: Int) {
        if bytes == Arena.pageBytes { return arena.pointee.give(UInt32((memory - arena.pointee.base) / Arena.pageBytes)) }
        deallocate(memory, bytes: bytes)
    }

    func deallocate(_ memory: UnsafeMutableRawPointer, bytes: Int) {
        memory.deallocate()
        budget.pointee.release(Self.heapCharge(bytes))
    }

    /// With the allocator's part. Linear, so that it can be recounted from the sum.
    static func heapCharge(_ bytes: Int) -> Int { bytes + bytes / LineTable.lineBytes }
}

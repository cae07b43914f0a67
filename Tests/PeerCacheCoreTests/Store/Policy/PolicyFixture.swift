@testable import PeerCacheCore

/// Entries in an array; position 0 is no entry.
final class PolicyTestEntries: PolicyEntries {
    struct Entry {
        var hash: UInt32, cost: Int
        var newer: UInt32 = 0, older: UInt32 = 0
        var state: UInt8 = 0, era: UInt8 = 0
    }
    var all = [Entry(hash: 0, cost: 0)]

    /// - Returns: the handle.
    func add(hash: UInt32, cost: Int = 1) -> UInt32 {
        all.append(Entry(hash: hash, cost: cost))
        return UInt32(all.count - 1)
    }

    /// Copies an entry elsewhere and destroys the old one.
    func move(_ handle: UInt32) -> UInt32 {
        all.append(all[Int(handle)])
        all[Int(handle)] = Entry(hash: 0xDEAD, cost: 0xDEAD, newer: 0xDEAD, older: 0xDEAD, state: 0xFF)
        return UInt32(all.count - 1)
    }

    func hash(_ handle: UInt32) -> UInt32 { all[Int(handle)].hash }
    func cost(_ handle: UInt32) -> Int { all[Int(handle)].cost }
    func newer(_ handle: UInt32) -> UInt32 { all[Int(handle)].newer }
    func older(_ handle: UInt32) -> UInt32 { all[Int(handle)].older }
    func setNewer(_ handle: UInt32, _ other: UInt32) { all[Int(handle)].newer = other }
    func setOlder(_ handle: UInt32, _ other: UInt32) { all[Int(handle)].older = other }
    func state(_ handle: UInt32) -> UInt8 { all[Int(handle)].state }
    func setState(_ handle: UInt32, _ bits: UInt8, mask: UInt8) { all[Int(handle)].state = all[Int(handle)].state & ~mask | bits & mask }
    func era(_ handle: UInt32) -> UInt8 { all[Int(handle)].era }
    func setEra(_ handle: UInt32, _ era: UInt8) { all[Int(handle)].era = era }

    /// The handles of a list from front to back.
    func handles(_ list: PolicyList) -> [UInt32] {
        var handles: [UInt32] = []
        var next = list.front
        while next != 0, handles.count <= all.count {
            handles.append(next)
            next = older(next)
        }
        return handles
    }

    /// What is wrong with a list, seen from its entries; empty when nothing is.
    func faults(_ list: PolicyList) -> [String] {
        let handles = handles(list)
        var faults: [String] = []
        if handles.count != list.count { faults.append("\(handles.count) entries, counted \(list.count)") }
        let cost = handles.reduce(0) { $0 + self.cost($1) }
        if cost != list.cost { faults.append("costs \(cost), counted \(list.cost)") }
        if handles.last ?? 0 != list.back { faults.append("ends with \(handles.last ?? 0), not \(list.back)") }
        for (position, handle) in handles.enumerated() {
            if newer(handle) != (position == 0 ? 0 : handles[position - 1]) { faults.append("\(handle) has a wrong newer neighbour") }
            if state(handle) & PolicyState.queueMask != list.queue { faults.append("\(handle) carries another list") }
        }
        return faults
    }
}

/// Counts what is allocated, and refuses above a limit.
final class PolicyTestMemory: PolicyMemory {
    var limit: Int
    private(set) var bytes = 0
    private var sizes: [UnsafeMutableRawPointer: Int] = [:]
    private(set) var faults: [String] = []

    init(limit: Int = .max) { self.limit = limit }

    func allocate(bytes: Int) -> UnsafeMutableRawPointer? {
        guard self.bytes + bytes <= limit else { return nil }
        self.bytes += bytes
        let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 0xA5, count: bytes)
        sizes[memory] = bytes
        return memory
    }

    func deallocate(_ memory: UnsafeMutableRawPointer, bytes: Int) {
        let known = sizes.removeValue(forKey: memory)
        if known != bytes { faults.append("gave back \(bytes) bytes of \(known ?? 0)") }
        self.bytes -= bytes
        memory.deallocate()
    }
}

/// A policy with its entries and memory, which it gives back at the end. A class, as `#expect` takes nothing that cannot be copied.
final class TestPolicy {
    let entries = PolicyTestEntries()
    let memory: PolicyTestMemory
    var policy: EvictionPolicy
    private var clock = EraClock()
    var era: UInt8 { clock.era }

    init(
        _ kind: PolicyKind, seed: UInt64 = 1, entriesExpected: Int = 0, movesOnEveryHit: Bool = false,
        memory: PolicyTestMemory = PolicyTestMemory()
    ) {
        self.memory = memory
        policy = EvictionPolicy(kind, seed: seed, entriesExpected: entriesExpected, movesOnEveryHit: movesOnEveryHit)
    }

    deinit { policy.releaseMemory(memory) }

    var count: Int { policy.count }
    var cost: Int { policy.cost }
    var bytes: Int { policy.bytes }
    var lists: [PolicyList] {
        switch policy.kind {
        case .lru: [policy.lru.list]
        case .tinyLFU: [window, probation, protected]
        case .s3fifo: [small, main]
        }
    }
    var window: PolicyList { policy.tinyLFU.window }
    var probation: PolicyList { policy.tinyLFU.probation }
    var protected: PolicyList { policy.tinyLFU.protected }
    var small: PolicyList { policy.s3fifo.small }
    var main: PolicyList { policy.s3fifo.main }

    /// Inserts a new entry for a key.
    @discardableResult
    func insert(key: Int, cost: Int = 1, explicit: Bool = false) -> UInt32 {
        let handle = entries.add(hash: spread(key), cost: cost)
        inserted(handle, explicit: explicit)
        return handle
    }

    func inserted(_ handle: UInt32, explicit: Bool) {
        clock.inserted(entries: count + 1)
        policy.inserted(handle, explicit: explicit, era: era, entries)
    }

    func replaced(_ handle: UInt32, costBefore: Int, explicit: Bool) {
        policy.replaced(handle, costBefore: costBefore, explicit: explicit, era: era, entries)
    }

    func hit(_ handle: UInt32) { policy.hit(handle, era: era, entries) }
    func remove(_ handle: UInt32) { policy.removed(handle, entries) }
    func victim(incoming: Int = 1, sparing spared: UInt32 = 0) -> UInt32 {
        policy.victim(incoming: incoming, sparing: spared, era: era, entries)
    }

    /// - Returns: the entry that went.
    @discardableResult
    func evict() -> UInt32 {
        let victim = victim()
        remove(victim)
        return victim
    }

    func isHeld(_ handle: UInt32) -> Bool { entries.queue(handle) != 0 }

    func resizeIfDue() { if policy.isResizeDue { policy.resize(memory) } }

    /// Resizes until nothing is due or memory is refused.
    func fit() {
        for _ in 0..<10_000 where policy.isResizeDue { if !policy.resize(memory) { return } }
    }
}

/// A sketch with its memory; see ``TestPolicy``.
final class TestSketch {
    let memory = PolicyTestMemory()
    private var sketch = FrequencySketch()

    deinit { sketch.removeAll(memory) }

    var bytes: Int { sketch.bytes }
    var isEmpty: Bool { sketch.isEmpty }
    func increment(_ hash: UInt32, times: Int = 1) { for _ in 0..<times { sketch.increment(hash) } }
    func frequency(_ hash: UInt32) -> Int { sketch.frequency(hash) }
    func removeAll() { sketch.removeAll(memory) }

    func resize(entries: Int) {
        for _ in 0..<10_000 where sketch.isResizeDue(entries: entries) { if !sketch.resize(entries: entries, memory) { return } }
    }
}

/// Ghosts with their memory; see ``TestPolicy``.
final class TestGhosts {
    let memory = PolicyTestMemory()
    private var ghosts = GhostTable()

    deinit { ghosts.removeAll(memory) }

    func insert(_ hash: UInt32) { ghosts.insert(hash) }
    func remove(_ hash: UInt32) -> Bool { ghosts.remove(hash) }
    func resize(_ count: Int) {
        for _ in 0..<10_000 where ghosts.isResizeDue(ghosts: count) { if !ghosts.resize(ghosts: count, memory) { return } }
    }
}

/// A well spread hash for a small number.
func spread(_ number: Int) -> UInt32 {
    var mixed = (UInt64(truncatingIfNeeded: number) &+ 1) &* 0x9E37_79B9_7F4A_7C15
    mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
    return UInt32(truncatingIfNeeded: mixed >> 32)
}

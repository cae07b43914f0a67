internal import PeerCacheCore

/// Replays requests against an eviction policy alone, without values: what the hit ratios of `STORE.md` §11 are measured with.
public final class PolicySimulation {
    /// What is simulated.
    public enum Policy: String, Sendable, CaseIterable {
        /// Moved on every hit.
        case exactLRU
        /// As the store does it: moved once per era.
        case lru
        /// Adaptive W-TinyLFU, every hit processed.
        case tinyLFU
        /// S3-FIFO.
        case s3fifo
    }

    private let capacity: Int
    private let hashSeed: UInt64
    private let entries = SimulatedEntries()
    private let memory = HeapMemory()
    private var policy: EvictionPolicy
    private var clock = EraClock()
    /// Handle by id, 0 when the id is not held.
    private var handles: [UInt32] = []

    /// - Parameters:
    ///   - capacity: sum of the sizes of what is held at most.
    ///   - entriesExpected: for how many entries the policy reserves memory at once.
    ///   - seed: of the hashes and of the policy's own choices.
    public init(_ policy: Policy, capacity: Int, entriesExpected: Int, seed: UInt64) {
        self.capacity = capacity
        hashSeed = seed
        self.policy =
            switch policy {
            case .exactLRU: EvictionPolicy(.lru, seed: seed, movesOnEveryHit: true)
            case .lru: EvictionPolicy(.lru, seed: seed)
            case .tinyLFU: EvictionPolicy(.tinyLFU, seed: seed, entriesExpected: entriesExpected)
            case .s3fifo: EvictionPolicy(.s3fifo, seed: seed)
            }
        while self.policy.isResizeDue { self.policy.resize(memory) }
    }

    deinit { policy.releaseMemory(memory) }

    /// Bytes of the policy's sketch or ghosts.
    public var policyBytes: Int { policy.bytes }
    /// Entries held.
    public var count: Int { policy.count }

    /// A get, and on a miss a fill with `size`. A hit keeps the stored size; what is larger than the capacity is not stored.
    /// - Returns: whether it was a hit.
    public func request(id: Int, size: Int) -> Bool {
        if id >= handles.count { handles.append(contentsOf: repeatElement(0, count: id + 1 - handles.count)) }
        if handles[id] != 0 {
            policy.hit(handles[id], era: clock.era, entries)
            return true
        }
        guard size <= capacity else { return false }
        while policy.cost + size > capacity {
            let victim = policy.victim(incoming: size, era: clock.era, entries)
            if victim == 0 { return false }
            policy.removed(victim, entries)
            handles[entries.remove(victim)] = 0
        }
        let handle = entries.add(id: id, hash: hash(id), cost: size)
        handles[id] = handle
        clock.inserted(entries: policy.count + 1)
        policy.inserted(handle, explicit: false, era: clock.era, entries)
        if policy.isResizeDue { policy.resize(memory) }
        return false
    }

    /// The finalizer of SplitMix64 over id and seed.
    private func hash(_ id: Int) -> UInt32 {
        var mixed = (UInt64(truncatingIfNeeded: id) &+ 1) &* 0x9E37_79B9_7F4A_7C15 ^ hashSeed
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return UInt32(truncatingIfNeeded: (mixed ^ mixed >> 31) >> 32)
    }
}

/// Entries in an array; position 0 is no entry.
private final class SimulatedEntries: PolicyEntries {
    struct Entry {
        var id = 0, cost = 0
        var hash: UInt32 = 0, newer: UInt32 = 0, older: UInt32 = 0
        var state: UInt8 = 0, era: UInt8 = 0
    }
    private var all = [Entry()]
    private var free: [UInt32] = []

    func add(id: Int, hash: UInt32, cost: Int) -> UInt32 {
        let entry = Entry(id: id, cost: cost, hash: hash)
        if let handle = free.popLast() {
            all[Int(handle)] = entry
            return handle
        }
        all.append(entry)
        return UInt32(all.count - 1)
    }

    /// - Returns: the entry's id.
    func remove(_ handle: UInt32) -> Int {
        free.append(handle)
        return all[Int(handle)].id
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
}

private struct HeapMemory: PolicyMemory {
    func allocate(bytes: Int) -> UnsafeMutableRawPointer? { .allocate(byteCount: bytes, alignment: 64) }
    func deallocate(_ memory: UnsafeMutableRawPointer, bytes: Int) { memory.deallocate() }
}

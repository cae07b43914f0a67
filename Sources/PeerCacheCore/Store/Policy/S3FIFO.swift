/// S3-FIFO (Yang et al., "FIFO Queues are All You Need for Cache Eviction", SOSP 2023): a small queue for what is new, a main queue for
/// what was used there twice, and the hashes of what left the small queue (ghosts). A hit counts in the entry and moves nothing.
struct S3FIFO: ~Copyable {
    /// Entries looked at for one victim; then the oldest goes, used or not. Without a bound one insert could turn all of main three times.
    static let looksMax = 256
    /// Hits in the small queue that lead to main.
    private static let promotingFrequency: UInt8 = 2

    private(set) var small = PolicyList(queue: 1)
    private(set) var main = PolicyList(queue: 2)
    private var ghosts = GhostTable()

    init() {}

    var bytes: Int { ghosts.bytes }
    var pieces: Int { ghosts.pieces }
    var count: Int { small.count &+ main.count }
    /// The next of main, or of the small queue.
    var oldest: UInt32 { main.back != 0 ? main.back : small.back }

    mutating func inserted<Entries: PolicyEntries & ~Copyable>(
        _ handle: UInt32, explicit: Bool, era: UInt8, _ entries: borrowing Entries
    ) {
        entries.setEra(handle, era)
        entries.setFrequency(handle, 0)
        let isGhost = ghosts.remove(entries.hash(handle))
        if explicit || isGhost { main.pushFront(handle, entries) } else { small.pushFront(handle, entries) }
    }

    @inline(__always)
    func hit<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        if let state = PolicyState.afterHit(entries.state(handle)) { entries.setState(handle, state, mask: PolicyState.frequencyMask) }
    }

    /// A use; an explicit write is sure of main.
    mutating func replaced<Entries: PolicyEntries & ~Copyable>(
        _ handle: UInt32, costBefore: Int, explicit: Bool, _ entries: borrowing Entries
    ) {
        let difference = entries.cost(handle) &- costBefore
        hit(handle, entries)
        guard entries.queue(handle) == small.queue else { return main.costChanged(by: difference) }
        small.costChanged(by: difference)
        if explicit, entries.frequency(handle) < Self.promotingFrequency { entries.setFrequency(handle, Self.promotingFrequency) }
    }

    mutating func removed<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        if entries.queue(handle) == small.queue { small.remove(handle, entries) } else { main.remove(handle, entries) }
    }

    mutating func taken<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, queue: UInt8, _ entries: borrowing Entries) {
        if queue == small.queue { small.pushFront(handle, entries) } else { main.pushFront(handle, entries) }
    }

    mutating func moved<Entries: PolicyEntries & ~Copyable>(to handle: UInt32, _ entries: borrowing Entries) {
        if entries.queue(handle) == small.queue { small.moved(to: handle, entries) } else { main.moved(to: handle, entries) }
    }

    /// The entry to drop; 0 when there is none but `spared`. Its hash is among the ghosts if it comes from the small queue. O(256).
    mutating func victim<Entries: PolicyEntries & ~Copyable>(
        sparing spared: UInt32, era: UInt8, _ entries: borrowing Entries
    ) -> UInt32 {
        for _ in 0..<Self.looksMax {
            if isSmallNext {
                let handle = small.back
                if handle != spared, entries.frequency(handle) < Self.promotingFrequency {
                    ghosts.insert(entries.hash(handle))
                    return handle
                }
                small.remove(handle, entries)
                entries.setFrequency(handle, 0)
                entries.setEra(handle, era)
                main.pushFront(handle, entries)
            } else {
                let handle = main.back
                if handle == 0 { return 0 }
                let frequency = entries.frequency(handle)
                if handle != spared, frequency == 0 { return handle }
                if frequency > 0 { entries.setFrequency(handle, frequency &- 1) }
                entries.setEra(handle, era)
                main.moveToFront(handle, entries)
            }
        }
        let handle = main.last(sparing: spared, entries)
        return handle != 0 ? handle : small.last(sparing: spared, entries)
    }

    /// A tenth of the cost is the small queue's.
    private var isSmallNext: Bool {
        guard small.back != 0 else { return false }
        return main.back == 0 || small.cost >= (small.cost &+ main.cost) / 10
    }

    // MARK: Memory

    /// As many as main has entries once both queues have their shares. Counting main itself would never begin: it fills through ghosts.
    private var ghostsWanted: Int { count &- count / 10 }

    @inline(__always)
    var isResizeDue: Bool { ghosts.isResizeDue(ghosts: ghostsWanted) }

    mutating func resize<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) -> Bool {
        ghosts.resize(ghosts: ghostsWanted, memory)
    }

    mutating func removeAll<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) { ghosts.removeAll(memory) }
}

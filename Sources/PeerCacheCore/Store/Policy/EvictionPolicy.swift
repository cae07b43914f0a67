/// How a store chooses what to evict.
package enum PolicyKind: Hashable, Sendable, CaseIterable {
    /// Least recently used.
    case lru
    /// Adaptive W-TinyLFU: fills compete by frequency of use.
    case tinyLFU
    /// S3-FIFO.
    case s3fifo
}

/// The policy of one list set: which entry goes when memory is needed. It owns no entries; the store tells what happens to them, under the
/// lock, and passes the way to see them. Nothing allocates but ``resize(_:)``.
///
/// The owner also tells the era of each event (``EraClock``): what new entries carry, and those that come to the front of a list.
///
/// A structure with a switch and not an enumeration with payloads: a payload cannot be changed in place.
package struct EvictionPolicy: ~Copyable {
    package let kind: PolicyKind
    private(set) var lru: EraLRU
    private(set) var tinyLFU: TinyLFU
    private(set) var s3fifo = S3FIFO()

    /// - Parameters:
    ///   - seed: decides which candidates are let in against the rule (``PolicyKind/tinyLFU``).
    ///   - entriesExpected: how many there will be when memory runs out, roughly; 0: unknown. Memory for the sketch of as many is
    ///     asked for at once, so it should rather be too low. Too low, the first decisions are a little worse.
    ///   - movesOnEveryHit: exact LRU instead of once per era.
    package init(_ kind: PolicyKind, seed: UInt64, entriesExpected: Int = 0, movesOnEveryHit: Bool = false) {
        self.kind = kind
        lru = EraLRU(isExact: movesOnEveryHit)
        tinyLFU = TinyLFU(seed: seed, entriesExpected: entriesExpected)
    }

    /// Entries in the lists.
    package var count: Int {
        switch kind {
        case .lru: lru.list.count
        case .tinyLFU: tinyLFU.count
        case .s3fifo: s3fifo.count
        }
    }

    /// Sum of the costs of the entries in the lists.
    package var cost: Int {
        switch kind {
        case .lru: lru.list.cost
        case .tinyLFU: tinyLFU.cost
        case .s3fifo: s3fifo.small.cost &+ s3fifo.main.cost
        }
    }

    /// An entry that is among the longest unused, for its era; 0 when there is none.
    package var oldest: UInt32 {
        switch kind {
        case .lru: lru.list.back
        case .tinyLFU: tinyLFU.oldest
        case .s3fifo: s3fifo.oldest
        }
    }

    /// All of them, for recounts.
    package var lists: [PolicyList] {
        switch kind {
        case .lru: [lru.list]
        case .tinyLFU: [tinyLFU.window, tinyLFU.probation, tinyLFU.protected]
        case .s3fifo: [s3fifo.small, s3fifo.main]
        }
    }

    // MARK: Events

    /// A new entry, in no list so far, with its hash and cost.
    /// - Parameter explicit: written by a caller, not filled after a miss: it need not compete.
    @inline(__always)
    package mutating func inserted<Entries: PolicyEntries & ~Copyable>(
        _ handle: UInt32, explicit: Bool, era: UInt8, _ entries: borrowing Entries
    ) {
        switch kind {
        case .lru: lru.inserted(handle, era: era, entries)
        case .tinyLFU: tinyLFU.inserted(handle, explicit: explicit, era: era, entries)
        case .s3fifo: s3fifo.inserted(handle, explicit: explicit, era: era, entries)
        }
    }

    /// The entry was read. Nothing happens to one that is in no list.
    @inline(__always)
    package mutating func hit<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, era: UInt8, _ entries: borrowing Entries) {
        guard entries.queue(handle) != 0 else { return }
        switch kind {
        case .lru: lru.hit(handle, era: era, entries)
        case .tinyLFU: tinyLFU.hit(handle, era: era, entries)
        case .s3fifo: s3fifo.hit(handle, entries)
        }
    }

    /// The entry got another value. ``PolicyEntries/cost(_:)`` is the new one already.
    package mutating func replaced<Entries: PolicyEntries & ~Copyable>(
        _ handle: UInt32, costBefore: Int, explicit: Bool, era: UInt8, _ entries: borrowing Entries
    ) {
        guard entries.queue(handle) != 0 else { return }
        switch kind {
        case .lru: lru.replaced(handle, costBefore: costBefore, era: era, entries)
        case .tinyLFU: tinyLFU.replaced(handle, costBefore: costBefore, explicit: explicit, era: era, entries)
        case .s3fifo: s3fifo.replaced(handle, costBefore: costBefore, explicit: explicit, entries)
        }
    }

    /// The entry goes, for whatever reason. Nothing happens to one that is in no list.
    @inline(__always)
    package mutating func removed<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        guard entries.queue(handle) != 0 else { return }
        switch kind {
        case .lru: lru.removed(handle, entries)
        case .tinyLFU: tinyLFU.removed(handle, entries)
        case .s3fifo: s3fifo.removed(handle, entries)
        }
    }

    /// An entry that comes from another policy of the same kind, out of the list with this number: it is neither used nor compared.
    package mutating func taken<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, queue: UInt8, _ entries: borrowing Entries) {
        switch kind {
        case .lru: lru.taken(handle, entries)
        case .tinyLFU: tinyLFU.taken(handle, queue: queue, entries)
        case .s3fifo: s3fifo.taken(handle, queue: queue, entries)
        }
    }

    /// No more entries are expected than there are.
    package mutating func expectNothing() { tinyLFU.expectNothing() }

    /// An entry was copied to `handle` from another place, which is no longer in use.
    package mutating func moved<Entries: PolicyEntries & ~Copyable>(to handle: UInt32, _ entries: borrowing Entries) {
        guard entries.queue(handle) != 0 else { return }
        switch kind {
        case .lru: lru.moved(to: handle, entries)
        case .tinyLFU: tinyLFU.moved(to: handle, entries)
        case .s3fifo: s3fifo.moved(to: handle, entries)
        }
    }

    /// The entry to drop next; 0 when there is none but `spared`. It stays in its list until ``removed(_:_:)``. Call it again while memory
    /// is short, and then insert.
    /// - Parameters:
    ///   - incoming: cost of the entry that needs the room, 0 when memory is given away.
    ///   - spared: an entry that must stay, 0 when there is none.
    @inline(__always)
    package mutating func victim<Entries: PolicyEntries & ~Copyable>(
        incoming: Int, sparing spared: UInt32 = 0, era: UInt8, _ entries: borrowing Entries
    ) -> UInt32 {
        switch kind {
        case .lru: lru.list.last(sparing: spared, entries)
        case .tinyLFU: tinyLFU.victim(incoming: incoming, sparing: spared, entries)
        case .s3fifo: s3fifo.victim(sparing: spared, era: era, entries)
        }
    }

    // MARK: Memory

    /// Bytes of sketch or ghosts.
    package var bytes: Int {
        switch kind {
        case .lru: 0
        case .tinyLFU: tinyLFU.bytes
        case .s3fifo: s3fifo.bytes
        }
    }

    /// How many of them are in whole pieces of 16 KiB.
    package var pieces: Int {
        switch kind {
        case .lru: 0
        case .tinyLFU: tinyLFU.pieces
        case .s3fifo: s3fifo.pieces
        }
    }

    /// Whether sketch or ghosts are too small or much too large for the entries. To be asked after an insert or removal.
    @inline(__always)
    package var isResizeDue: Bool {
        switch kind {
        case .lru: false
        case .tinyLFU: tinyLFU.isResizeDue
        case .s3fifo: s3fifo.isResizeDue
        }
    }

    /// One step towards the right size, at most 16 KiB of memory and of copying. False when memory was refused: the old size stays.
    @discardableResult
    package mutating func resize<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) -> Bool {
        switch kind {
        case .lru: true
        case .tinyLFU: tinyLFU.resize(memory)
        case .s3fifo: s3fifo.resize(memory)
        }
    }

    /// Gives all memory back. Must be called before the policy goes; the policy stays usable.
    package mutating func releaseMemory<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) {
        tinyLFU.removeAll(memory)
        s3fifo.removeAll(memory)
    }
}

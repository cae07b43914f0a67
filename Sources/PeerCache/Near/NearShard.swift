internal import PeerCacheCore
internal import Synchronization

/// One part of the near store: what readers look at, and, in cache lines of their own, a lock and what only its holder touches.
///
/// A writer makes the sequence odd, changes the table, and makes it even again; a reader that saw another number before than after looks
/// again (a sequence lock, as in Boehm, "Can seqlocks get along with programming language memory models?", 2012).
struct NearShard {
    private static let stateOffset = 128 + (MemoryLayout<NearLock.Storage>.size + 15) & ~15
    static let stride = (stateOffset + MemoryLayout<State>.size + 127) & ~127
    /// After this many second chances the hand takes the next record anyway: an insertion must not walk the whole shard.
    private static let chancesMax = 64
    /// So many records that are used more than the newcomer, and it is not let in.
    private static let rivalsMax = 8

    /// Under the lock.
    struct State {
        fileprivate(set) var count = 0
        fileprivate var hand = 0
        fileprivate var sweepPosition = 0
        fileprivate var sketch = NearSketch()
        /// What was invalidated in each of this shard's part of the 4,096 ranges of hashes.
        fileprivate let floors: UnsafeMutableBufferPointer<Floor>
    }

    /// The highest stamp that was invalidated, and how often something was.
    struct Floor {
        var stamp = Stamp.zero
        var raises: UInt32 = 0
    }

    private let base: UnsafeMutableRawPointer

    @inline(__always)
    init(at base: UnsafeMutableRawPointer) { self.base = base }

    func initialize(floorCount: Int) {
        base.bindMemory(to: Atomic<UInt64>.self, capacity: 2).initialize(to: Atomic(0))
        (base + 8).bindMemory(to: Atomic<UInt64>.self, capacity: 1).initialize(to: Atomic(0))
        table = NearTable(slotCount: NearTable.slotsMin)
        lock.initialize()
        let floors = UnsafeMutableBufferPointer<Floor>.allocate(capacity: floorCount)
        floors.initialize(repeating: Floor())
        state.initialize(to: State(floors: floors))
    }

    /// The caller has taken all records.
    func destroy() {
        table.deallocate()
        state.pointee.floors.deallocate()
        state.pointee.sketch.deallocate()
        state.deinitialize(count: 1)
        lock.destroy()
    }

    @inline(__always)
    private var sequence: UnsafeMutablePointer<Atomic<UInt64>> { base.assumingMemoryBound(to: Atomic<UInt64>.self) }
    @inline(__always)
    private(set) var table: NearTable {
        get {
            let address = (base + 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .acquiring)
            return NearTable(at: UnsafeMutableRawPointer(bitPattern: UInt(address)).unsafelyUnwrapped)  // set by `initialize`
        }
        nonmutating set {
            (base + 8).assumingMemoryBound(to: Atomic<UInt64>.self).pointee
                .store(UInt64(UInt(bitPattern: newValue.base)), ordering: .releasing)  // whoever sees it sees what it is filled with
        }
    }
    var lock: NearLock { NearLock(at: base + 128) }
    private var state: UnsafeMutablePointer<State> { (base + Self.stateOffset).assumingMemoryBound(to: State.self) }

    // MARK: Reading

    /// Looks without the lock; call it between a reader's enter and leave.
    @inline(__always)
    func look(hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer) -> NearTable.Look {
        let before = sequence.pointee.load(ordering: .acquiring)
        guard before & 1 == 0 else { return .disturbed }
        return table.find(hash: hash, cache: cache, key: key) {
            atomicMemoryFence(ordering: .acquiring)
            return sequence.pointee.load(ordering: .relaxed) == before
        }
    }

    // MARK: Under the lock

    var count: Int { state.pointee.count }

    /// Where a key's record lies, current or not.
    func position(hash: UInt64, cache: UInt16, key: UnsafeRawBufferPointer) -> Int? {
        if case .found(let position, _, _, _, _) = table.find(hash: hash, cache: cache, key: key, isUndisturbed: { true }) {
            return position
        }
        return nil
    }

    /// Where a record of this hash lies that is older than the stamp.
    func position(hash: UInt64, below stamp: Stamp) -> Int? { table.find(hash: hash, below: stamp) }

    func record(_ position: Int) -> NearRecord { NearRecord(table.record(position)) }

    /// - Parameter range: number of the range of hashes within this shard.
    func floor(range: Int) -> Floor { state.pointee.floors[range & (state.pointee.floors.count - 1)] }

    func raiseFloor(range: Int, to stamp: Stamp) {
        let index = range & (state.pointee.floors.count - 1)
        state.pointee.floors[index].raises &+= 1
        state.pointee.floors[index].stamp = max(state.pointee.floors[index].stamp, stamp)
    }

    /// Counts a use of a key and says how often it was used of late.
    func use(hash: UInt64) -> UInt8 {
        state.pointee.sketch.add(hash)
        return state.pointee.sketch.estimate(hash)
    }

    func estimate(hash: UInt64) -> UInt8 { state.pointee.sketch.estimate(hash) }

    /// Adds a record of a key that is not there. What had to go is appended to `out`.
    func insert(_ record: NearRecord, out: inout NearRetired) {
        if count >= table.recordsMax { grow(out: &out) }
        changing {
            if table.place(record.tag, position: count) {
                table.put(record, at: count)
                state.pointee.count += 1
            } else {
                // All slots within reach are taken: take over the last of them together with its record.
                let position = table.displace(record.tag)
                out.records.append(self.record(position))
                table.put(record, at: position)
            }
        }
    }

    /// Takes a record out. Positions of this shard are void afterwards.
    func remove(_ position: Int, out: inout NearRetired) {
        let removed = record(position)
        changing {
            table.redirect(removed.tag, from: position, to: nil)
            fill(position)
        }
        out.records.append(removed)
    }

    enum Eviction { case evicted, empty, rivalled }

    /// CLOCK: takes out the record under the hand, unless it was hit since the hand last passed or was used more often than the newcomer
    /// (the admission of TinyLFU: Einziger, Friedman and Manes, 2017).
    func evict(forUse frequency: UInt8, isCurrent: (NearRecord) -> Bool, out: inout NearRetired) -> Eviction {
        guard count > 0 else { return .empty }
        var chances = 0, rivals = 0
        while true {
            if state.pointee.hand >= count { state.pointee.hand = 0 }
            let position = state.pointee.hand, record = record(position)
            state.pointee.hand += 1
            if isCurrent(record) {
                if table.marks[position].load(ordering: .relaxed) != 0, chances < Self.chancesMax {
                    table.marks[position].store(0, ordering: .relaxed)
                    state.pointee.sketch.add(record.hash)
                    chances += 1
                    continue
                }
                if state.pointee.sketch.estimate(record.hash) > frequency {
                    rivals += 1
                    if rivals >= Self.rivalsMax { return .rivalled }
                    continue
                }
            }
            remove(position, out: &out)
            return .evicted
        }
    }

    /// Looks at the next `budget` records and removes those that are not current. True: the end was reached.
    func sweep(_ budget: inout Int, isCurrent: (NearRecord) -> Bool, out: inout NearRetired) -> Bool {
        while budget > 0, state.pointee.sweepPosition < count {
            budget -= 1
            if isCurrent(record(state.pointee.sweepPosition)) {
                state.pointee.sweepPosition += 1
            } else {
                remove(state.pointee.sweepPosition, out: &out)  // another record has moved to this position
            }
        }
        guard state.pointee.sweepPosition >= count else { return false }
        state.pointee.sweepPosition = 0
        return true
    }

    /// Leaves the shard empty but for its floors.
    func removeAll(out: inout NearRetired) {
        out.records.reserveCapacity(out.records.count + count)
        for position in 0..<count { out.records.append(record(position)) }
        out.tables.append(table)
        changing { table = NearTable(slotCount: NearTable.slotsMin) }
        (state.pointee.count, state.pointee.hand, state.pointee.sweepPosition) = (0, 0, 0)
    }

    /// Runs `body` with the sequence odd.
    private func changing(_ body: () -> Void) {
        let before = sequence.pointee.load(ordering: .relaxed)
        sequence.pointee.store(before &+ 1, ordering: .relaxed)
        atomicMemoryFence(ordering: .releasing)
        body()
        sequence.pointee.store(before &+ 2, ordering: .releasing)
    }

    /// Moves the last record into a gap. With the sequence odd, or in a table that nobody sees.
    private func fill(_ position: Int) {
        state.pointee.count -= 1
        guard position != count else { return }
        let last = record(count)
        table.redirect(last.tag, from: count, to: position)
        table.put(last, at: position, marked: table.marks[count].load(ordering: .relaxed))
    }

    private func grow(out: inout NearRetired) {
        let old = table, larger = NearTable(slotCount: old.slotCount * 2)
        for position in 0..<count { larger.put(record(position), at: position, marked: old.marks[position].load(ordering: .relaxed)) }
        out.tables.append(old)
        changing {
            table = larger
            // From the end: the last record, which fills a gap, has its slot by then.
            for position in (0..<count).reversed() where !table.place(record(position).tag, position: position) {
                out.records.append(record(position))
                fill(position)
            }
        }
        state.pointee.sketch.grow(toRecords: larger.recordsMax)
    }
}

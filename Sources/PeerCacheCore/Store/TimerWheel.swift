/// Which entries are due: a hierarchical timer wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987), whose lists go
/// through `timerNext` and `timerBack` of the entries.
///
/// Five levels of 64 lists and one of 2. An entry lies at the lowest level whose span exceeds the time it has left: 4.1 s, 4.4 min, 4.7 h,
/// 12 d, 2.2 y, 4.4 y. Time goes on in passes from ``current`` to a target. A pass visits each list at most once and moves what is not due
/// to a lower level; it can stop after any entry. `timerBack` of the first entry of a list is the list's number with the top bit set.
package struct TimerWheel {
    /// What a call of ``next(now:looks:_:)`` found.
    package enum Found: Hashable, Sendable {
        /// Due, and no longer in the wheel.
        case due(UInt32)
        /// Nothing more is due at `now`.
        case nothing
        /// The looks are used up.
        case paused
    }

    private static let levels = 6
    private static let listCount = 323
    /// The list that a pass takes apart.
    private static let draining = 322
    private static let marker: UInt32 = 1 << 31
    /// Bytes for the heads of the lists, all zero at first.
    package static let tableBytes = (listCount + 1) * MemoryLayout<UInt32>.stride

    private let heads: UnsafeMutablePointer<UInt32>
    /// A bit per list that is not empty, by level.
    private var occupied = InlineArray<6, UInt64>(repeating: 0)
    /// Everything due up to here was found.
    private var current: UInt32
    /// Where the running pass goes, its level, and the lists of that level that it has not visited yet.
    private var target: UInt32
    private var level = 0
    private var unvisited: UInt64 = 0
    private var isPassing = false
    /// Entries in the wheel.
    package private(set) var count = 0

    /// - Parameter table: ``tableBytes`` zero bytes that live as long.
    package init(table: UnsafeMutableRawPointer, now: Tick) {
        heads = table.bindMemory(to: UInt32.self, capacity: Self.listCount)
        current = now.value
        target = now.value
    }

    // MARK: Entries come and go

    /// Adds an entry that is in no list. One that is due already is found by the next pass.
    package mutating func insert(_ handle: UInt32, expiry: Tick, _ entries: EntryMemory) {
        place(handle, expiry.value, entries)
        count += 1
    }

    private mutating func place(_ handle: UInt32, _ expiry: UInt32, _ entries: EntryMemory) {
        // Relative to the end of the pass, as it may have visited the lists on the way there.
        let left = max(1, Int32(bitPattern: expiry &- target))
        let time = target &+ UInt32(bitPattern: left)
        let level = (Int32.bitWidth - 1 - left.leadingZeroBitCount) / 6
        let index = level == 5 ? Int(time >> 30 & 1) : Int(time >> UInt32(6 * level) & 63)
        push(handle, level * 64 + index, entries)
    }

    private mutating func push(_ handle: UInt32, _ list: Int, _ entries: EntryMemory) {
        let head = heads[list]
        entries[handle].timerNext = head
        entries[handle].timerBack = Self.marker | UInt32(list)
        if head != 0 { entries[head].timerBack = handle }
        heads[list] = handle
        if list < Self.draining { occupied[list / 64] |= 1 << UInt64(list % 64) }
    }

    /// Takes an entry out. It must be in the wheel.
    package mutating func remove(_ handle: UInt32, _ entries: EntryMemory) {
        let (next, back) = (entries[handle].timerNext, entries[handle].timerBack)
        if next != 0 { entries[next].timerBack = back }
        if back & Self.marker == 0 {
            entries[back].timerNext = next
        } else {
            let list = Int(back & ~Self.marker)
            heads[list] = next
            if next == 0, list < Self.draining { occupied[list / 64] &= ~(1 << UInt64(list % 64)) }
        }
        count -= 1
    }

    /// The entry lies at `handle` now: tell its neighbours.
    package mutating func moved(to handle: UInt32, _ entries: EntryMemory) {
        let (next, back) = (entries[handle].timerNext, entries[handle].timerBack)
        if next != 0 { entries[next].timerBack = handle }
        if back & Self.marker == 0 { entries[back].timerNext = handle } else { heads[Int(back & ~Self.marker)] = handle }
    }

    // MARK: Time goes on

    /// Whether a pass to `now` has something to do. To be asked before the first entry comes: an empty wheel goes to any time, back as well.
    @inline(__always)
    package func isBehind(_ now: Tick) -> Bool {
        count == 0 ? now.value != current : isPassing || Int32(bitPattern: now.value &- current) > 0
    }

    /// The next entry due at `now`, taken out of the wheel. Time that goes back is ignored.
    /// - Parameter looks: entries that may still be looked at; counted down.
    package mutating func next(now: Tick, looks: inout Int, _ entries: EntryMemory) -> Found {
        guard count > 0 else {
            (current, target, isPassing) = (now.value, now.value, false)
            return .nothing
        }
        while true {
            while heads[Self.draining] != 0 {
                guard looks > 0 else { return .paused }
                looks -= 1
                let handle = heads[Self.draining]
                remove(handle, entries)
                let expiry = entries[handle].expiry
                if Int32(bitPattern: target &- expiry) >= 0 { return .due(handle) }
                place(handle, expiry, entries)
                count += 1
            }
            if isPassing {
                advance(entries)
            } else {
                guard Int32(bitPattern: now.value &- current) > 0 else { return .nothing }
                target = now.value
                isPassing = true
                startLevel(0)
            }
        }
    }

    /// Detaches the next list of the pass; or goes up a level, or ends the pass.
    private mutating func advance(_ entries: EntryMemory) {
        let lists = unvisited & occupied[level]
        if lists != 0 {
            let index = lists.trailingZeroBitCount
            unvisited &= ~(1 << UInt64(index))
            occupied[level] &= ~(1 << UInt64(index))
            // Detached before it is walked: an entry that is put back into the same list is not met again.
            let head = heads[level * 64 + index]
            heads[level * 64 + index] = 0
            heads[Self.draining] = head
            entries[head].timerBack = Self.marker | UInt32(Self.draining)
        } else if level + 1 < Self.levels, steps(level + 1) > 0 {
            startLevel(level + 1)
        } else {
            current = target
            isPassing = false
        }
    }

    /// How many lists of a level lie between the current time and the target.
    private func steps(_ level: Int) -> UInt32 {
        let shift = UInt32(6 * level)
        return ((target >> shift) &- (current >> shift)) & (UInt32.max >> shift)
    }

    /// Entries above level 0 lie in a list strictly ahead of the current one: those behind it went down when it was reached.
    private mutating func startLevel(_ level: Int) {
        self.level = level
        let steps = steps(level)
        let size: UInt32 = level == 5 ? 2 : 64
        guard steps < size else {
            unvisited = .max
            return
        }
        unvisited = 0
        let first = current >> UInt32(6 * level)
        for step in 0..<steps { unvisited |= 1 << UInt64((first &+ step &+ 1) & (size - 1)) }
    }

    /// What does not agree, or nil. For tests.
    package func check(_ entries: EntryMemory) -> String? {
        var seen = 0
        for list in 0..<Self.listCount {
            var (handle, back) = (heads[list], Self.marker | UInt32(list))
            if list < Self.draining, (handle != 0) != (occupied[list / 64] >> UInt64(list % 64) & 1 == 1) {
                return "bit of timer list \(list)"
            }
            while handle != 0, seen <= count {
                if entries[handle].timerBack != back { return "timer list \(list) is not linked at \(handle)" }
                seen += 1
                (back, handle) = (handle, entries[handle].timerNext)
            }
        }
        return seen == count ? nil : "the wheel has \(seen) entries instead of \(count)"
    }
}

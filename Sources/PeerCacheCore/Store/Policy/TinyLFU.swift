/// Adaptive W-TinyLFU (Einziger et al., "TinyLFU", ACM TOS 2017; "Adaptive Software Cache Management", Middleware 2018): new entries live
/// in a window; one that leaves it must have been used more often than what it would push out of the main part. Main is a segmented LRU: on
/// probation until the first hit, then protected.
///
/// The store has no fixed capacity per list set, so it is taken to be what the lists held when memory last ran out. Entries leave the
/// window for main when they must: at a call for a victim, or at an insert that needed none.
struct TinyLFU: ~Copyable {
    /// Entries moved between lists by one call without a victim: sizes change in slices.
    private static let movesMax = 16
    /// Entries compared with one candidate.
    private static let victimsMax = 64
    /// Protected entries' part of main, in percent.
    private static let protectedPercent = 80
    /// A candidate used at least this often and still too seldom is let in one time in 128, against an attacker who made counters collide.
    private static let luckyFrequency = 6
    private static let luckMask: UInt64 = 127

    private(set) var window = PolicyList(queue: 1)
    private(set) var probation = PolicyList(queue: 2)
    private(set) var protected = PolicyList(queue: 3)
    private(set) var climber = WindowClimber()
    /// What the lists may hold together, by the latest evidence.
    private(set) var capacity = 0
    private var sketch = FrequencySketch()
    private var random: SplitMix64
    /// Cost that the window was given and has still to take from main.
    private var windowGrowth = 0
    /// The sketch has room for these from the start. One that grows while it counts carries the counts of each line into all that split
    /// off.
    private var entriesExpected: Int

    init(seed: UInt64, entriesExpected: Int) {
        random = SplitMix64(seed: seed)
        self.entriesExpected = entriesExpected
    }

    var bytes: Int { sketch.bytes }
    var pieces: Int { sketch.pieces }
    var count: Int { window.count &+ probation.count &+ protected.count }
    var cost: Int { window.cost &+ mainCost }
    /// The next of main, or of the window.
    var oldest: UInt32 { probation.back != 0 ? probation.back : protected.back != 0 ? protected.back : window.back }

    private var mainCost: Int { probation.cost &+ protected.cost }
    /// Costs are below 2^45: exact in a Double.
    private var windowCostMax: Int { Int(Double(capacity) * climber.share) }
    private var mainCostMax: Int { capacity &- windowCostMax }

    // MARK: Events

    mutating func inserted<Entries: PolicyEntries & ~Copyable>(
        _ handle: UInt32, explicit: Bool, era: UInt8, _ entries: borrowing Entries
    ) {
        entries.setEra(handle, era)
        entries.setState(handle, explicit ? PolicyState.admitted : 0, mask: PolicyState.admitted)
        sketch.increment(entries.hash(handle))
        window.pushFront(handle, entries)
        capacity = max(capacity, cost)
        drainWindow(incoming: 0, entries)
        climber.missed()
        climbIfDue()
        growWindow(entries)
    }

    @inline(__always)
    mutating func hit<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, era: UInt8, _ entries: borrowing Entries) {
        use(handle, era: era, entries)
        climber.hit()
        climbIfDue()
    }

    mutating func replaced<Entries: PolicyEntries & ~Copyable>(
        _ handle: UInt32, costBefore: Int, explicit: Bool, era: UInt8, _ entries: borrowing Entries
    ) {
        let difference = entries.cost(handle) &- costBefore
        switch entries.queue(handle) {
        case window.queue:
            window.costChanged(by: difference)
            if explicit { entries.setState(handle, PolicyState.admitted, mask: PolicyState.admitted) }
        case probation.queue: probation.costChanged(by: difference)
        default: protected.costChanged(by: difference)
        }
        capacity = max(capacity, cost)
        use(handle, era: era, entries)
    }

    mutating func removed<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        switch entries.queue(handle) {
        case window.queue: window.remove(handle, entries)
        case probation.queue: probation.remove(handle, entries)
        default: protected.remove(handle, entries)
        }
    }

    mutating func taken<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, queue: UInt8, _ entries: borrowing Entries) {
        switch queue {
        case window.queue: window.pushFront(handle, entries)
        case probation.queue: probation.pushFront(handle, entries)
        default: protected.pushFront(handle, entries)
        }
        capacity = max(capacity, cost)
    }

    mutating func expectNothing() { entriesExpected = 0 }

    mutating func moved<Entries: PolicyEntries & ~Copyable>(to handle: UInt32, _ entries: borrowing Entries) {
        switch entries.queue(handle) {
        case window.queue: window.moved(to: handle, entries)
        case probation.queue: probation.moved(to: handle, entries)
        default: protected.moved(to: handle, entries)
        }
    }

    @inline(__always)
    private mutating func use<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, era: UInt8, _ entries: borrowing Entries) {
        sketch.increment(entries.hash(handle))
        entries.setEra(handle, era)
        switch entries.queue(handle) {
        case window.queue: window.moveToFront(handle, entries)
        case probation.queue:
            probation.remove(handle, entries)
            protected.pushFront(handle, entries)
            demote(entries)
        default: protected.moveToFront(handle, entries)
        }
    }

    /// Protected entries above their share go back on probation.
    private mutating func demote<Entries: PolicyEntries & ~Copyable>(_ entries: borrowing Entries) {
        let costMax = mainCostMax / 100 &* Self.protectedPercent &+ mainCostMax % 100 &* Self.protectedPercent / 100
        var moves = 0
        while protected.cost > costMax, protected.count > 1, moves < Self.movesMax {
            let handle = protected.back
            protected.remove(handle, entries)
            probation.pushFront(handle, entries)
            moves &+= 1
        }
    }

    // MARK: Eviction

    /// The entry to drop; 0 when there is none but `spared`.
    /// - Parameter incoming: cost of the entry that needs the room, 0 when there is none.
    mutating func victim<Entries: PolicyEntries & ~Copyable>(
        incoming: Int, sparing spared: UInt32, _ entries: borrowing Entries
    ) -> UInt32 {
        capacity = min(capacity, cost &+ incoming)
        drainWindow(incoming: incoming, entries)
        growWindow(entries)
        let candidate = window.last(sparing: spared, entries)
        var other = probation.last(sparing: spared, entries)
        if other == 0 { other = protected.last(sparing: spared, entries) }
        guard candidate != 0 else { return other }
        guard other != 0 else { return candidate }
        guard window.cost &+ incoming > windowCostMax else { return other }
        guard isAdmitted(candidate, sparing: spared, entries) else { return candidate }
        moveToProbation(candidate, entries)
        return other
    }

    /// Moves what exceeds the window into main, as long as main has room.
    private mutating func drainWindow<Entries: PolicyEntries & ~Copyable>(incoming: Int, _ entries: borrowing Entries) {
        let (windowMax, mainMax) = (windowCostMax, mainCostMax)
        var moves = 0
        while window.cost &+ incoming > windowMax, window.count > 1, moves < Self.movesMax {
            guard mainCost &+ entries.cost(window.back) <= mainMax else { return }
            moveToProbation(window.back, entries)
            moves &+= 1
        }
    }

    private mutating func moveToProbation<Entries: PolicyEntries & ~Copyable>(_ handle: UInt32, _ entries: borrowing Entries) {
        window.remove(handle, entries)
        entries.setState(handle, 0, mask: PolicyState.admitted)
        probation.pushFront(handle, entries)
    }

    /// Whether the candidate's frequency exceeds that of all that must go for it together.
    private mutating func isAdmitted<Entries: PolicyEntries & ~Copyable>(
        _ candidate: UInt32, sparing spared: UInt32, _ entries: borrowing Entries
    ) -> Bool {
        if entries.state(candidate) & PolicyState.admitted != 0 || sketch.isEmpty { return true }
        let frequency = sketch.frequency(entries.hash(candidate))
        let needed = max(1, mainCost &+ entries.cost(candidate) &- mainCostMax)
        var (freed, sum, victims) = (0, 0, 0)
        var next = probation.back
        var isProtected = false
        while freed < needed, sum < frequency {
            if next == 0 {
                if isProtected { return false }  // not even all of main is enough
                isProtected = true
                next = protected.back
                continue
            }
            if next != spared {
                if victims == Self.victimsMax { return false }
                victims &+= 1
                sum &+= sketch.frequency(entries.hash(next))
                freed &+= entries.cost(next)
            }
            next = entries.newer(next)
        }
        if sum < frequency { return true }
        return frequency >= Self.luckyFrequency && random.next() & Self.luckMask == 0
    }

    // MARK: The window's share

    @inline(__always)
    private mutating func climbIfDue() {
        if climber.isDue(entries: count) { climb() }
    }

    private mutating func climb() {
        let before = windowCostMax
        climber.climb()
        windowGrowth = max(0, windowCostMax &- before)
    }

    /// A larger window takes the oldest of main; a smaller one drains.
    private mutating func growWindow<Entries: PolicyEntries & ~Copyable>(_ entries: borrowing Entries) {
        var moves = 0
        while windowGrowth > 0, moves < Self.movesMax {
            let list = probation.back != 0 ? probation : protected
            let handle = list.back
            guard handle != 0, window.cost &+ entries.cost(handle) <= windowCostMax else {
                windowGrowth = 0
                return
            }
            if list.queue == probation.queue { probation.remove(handle, entries) } else { protected.remove(handle, entries) }
            window.pushFront(handle, entries)
            windowGrowth &-= entries.cost(handle)
            moves &+= 1
        }
    }

    // MARK: Memory

    @inline(__always)
    var isResizeDue: Bool { sketch.isResizeDue(entries: max(entriesExpected, count)) }

    mutating func resize<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) -> Bool {
        sketch.resize(entries: max(entriesExpected, count), memory)
    }

    mutating func removeAll<Memory: PolicyMemory & ~Copyable>(_ memory: borrowing Memory) { sketch.removeAll(memory) }
}

internal import Synchronization

/// The pages of one shard, each cut into items of one class. Under the shard's lock.
///
/// An item is named by its offset / 8 in the arena. A page with free items is in the list of its class, a full one in another; a page
/// whose last item is freed goes back to the pool at once.
struct Slab: ~Copyable {
    /// State of one class.
    struct Class {
        /// First page with free items, and first without; 0: none.
        var partial: UInt32 = 0
        var full: UInt32 = 0
        /// Free items in pages that are not closed.
        var freeCount: UInt32 = 0
        var itemBytes: UInt16 = 0
        var perPage: UInt16 = 0
    }

    /// Bytes for the table of classes.
    static let tableBytes = SizeClass.count * MemoryLayout<Class>.stride
    /// Most pages emptied in one go.
    private static let closedMax = 32

    let arena: UnsafeMutablePointer<Arena>
    private let records: UnsafeMutablePointer<PageRecord>
    private let budget: UnsafeMutablePointer<ByteBudget>
    private let classes: UnsafeMutablePointer<Class>
    /// First closed page.
    private(set) var closed: UInt32 = 0
    /// Pages held, and bytes of free items in them.
    private(set) var pageCount = 0
    private(set) var freeBytes = 0

    /// - Parameter table: ``tableBytes`` bytes that live as long.
    init(arena: UnsafeMutablePointer<Arena>, budget: UnsafeMutablePointer<ByteBudget>, table: UnsafeMutableRawPointer) {
        self.arena = arena
        records = arena.pointee.records
        self.budget = budget
        classes = table.bindMemory(to: Class.self, capacity: SizeClass.count)
        for number in 0..<SizeClass.count {
            let bytes = SizeClass.bytes(UInt8(number))
            (classes + number).initialize(to: Class(itemBytes: UInt16(bytes), perPage: UInt16(Arena.pageBytes / bytes)))
        }
    }

    @inline(__always)
    func address(_ item: UInt32) -> UnsafeMutableRawPointer { arena.pointee.base + Int(item) &* 8 }

    @inline(__always)
    func page(of item: UInt32) -> UInt32 { item &>> 11 }

    @inline(__always)
    func record(_ page: UInt32) -> UnsafeMutablePointer<PageRecord> { records + Int(page) }

    func state(_ sizeClass: UInt8) -> Class { classes[Int(sizeClass)] }

    // MARK: Items

    /// An item of a class, its bytes as they were. 0: no page to be had.
    @inline(__always)
    mutating func allocate(_ sizeClass: UInt8) -> UInt32 {
        let state = classes + Int(sizeClass)
        if state.pointee.partial == 0, !addPage(sizeClass) { return 0 }
        let page = state.pointee.partial
        let record = record(page)
        let item: UInt32
        if record.pointee.free != PageRecord.none {
            item = page &<< 11 | UInt32(record.pointee.free)
            record.pointee.free = UInt16(truncatingIfNeeded: Words.load(address(item)))
        } else {
            item = page &<< 11 &+ UInt32(record.pointee.touched) &* UInt32(state.pointee.itemBytes) &>> 3
            record.pointee.touched &+= 1
        }
        record.pointee.used &+= 1
        state.pointee.freeCount &-= 1
        freeBytes &-= Int(state.pointee.itemBytes)
        if record.pointee.used == state.pointee.perPage {
            Self.unlink(page, &state.pointee.partial, records)
            Self.link(page, &state.pointee.full, records)
        }
        return item
    }

    private mutating func addPage(_ sizeClass: UInt8) -> Bool {
        let page = arena.pointee.take(budget.pointee)
        guard page != 0 else { return false }
        let state = classes + Int(sizeClass)
        record(page).pointee = PageRecord(free: PageRecord.none, sizeClass: sizeClass)
        Self.link(page, &state.pointee.partial, records)
        state.pointee.freeCount &+= UInt32(state.pointee.perPage)
        freeBytes += Int(state.pointee.perPage) * Int(state.pointee.itemBytes)
        pageCount += 1
        return true
    }

    /// Frees an item; its first word changes.
    @inline(__always)
    mutating func free(_ item: UInt32) {
        let page = page(of: item)
        let record = record(page)
        let state = classes + Int(record.pointee.sizeClass)
        Words.store(address(item), UInt64(record.pointee.free))
        record.pointee.free = UInt16(truncatingIfNeeded: item & 2047)
        let wasFull = record.pointee.used == state.pointee.perPage
        record.pointee.used &-= 1
        if record.pointee.isClosed { return }  // released or opened again by ``finishClosing()``
        state.pointee.freeCount &+= 1
        freeBytes &+= Int(state.pointee.itemBytes)
        if record.pointee.used == 0 {
            if wasFull { Self.unlink(page, &state.pointee.full, records) } else { Self.unlink(page, &state.pointee.partial, records) }
            state.pointee.freeCount &-= UInt32(state.pointee.perPage)
            freeBytes &-= Int(state.pointee.perPage) &* Int(state.pointee.itemBytes)
            release(page)
        } else if wasFull {
            Self.unlink(page, &state.pointee.full, records)
            Self.link(page, &state.pointee.partial, records)
        }
    }

    private mutating func release(_ page: UInt32) {
        pageCount -= 1
        arena.pointee.give(page)
    }

    // MARK: Lists of pages

    private typealias Records = UnsafeMutablePointer<PageRecord>

    @inline(__always)
    private static func link(_ page: UInt32, _ head: inout UInt32, _ records: Records) {
        records[Int(page)].next = head
        records[Int(page)].back = 0
        if head != 0 { records[Int(head)].back = page }
        head = page
    }

    @inline(__always)
    private static func unlink(_ page: UInt32, _ head: inout UInt32, _ records: Records) {
        let (next, back) = (records[Int(page)].next, records[Int(page)].back)
        if next != 0 { records[Int(next)].back = back }
        if back != 0 { records[Int(back)].next = next } else { head = next }
    }

    // MARK: Emptying pages

    /// Pages that would become free if the items of each class moved together.
    var closablePages: Int { closablePages(0..<SizeClass.count) }
    /// The same for blocks of the index, which are few: moving them is cheap.
    var closableIndexPages: Int { closablePages(Int(SizeClass.indexFirst)..<SizeClass.count) }

    private func closablePages(_ range: Range<Int>) -> Int {
        range.reduce(0) { $0 + Int(classes[$1].freeCount) / max(1, Int(classes[$1].perPage)) }
    }

    func isClosed(_ item: UInt32) -> Bool { record(page(of: item)).pointee.isClosed }

    /// Closes the emptiest pages of each class, as many as the free items of the others can take up.
    /// - Returns: whether pages of chunks, of entries and of the index are among them; nil when none is.
    mutating func closeEmptiest(from first: Int = 0) -> (chunks: Bool, entries: Bool, index: Bool)? {
        var kinds = (chunks: false, entries: false, index: false)
        var left = Self.closedMax
        for number in first..<SizeClass.count {
            let state = classes + number
            while left > 0, Int(state.pointee.freeCount) >= Int(state.pointee.perPage) {
                guard let page = emptiest(state.pointee.partial) else { break }
                let free = Int(state.pointee.perPage) - Int(record(page).pointee.used)
                guard Int(state.pointee.freeCount) - free >= Int(record(page).pointee.used) else { break }
                Self.unlink(page, &state.pointee.partial, records)
                record(page).pointee.isClosed = true
                Self.link(page, &closed, records)
                state.pointee.freeCount -= UInt32(free)
                freeBytes -= free * Int(state.pointee.itemBytes)
                left -= 1
                // Its items will take free ones of the other pages: do not plan with those twice.
                state.pointee.freeCount -= UInt32(record(page).pointee.used)
                switch UInt8(number) {
                case SizeClass.entry: kinds.entries = true
                case SizeClass.indexFirst...: kinds.index = true
                default: kinds.chunks = true
                }
            }
        }
        guard closed != 0 else { return nil }
        // The plan is made: count the free items as they are again.
        var page = closed
        while page != 0 {
            let state = classes + Int(record(page).pointee.sizeClass)  // not by subscript: Thread Sanitizer takes it for another address
            state.pointee.freeCount += UInt32(record(page).pointee.used)
            page = record(page).pointee.next
        }
        return kinds
    }

    private func emptiest(_ head: UInt32) -> UInt32? {
        var (best, page) = (head, head)
        while page != 0 {
            if record(page).pointee.used < record(best).pointee.used { best = page }
            page = record(page).pointee.next
        }
        return best == 0 ? nil : best
    }

    /// Gives the emptied pages back and opens those that were not: an item in them belongs to a write that is not finished.
    mutating func finishClosing() {
        while closed != 0 {
            let page = closed
            Self.unlink(page, &closed, records)
            let record = record(page)
            record.pointee.isClosed = false
            if record.pointee.used == 0 {
                release(page)
                continue
            }
            let state = classes + Int(record.pointee.sizeClass)
            Self.link(page, &state.pointee.partial, records)
            let free = Int(state.pointee.perPage) - Int(record.pointee.used)
            state.pointee.freeCount += UInt32(free)
            freeBytes += free * Int(state.pointee.itemBytes)
        }
    }
}

internal import Synchronization

extension ByteStore {
    /// Recounts everything from scratch: pages, lists, wheel, index, slots, floors, counts. For tests; exact only while nobody writes.
    /// - Returns: what does not agree, or nil.
    /// - Complexity: O(entries + slots), each shard under its lock.
    package func checkInvariants() -> String? {
        let pages = shared.arena.pointee.pageCounts
        var usedPages = 0
        var tombstoneBytes = 0
        var orderBytes = 0
        var usage: [UInt16: CacheUsage] = [:]
        for number in 0..<shardCount {
            let recount = cells[number].lock.withLock { $0.recount() }
            if let problem = recount.problem { return "shard \(number): \(problem)" }
            usedPages += recount.pages
            tombstoneBytes += recount.tombstoneBytes
            orderBytes += recount.orderBytes
            for (cache, more) in recount.usage {
                usage[cache, default: CacheUsage()].entries += more.entries
                usage[cache, default: CacheUsage()].tombstones += more.tombstones
                usage[cache, default: CacheUsage()].bytes += more.bytes
                usage[cache, default: CacheUsage()].valueBytes += more.valueBytes
            }
        }
        if usedPages + pages.free != pages.counted { return "\(usedPages) pages in shards, \(pages.free) free, \(pages.counted) in all" }
        let counted = shared.budget.pointee.counted
        let recounted = fixedBytes + shared.caches.pointee.charge + pages.counted * Arena.pageCharge + orderBytes
        if counted != recounted { return "counted \(counted) bytes, recounted \(recounted)" }
        if shared.budget.pointee.tombstoneBytes.load(ordering: .relaxed) != tombstoneBytes { return "bytes of tombstones" }
        for cache in 0..<UInt16(shared.caches.pointee.count) {
            let (counted, recounted) = (self.usage(of: CacheIndex(cache)), usage[cache] ?? CacheUsage())
            if counted != recounted { return "cache \(cache): counted \(counted), recounted \(recounted)" }
        }
        return nil
    }
}

extension Shard {
    struct Recount: Sendable {
        var problem: String? = nil
        var pages = 0
        var tombstoneBytes = 0
        var orderBytes = 0
        var usage: [UInt16: CacheUsage] = [:]
        /// Items reached, by class.
        var items = [Int](repeating: 0, count: SizeClass.count)
        var entries = 0
        var tombstones = 0
        var expiring = 0
    }

    func recount() -> Recount {
        var recount = Recount(pages: slab.pageCount + order.pages, orderBytes: order.heapCharge)
        countIndex(&recount)
        if recount.problem == nil { recount.problem = problem(recount) }
        return recount
    }

    private func problem(_ recount: Recount) -> String? {
        if recount.entries != counts.entries { return "\(counts.entries) entries counted, \(recount.entries) found" }
        if recount.tombstones != counts.tombstones { return "\(counts.tombstones) tombstones counted, \(recount.tombstones) found" }
        if let problem = checkOrder(values: recount.entries - recount.tombstones) { return problem }
        if let problem = checkList(tombstones.front, tombstones.back, queue: 0, tombstones: true, count: recount.tombstones) {
            return problem
        }
        if wheel.count != recount.expiring { return "\(wheel.count) entries in the wheel, \(recount.expiring) expire" }
        if let problem = wheel.check(entries) { return problem }
        if slots.heldRecount != slots.heldCount { return "\(slots.heldCount) slots counted as held, \(slots.heldRecount) found" }
        return slab.check(items: recount.items)
    }

    private func countIndex(_ recount: inout Recount) {
        var hash = index.hashes.lowerBound
        while hash < index.hashes.upperBound {
            let start = UInt32(truncatingIfNeeded: hash)
            index.forEachDirectory(from: start) { recount.items[Int(IndexWord.directoryClass($0.word.depth))] += 1 }
            let place = index.place(start)
            if !place.word.isEmpty {
                recount.items[Int(IndexWord.linesClass(place.word.lines))] += 1
                index.forEach(in: place.word) { count($0, &recount) }
            }
            hash = index.end(of: place, start)
        }
    }

    private func count(_ handle: UInt32, _ recount: inout Recount) {
        let entry = entries[handle]
        let (state, layout) = (entry.state, layout(entry))
        recount.entries += 1
        recount.expiring += state.expires ? 1 : 0
        recount.usage[entry.cache, default: CacheUsage()].bytes += charge(entry)
        if state.isTombstone {
            recount.tombstones += 1
            recount.tombstoneBytes += charge(entry)
            recount.usage[entry.cache, default: CacheUsage()].tombstones += 1
        } else {
            recount.usage[entry.cache, default: CacheUsage()].entries += 1
            recount.usage[entry.cache, default: CacheUsage()].valueBytes += charge(entry)
        }
        recount.items[Int(SizeClass.entry)] += 1
        recount.items[Int(layout.firstClass)] += 1
        if layout.isChain {
            recount.items[Int(SizeClass.chunk(SizeClass.chunkMax))] += layout.pieces - 1
            recount.items[Int(layout.lastClass)] += 1
        }
        if layout.isChain != state.isChain { recount.problem = "entry \(handle) has the wrong layout" }
        let id = KeyID(hash: UInt64(entry.hash) << 32, cache: CacheIndex(entry.cache))
        if find(id, key(entry)) != handle { recount.problem = "entry \(handle) is not found by its key" }
        if !slots.isHeld(entry.slot) { recount.problem = "entry \(handle) lies in an absent slot" }
    }

    private func checkOrder(values: Int) -> String? {
        var count = 0
        for list in order.lists {
            if let problem = checkList(list.front, list.back, queue: list.queue, tombstones: false, count: list.count) { return problem }
            count += list.count
            var (cost, handle) = (0, list.front)
            while handle != 0 { (cost, handle) = (cost + charge(entries[handle]), entries[handle].older) }
            if cost != list.cost { return "a list costs \(cost), counted \(list.cost)" }
        }
        return count == values ? nil : "\(count) values are in lists, \(values) found"
    }

    private func checkList(_ front: UInt32, _ back: UInt32, queue: UInt8, tombstones: Bool, count: Int) -> String? {
        var (seen, before, handle) = (0, UInt32(0), front)
        while handle != 0 {
            let entry = entries[handle]
            if entry.newer != before { return "list of \(tombstones ? "tombstones" : "values") is not linked both ways at \(handle)" }
            if entry.state.isTombstone != tombstones || entry.state.bits & PolicyState.queueMask != queue {
                return "entry \(handle) is in the wrong list"
            }
            seen += 1
            if seen > count { break }
            (before, handle) = (handle, entry.older)
        }
        if back != before { return "the back of a list is not its last entry" }
        return seen == count ? nil : "a list has \(seen) entries instead of \(count)"
    }
}

extension Slab {
    /// - Parameter items: reached from entries and index, by class.
    func check(items: [Int]) -> String? {
        var (pages, bytes) = (0, 0)
        for number in 0..<SizeClass.count {
            let state = state(UInt8(number))
            var (used, free) = (0, 0)
            for (head, isFull) in [(state.partial, false), (state.full, true)] {
                var (page, back) = (head, UInt32(0))
                while page != 0 {
                    let record = record(page).pointee
                    if record.back != back || Int(record.sizeClass) != number || record.isClosed {
                        return "page \(page) is in a wrong list"
                    }
                    if (record.used == state.perPage) != isFull || record.used == 0 { return "page \(page) has \(record.used) items" }
                    pages += 1
                    used += Int(record.used)
                    free += Int(state.perPage) - Int(record.used)
                    (back, page) = (page, record.next)
                }
            }
            if used != items[number] { return "class \(number): \(used) items handed out, \(items[number]) reached" }
            if free != Int(state.freeCount) { return "class \(number): \(state.freeCount) free items counted, \(free) found" }
            bytes += free * Int(state.itemBytes)
        }
        if bytes != freeBytes { return "\(freeBytes) free bytes counted, \(bytes) found" }
        return pages == pageCount ? nil : "\(pageCount) pages counted, \(pages) found"
    }
}

internal import Synchronization

extension ByteStore {
    /// Recounts everything from scratch: bytes, lists, index, slots, floors, counts. For tests; exact only while nobody writes.
    /// - Returns: what does not agree, or nil.
    /// - Complexity: O(entries + slots), each shard under its lock.
    package func checkInvariants() -> String? {
        var bytes = fixedBytes + shared.caches.pointee.charge
        var tombstoneBytes = 0
        var usage: [UInt16: CacheUsage] = [:]
        for number in 0..<shardCount {
            let recount = cells[number].lock.withLock { $0.recount() }
            if let problem = recount.problem { return "shard \(number): \(problem)" }
            bytes += recount.bytes
            tombstoneBytes += recount.tombstoneBytes
            for (cache, more) in recount.usage {
                usage[cache, default: CacheUsage()].entries += more.entries
                usage[cache, default: CacheUsage()].tombstones += more.tombstones
                usage[cache, default: CacheUsage()].bytes += more.bytes
            }
        }
        let counted = shared.budget.pointee.counted
        if counted != bytes { return "counted \(counted) bytes, recounted \(bytes)" }
        if shared.budget.pointee.tombstoneBytes.load(ordering: .relaxed) != tombstoneBytes { return "bytes of tombstones" }
        for cache in 0..<UInt16(shared.caches.pointee.count) {
            let (counted, recounted) = (self.usage(of: CacheIndex(cache)), usage[cache] ?? CacheUsage())
            if counted != recounted { return "cache \(cache): counted \(counted), recounted \(recounted)" }
        }
        return nil
    }
}

extension Shard {
    /// Values and tombstones held.
    var heldCounts: (values: Int, tombstones: Int) { (entries.count - counts.tombstones, counts.tombstones) }

    struct Recount: Sendable {
        var problem: String? = nil
        var bytes = 0
        var tombstoneBytes = 0
        var usage: [UInt16: CacheUsage] = [:]
    }

    func recount() -> Recount {
        var recount = Recount(bytes: entries.charge + index.charge)
        var (expiring, tombstoneCount) = (0, 0)
        for position in 0..<entries.count {
            let entry = entries[UInt32(position)].pointee
            let id = KeyID(hash: entry.hash, cache: CacheIndex(entry.cache))
            recount.bytes += entry.charge
            expiring += entry.expires ? 1 : 0
            tombstoneCount += entry.isTombstone ? 1 : 0
            let bytes = entry.charge + MemoryLayout<Entry>.stride
            recount.usage[entry.cache, default: CacheUsage()].bytes += bytes
            if entry.isTombstone {
                recount.tombstoneBytes += bytes
                recount.usage[entry.cache, default: CacheUsage()].tombstones += 1
            } else {
                recount.usage[entry.cache, default: CacheUsage()].entries += 1
            }
            if find(id, entry.key) != UInt32(position) { recount.problem = "entry \(position) is not found by its key" }
            if !slots.isHeld(id.slot.index) { recount.problem = "entry \(position) lies in an absent slot" }
        }
        if counts.expiring != expiring { recount.problem = "\(counts.expiring) expiring entries counted, \(expiring) found" }
        if counts.tombstones != tombstoneCount { recount.problem = "\(counts.tombstones) tombstones counted, \(tombstoneCount) found" }
        let problem =
            checkList(values, tombstones: false, count: entries.count - tombstoneCount)
            ?? checkList(tombstones, tombstones: true, count: tombstoneCount) ?? index.check(count: entries.count) ?? checkSlots()
        recount.problem = recount.problem ?? problem
        return recount
    }

    private func checkList(_ list: EntryList, tombstones: Bool, count: Int) -> String? {
        var (seen, before, handle) = (0, Entry.none, list.front)
        while handle != Entry.none {
            let entry = entries[handle].pointee
            if entry.newer != before { return "list of \(tombstones ? "tombstones" : "values") is not linked both ways at \(handle)" }
            if entry.isTombstone != tombstones { return "entry \(handle) is in the wrong list" }
            seen += 1
            if seen > count { break }
            (before, handle) = (handle, entry.older)
        }
        if list.back != before { return "the back of a list is not its last entry" }
        return seen == count ? nil : "a list has \(seen) entries instead of \(count)"
    }

    private func checkSlots() -> String? {
        var (seen, held) = (0, 0)
        var next = slots.firstHeld(from: slots.slots.lowerBound)
        while let slot = next {
            held += 1
            next = slots.firstHeld(from: slot + 1)
            var (before, handle) = (Entry.none, slots.head(slot))
            while handle != Entry.none, seen <= entries.count {
                let entry = entries[handle].pointee
                if entry.slotBack != before || Slot(hash: entry.hash).index != slot { return "slot \(slot) is not linked at \(handle)" }
                seen += 1
                (before, handle) = (handle, entry.slotNext)
            }
        }
        if held != slots.heldCount { return "\(slots.heldCount) slots counted as held, \(held) found" }
        return seen == entries.count ? nil : "slots list \(seen) entries instead of \(entries.count)"
    }
}

extension ShardIndex {
    /// Each word within reach of its home and behind no word of a later home.
    func check(count: Int) -> String? {
        var (seen, last) = (0, -1)
        for position in 0..<wordCount {
            guard handle(at: position) != nil else {
                last = -1
                continue
            }
            seen += 1
            let home = home(at: position)
            if home > position || position - home >= Self.probeMax { return "word \(position) is out of reach of its home \(home)" }
            if home < last { return "word \(position) is out of order" }
            last = home
        }
        return seen == count ? nil : "the index has \(seen) words for \(count) entries"
    }
}

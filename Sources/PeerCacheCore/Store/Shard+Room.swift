extension Shard {
    // MARK: Room for a write

    enum Room {
        /// Everything is there.
        case ready
        /// Something was made free: try again.
        case progress
        /// It does not fit.
        case none
        case step(WriteStep)
    }

    /// Gets chunks, an entry and a place in the index, evicting as needed. `found` follows its entry, which is not evicted.
    @inline(__always)
    mutating func makeRoom(
        _ request: WriteRequest, _ found: inout UInt32, _ pending: inout PendingWrite, mayWait: Bool, mayChooseDonor: Bool
    ) -> Room {
        var evicted = 0
        while true {
            if allocate(&pending, request.layout) {
                if found != 0 { return .ready }
                if allocateEntry(&pending) {
                    switch index.prepare(request.hash, &slab, gate) {
                    case .ready: return .ready
                    case .noMemory: break
                    case .crowded:
                        drop(index.lowestStamp(request.hash), .evicted)
                        continue
                    }
                }
            }
            let room = makePage(request, &found, &evicted, mayWait: mayWait, mayChooseDonor: mayChooseDonor)
            if case .progress = room { continue }
            return room
        }
    }

    /// Evicts one entry or empties pages. `found` may move.
    private mutating func makePage(
        _ request: WriteRequest, _ found: inout UInt32, _ evicted: inout Int, mayWait: Bool, mayChooseDonor: Bool
    ) -> Room {
        if evicted == 0, mayWait, mayChooseDonor,
            let donor = shared.ages.pointee.donor(for: number, own: order.oldestUse(entries), now: request.now, hand: &donorHand)
        {
            return .step(.blocked(donor: donor))
        }
        // Without a victim fragments are all there is: the last means of a shard that is almost empty.
        if isWorthEmptying || !hasVictim(sparing: found) {
            let gained = emptyPages()
            if found != 0 { found = find(request.id, request.key) }  // entries move
            if gained { return .progress }
        }
        if evicted >= Self.evictionsMax { return mayWait ? .step(.again) : .none }
        guard let victim = victim(incoming: EntryRef.ownCharge + request.layout.charge, sparing: found) else {
            return mayWait ? .step(.blocked(donor: shared.ages.pointee.next())) : .none
        }
        drop(victim, .evicted)
        evicted += 1
        return .progress
    }

    /// The next to go: the oldest tombstone while all together take more than their share, else the value that the policy names, else the
    /// oldest tombstone. Nil when there is none but `spared`. It must go: the policy has taken its decision.
    /// - Parameter incoming: bytes of the value that needs the room, 0 when memory is given away.
    mutating func victim(incoming: Int, sparing spared: UInt32) -> UInt32? {
        var tombstone = tombstones.back
        if tombstone == spared, tombstone != 0 { tombstone = entries[tombstone].newer }
        if tombstone != 0, shared.budget.pointee.hasTooManyTombstones { return tombstone }
        let value = order.victim(incoming: incoming, sparing: spared, entries)
        let chosen = value == 0 ? tombstone : value
        return chosen == 0 ? nil : chosen
    }

    private func hasVictim(sparing spared: UInt32) -> Bool { counts.entries > (spared == 0 ? 0 : 1) }

    /// Evicts and empties pages until `pages` went back to the pool, but drops no more than `dropsMax`.
    mutating func givePages(_ pages: Int, dropsMax: Int) -> Slice {
        var slice = Slice()
        let before = slab.pageCount
        while before - slab.pageCount < pages, slice.dropped < dropsMax {
            if isWorthEmptying, emptyPages() { continue }
            guard let victim = victim(incoming: 0, sparing: 0) else {
                if emptyPages() { continue }
                slice.isComplete = true
                break
            }
            slice.bytes += charge(entries[victim])
            drop(victim, .evicted)
            slice.dropped += 1
        }
        slice.pages = before - slab.pageCount
        publishAge()
        return slice
    }

    /// Tells the other shards how old the oldest value is. Hits do not: what they read may be older than the truth.
    @inline(__always)
    mutating func publishAge() { shared.ages.pointee.publish(number, order.oldestUse(entries)) }

    // MARK: Emptying pages

    /// Whether enough free items are spread over pages that moving the others together pays for the walk over all entries.
    private var isWorthEmptying: Bool {
        guard slab.freeBytes > slab.pageCount &* Arena.pageBytes / 16 else { return false }
        return slab.closablePages >= max(1, slab.pageCount / 32)
    }

    /// Moves everything out of the emptiest pages and gives them back. O(entries).
    ///
    /// Chunks have no way back to their entry, so all entries are walked in the order of their pages, and those whose chunk lies in a
    /// closed page get another.
    /// - Returns: whether a page was given back.
    mutating func emptyPages() -> Bool {
        let before = slab.pageCount
        guard let kinds = slab.closeEmptiest() else { return false }
        if kinds.chunks { moveChunks() }
        if kinds.entries { moveEntries() }
        if kinds.index { index.leaveClosedPages(&slab, gate) }
        slab.finishClosing()
        return slab.pageCount < before
    }

    private mutating func moveChunks() {
        forEachEntry { entry, slab, gate in
            let chunk = entry.chunk
            if slab.isClosed(chunk), let copy = Self.copy(chunk, &slab) {
                gate.change { entry.chunk = copy }
                slab.free(chunk)
            }
            if entry.state.isChain { Self.movePieces(slab.address(entry.chunk) + 4, &slab) }
        }
    }

    /// Calls `body` for each entry in the order of their pages. It may allocate and free chunks, but no entries.
    private mutating func forEachEntry(_ body: (EntryRef, inout Slab, Gate) -> Void) {
        let state = slab.state(SizeClass.entry)
        for head in [state.full, state.partial, slab.closed] {
            var page = head
            while page != 0 {
                let record = slab.record(page).pointee
                if record.sizeClass == SizeClass.entry {
                    for number in 0..<Int(record.touched) {
                        let entry = EntryRef(address: slab.address(page << 11) + number * EntryRef.bytes)
                        if entry.chunk != 0 { body(entry, &slab, gate) }
                    }
                }
                page = record.next
            }
        }
    }

    private static func copy(_ item: UInt32, _ slab: inout Slab) -> UInt32? {
        let sizeClass = slab.record(slab.page(of: item)).pointee.sizeClass
        let copy = slab.allocate(sizeClass)
        guard copy != 0 else { return nil }
        Words.copy(to: slab.address(copy), from: slab.address(item), bytes: SizeClass.bytes(sizeClass))
        return copy
    }

    /// - Parameter link: where the first piece is named. Readers without the lock follow no pieces.
    private static func movePieces(_ link: UnsafeMutableRawPointer, _ slab: inout Slab) {
        var link = link
        while case let piece = Words.load32(link), piece != 0 {
            if slab.isClosed(piece), let copy = copy(piece, &slab) {
                Words.store32(link, copy)
                slab.free(piece)
            }
            link = slab.address(Words.load32(link))
        }
    }

    private mutating func moveEntries() {
        var page = slab.closed
        while page != 0 {
            let record = slab.record(page).pointee
            if record.sizeClass == SizeClass.entry {
                for number in 0..<Int(record.touched) {
                    let item = page << 11 + UInt32(number * EntryRef.bytes / 8)
                    if entries[item >> 1].chunk != 0 { moveEntry(item) }
                }
            }
            page = record.next
        }
    }

    private mutating func moveEntry(_ item: UInt32) {
        let copy = slab.allocate(SizeClass.entry)
        guard copy != 0 else { return }
        Words.copy(to: slab.address(copy), from: slab.address(item), bytes: EntryRef.bytes)
        let (old, new) = (item >> 1, copy >> 1)
        let (hash, state) = (entries[new].hash, entries[new].state)
        gate.change { index.moved(hash, from: old, to: new) }
        if state.isTombstone { tombstones.moved(to: new, entries) } else { order.moved(to: new, entries) }
        if state.expires { wheel.moved(to: new, entries) }
        freeEntry(old)
    }
}

internal import Synchronization

/// Blocks grow by two lines, then split; they shrink when they are sparse. What readers look at changes within a section of the gate.
extension ShardIndex {
    enum Room: Sendable { case ready, noMemory, crowded }

    private static let handlesMax = IndexWord.linesMax * IndexLine.places

    /// Makes room for one more entry of this hash, in a larger block if need be.
    /// - Returns: `.crowded`: something must go from the lines of this hash first, as growing would not help or is not possible.
    func prepare(_ hash: UInt32, _ slab: inout Slab, _ gate: Gate) -> Room {
        if hasRoom(hash) { return .ready }
        // Blocks leave their class as they grow: without this, a page of each class stays for the few that are behind.
        if slab.closableIndexPages > 0, slab.closeEmptiest(from: Int(SizeClass.indexFirst)) != nil {
            leaveClosedPages(&slab, gate)
            slab.finishClosing()
        }
        for _ in 0..<64 {  // each round adds lines or a bit of the hash
            if hasRoom(hash) { return .ready }
            let place = place(hash)
            let room = place.word.isEmpty ? begin(place, &slab, gate) : grow(place, &slab, gate)
            if room != .ready { return room }
        }
        return .crowded
    }

    private func begin(_ place: Place, _ slab: inout Slab, _ gate: Gate) -> Room {
        guard let block = allocate(lines: 2, &slab) else { return .noMemory }
        // The largest range around the position whose words are all empty.
        var (start, size) = (place.position, 1)
        while place.owner != nil, size < place.count {
            let buddy = start ^ size
            guard (buddy..<buddy + size).allSatisfy({ Words.load32(place.words + $0 * 4) == 0 }) else { break }
            start &= ~size
            size *= 2
        }
        gate.change { for position in start..<start + size { Words.store32(place.words + position * 4, block.bits) } }
        return .ready
    }

    private func grow(_ place: Place, _ slab: inout Slab, _ gate: Gate) -> Room {
        let old = place.word
        return withUnsafeTemporaryAllocation(of: UInt32.self, capacity: Self.handlesMax) { handles in
            var count = 0
            forEach(in: old) {
                handles[count] = $0
                count += 1
            }
            // Three full lines in a block that is half empty: equal hashes, which more lines do not spread.
            if count * 2 < old.lines * IndexLine.places { return .crowded }
            let all = UnsafeMutableBufferPointer(rebasing: handles[..<count])
            if old.lines < IndexWord.linesMax {
                let (room, block) = build(all, linesMin: old.lines + 2, &slab)
                if room == .ready {
                    replace(place, by: block, gate)
                    slab.free(old.item)
                }
                if room != .crowded { return room }
            }
            return split(place, old, all, &slab, gate)
        }
    }

    /// A new block with these entries. `.crowded`: they do not fit in 16 lines.
    private func build(
        _ handles: UnsafeMutableBufferPointer<UInt32>, linesMin: Int, _ slab: inout Slab
    ) -> (room: Room, block: IndexWord) {
        if handles.isEmpty { return (.ready, .empty) }
        var lines = linesMin
        while lines <= IndexWord.linesMax {
            guard let block = allocate(lines: lines, &slab) else { return (.noMemory, .empty) }
            if handles.allSatisfy({ insert(entries[$0].hash, $0, into: block) }) { return (.ready, block) }
            slab.free(block.item)
            lines += 2
        }
        return (.crowded, .empty)
    }

    private func allocate(lines: Int, _ slab: inout Slab) -> IndexWord? {
        let item = slab.allocate(IndexWord.linesClass(lines))
        guard item != 0 else { return nil }
        let block = IndexWord(item: item, lines: lines)
        for number in 0..<lines {
            let line = line(block, number)
            Words.store(line.address, 0)
            Words.store(line.address + 8, 0)
        }
        return block
    }

    private func replace(_ place: Place, by new: IndexWord, _ gate: Gate) {
        let run = place.run
        gate.change { for position in run { Words.store32(place.words + position * 4, new.bits) } }
    }

    // MARK: Splitting

    private func split(
        _ place: Place, _ old: IndexWord, _ handles: UnsafeMutableBufferPointer<UInt32>, _ slab: inout Slab, _ gate: Gate
    ) -> Room {
        let run = place.run
        if run.count == 1 { return deepen(place, &slab, gate) }
        // The run is aligned to its size, which is a power of two: its half is the next bit of the hash.
        let middle = run.lowerBound + run.count / 2
        var split = 0
        for position in 0..<handles.count
        where Int(entries[handles[position]].hash >> place.shift) & (place.count - 1) < middle {
            handles.swapAt(split, position)
            split += 1
        }
        let lower = half(handles, 0..<split, &slab)
        guard lower.room == .ready else { return lower.room }
        let upper = half(handles, split..<handles.count, &slab)
        guard upper.room == .ready else {
            if !lower.block.isEmpty { slab.free(lower.block.item) }
            return upper.room
        }
        gate.change {
            for position in run { Words.store32(place.words + position * 4, position < middle ? lower.block.bits : upper.block.bits) }
        }
        slab.free(old.item)
        return .ready
    }

    private func half(
        _ handles: UnsafeMutableBufferPointer<UInt32>, _ range: Range<Int>, _ slab: inout Slab
    ) -> (room: Room, block: IndexWord) {
        build(UnsafeMutableBufferPointer(rebasing: handles[range]), linesMin: Self.lines(for: range.count), &slab)
    }

    private static func lines(for count: Int) -> Int { min(IndexWord.linesMax, max(2, (count + 19) / 20 * 2)) }

    /// Twice the words for the directory of the place; or a new one instead of the block, where there is none or it is full.
    private func deepen(_ place: Place, _ slab: inout Slab, _ gate: Gate) -> Room {
        let depth = place.count.trailingZeroBitCount + 1
        if let owner = place.owner, depth <= IndexWord.depthMax, place.shift > 0 {
            let old = IndexWord(bits: Words.load32(owner))
            let item = slab.allocate(IndexWord.directoryClass(depth))
            guard item != 0 else { return .noMemory }
            let new = IndexWord(item: item, depth: depth)
            for position in 0..<1 << depth {
                Words.store32(address(new.offset) + position * 4, Words.load32(place.words + position / 2 * 4))
            }
            gate.change { Words.store32(owner, new.bits) }
            slab.free(old.item)
            return .ready
        }
        guard place.shift >= UInt32(IndexWord.depthMin) else { return .crowded }
        let item = slab.allocate(IndexWord.directoryClass(IndexWord.depthMin))
        guard item != 0 else { return .noMemory }
        let new = IndexWord(item: item, depth: IndexWord.depthMin)
        for position in 0..<1 << IndexWord.depthMin { Words.store32(address(new.offset) + position * 4, place.word.bits) }
        gate.change { Words.store32(place.address, new.bits) }
        return .ready
    }

    // MARK: Shrinking

    /// Gives back lines of a sparse block, or all of an empty one. Does nothing when there is no memory for the smaller one.
    func shrink(_ hash: UInt32, _ slab: inout Slab, _ gate: Gate) {
        let place = place(hash)
        let old = place.word
        guard !old.isEmpty else { return }
        let count = count(old)
        if count == 0 {
            replace(place, by: .empty, gate)
            slab.free(old.item)
            removeEmptyDirectory(hash, &slab, gate)
            return
        }
        let lines = old.lines - 2
        guard lines >= 2, count <= lines * 7 else { return }
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: Self.handlesMax) { handles in
            var filled = 0
            forEach(in: old) {
                handles[filled] = $0
                filled += 1
            }
            let all = UnsafeMutableBufferPointer(rebasing: handles[..<filled])
            let (room, block) = build(all, linesMin: min(lines, Self.lines(for: count + count / 4)), &slab)
            guard room == .ready else { return }
            guard block.lines < old.lines else { return slab.free(block.item) }
            replace(place, by: block, gate)
            slab.free(old.item)
        }
    }

    private func removeEmptyDirectory(_ hash: UInt32, _ slab: inout Slab, _ gate: Gate) {
        while case let place = place(hash), let owner = place.owner {
            guard (0..<place.count).allSatisfy({ Words.load32(place.words + $0 * 4) == 0 }) else { return }
            let directory = IndexWord(bits: Words.load32(owner))
            gate.change { Words.store32(owner, 0) }
            slab.free(directory.item)
        }
    }

    // MARK: Moving blocks out of closed pages

    func leaveClosedPages(_ slab: inout Slab, _ gate: Gate) {
        var hash = hashes.lowerBound
        while hash < hashes.upperBound {
            let start = UInt32(truncatingIfNeeded: hash)
            forEachDirectory(from: start) { place in
                guard let moved = move(place.word, &slab) else { return }
                let old = place.word
                gate.change { Words.store32(place.address, moved.bits) }
                slab.free(old.item)
            }
            let place = place(start)
            let block = place.word
            if !block.isEmpty, let moved = move(block, &slab) {
                replace(place, by: moved, gate)
                slab.free(block.item)
            }
            hash = end(of: place, start)
        }
    }

    /// Calls `body` for each directory on the way to a hash that begins with this hash.
    func forEachDirectory(from hash: UInt32, _ body: (Place) -> Void) {
        let first = Int(hash >> rootShift) - firstRoot
        var place = Place(words: UnsafeMutableRawPointer(roots), owner: nil, count: rootCount, position: first, shift: rootShift)
        while place.word.isDirectory {
            if UInt64(hash) & ((1 << UInt64(place.shift)) - 1) == 0 { body(place) }
            place = inside(place.word, place, hash)
        }
    }

    private func move(_ word: IndexWord, _ slab: inout Slab) -> IndexWord? {
        guard slab.isClosed(word.item) else { return nil }
        let sizeClass = slab.record(slab.page(of: word.item)).pointee.sizeClass
        let item = slab.allocate(sizeClass)
        guard item != 0 else { return nil }
        Words.copy(to: slab.address(item), from: slab.address(word.item), bytes: SizeClass.bytes(sizeClass))
        return word.isDirectory ? IndexWord(item: item, depth: word.depth) : IndexWord(item: item, lines: word.lines)
    }
}

/// Keys and values in chunks of the arena.
extension Shard {
    // MARK: Reading, under the lock

    /// Length and bytes of the key in a first chunk.
    @inline(__always)
    func key(_ entry: EntryRef) -> UnsafeRawBufferPointer {
        let chunk = slab.address(entry.chunk)
        let length = Int(chunk.load(as: UInt16.self))
        return UnsafeRawBufferPointer(start: chunk + (entry.state.isChain ? ChunkLayout.chainHeader : ChunkLayout.header), count: length)
    }

    @inline(__always)
    func layout(_ entry: EntryRef) -> ChunkLayout {
        ChunkLayout(keyBytes: Int(slab.address(entry.chunk).load(as: UInt16.self)), valueBytes: Int(entry.valueBytes))
    }

    /// The value, unless it is a chain.
    @inline(__always)
    func contiguousValue(_ entry: EntryRef) -> UnsafeRawBufferPointer? {
        if entry.state.isChain { return nil }
        let chunk = slab.address(entry.chunk)
        return UnsafeRawBufferPointer(
            start: chunk + ChunkLayout.header + Int(chunk.load(as: UInt16.self)), count: Int(entry.valueBytes))
    }

    /// Copies a part of the value. `range` lies in 0..<length. O(pieces before it, and its length).
    func copyValue(_ entry: EntryRef, _ range: Range<Int>, to target: UnsafeMutableRawPointer) {
        if let value = contiguousValue(entry), let start = value.baseAddress {
            return target.copyMemory(from: start + range.lowerBound, byteCount: range.count)
        }
        let key = key(entry)
        var part = UnsafeRawPointer(key.baseAddress.unsafelyUnwrapped + key.count)
        var (position, length) = (0, layout(entry).firstPart)
        var next = Words.load32(slab.address(entry.chunk) + 4)
        while position < range.upperBound {
            let overlap = range.clamped(to: position..<min(position + length, Int(entry.valueBytes)))
            if !overlap.isEmpty {
                (target + (overlap.lowerBound - range.lowerBound)).copyMemory(
                    from: part + (overlap.lowerBound - position), byteCount: overlap.count)
            }
            position += length
            guard next != 0 else { break }
            part = UnsafeRawPointer(slab.address(next) + ChunkLayout.pieceHeader)
            length = ChunkLayout.piecePart
            next = Words.load32(slab.address(next))
        }
    }

    // MARK: Memory for a write

    /// Gets chunks for key and value, going on with what is pending. False: no page for the next one.
    mutating func allocate(_ pending: inout PendingWrite, _ layout: ChunkLayout) -> Bool {
        if layout.isChain {
            while pending.pieceCount < layout.pieces {
                let piece = slab.allocate(pending.pieceCount == 0 ? layout.lastClass : SizeClass.chunk(SizeClass.chunkMax))
                guard piece != 0 else { return false }
                Words.store(slab.address(piece), UInt64(pending.pieces))
                pending.pieces = piece
                pending.pieceCount += 1
            }
        }
        if pending.chunk == 0 { pending.chunk = slab.allocate(layout.firstClass) }
        return pending.chunk != 0
    }

    mutating func allocateEntry(_ pending: inout PendingWrite) -> Bool {
        if pending.entry != 0 { return true }
        let item = slab.allocate(SizeClass.entry)
        guard item != 0 else { return false }
        Words.store(slab.address(item), 0)  // free, whatever lay here
        pending.entry = item >> 1
        return true
    }

    mutating func release(_ pending: inout PendingWrite) {
        if pending.chunk != 0 { slab.free(pending.chunk) }
        freePieces(pending.pieces)
        if pending.entry != 0 { freeEntry(pending.entry) }
        pending = PendingWrite()
    }

    // MARK: Contents

    /// Writes key and value into the pending chunks. No reader is led to them yet, but one with an outdated handle may look.
    @inline(__always)
    func fill(_ pending: PendingWrite, _ request: WriteRequest) {
        let layout = request.layout
        guard layout.isChain else {
            var writer = WordWriter(slab.address(pending.chunk), head: UInt64(request.key.count), headBytes: ChunkLayout.header)
            writer.append(request.key)
            writer.append(request.value)
            return writer.finish()
        }
        fillChain(pending, request, layout)
    }

    private func fillChain(_ pending: PendingWrite, _ request: WriteRequest, _ layout: ChunkLayout) {
        let chunk = slab.address(pending.chunk)
        Words.store(chunk, UInt64(request.key.count) | UInt64(pending.pieces) << 32)
        var writer = WordWriter(chunk + ChunkLayout.chainHeader, head: 0, headBytes: 0)
        writer.append(request.key)
        writer.append(UnsafeRawBufferPointer(rebasing: request.value[..<layout.firstPart]))
        writer.finish()
        var (position, piece) = (layout.firstPart, pending.pieces)
        while position < request.value.count, piece != 0 {
            let next = Words.load32(slab.address(piece))
            let end = min(position + ChunkLayout.piecePart, request.value.count)
            var writer = WordWriter(slab.address(piece), head: UInt64(next), headBytes: ChunkLayout.pieceHeader)
            writer.append(UnsafeRawBufferPointer(rebasing: request.value[position..<end]))
            writer.finish()
            (position, piece) = (end, next)
        }
    }

    /// Frees the chunks of an entry. No reader is led to them any more.
    @inline(__always)
    mutating func freeChunks(_ chunk: UInt32, isChain: Bool) {
        if isChain { freePieces(Words.load32(slab.address(chunk) + 4)) }
        slab.free(chunk)
    }

    private mutating func freePieces(_ first: UInt32) {
        var piece = first
        while piece != 0 {
            let next = Words.load32(slab.address(piece))
            slab.free(piece)
            piece = next
        }
    }

    @inline(__always)
    mutating func freeEntry(_ handle: UInt32) { slab.free(handle &<< 1) }
}

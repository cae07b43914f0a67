internal import CProtobufC

/// Memory for the structs of one decoded frame: taken by bumping an offset, given back all at once.
///
/// protobuf-c turns a mebibyte of hostile wire bytes into 84 MiB of structs (`SECURITY.md` §5), so the total has a hard cap; an allocation
/// above it fails and the frame is refused. The first block is kept between frames, so that ordinary frames allocate nothing.
package final class BumpArena {
    private struct State {
        var current: UnsafeMutableRawPointer
        var currentBytes: Int
        var offset = 0
        var taken = 0
        var cap = 0
        /// Blocks beyond the first, of the frame at hand.
        var extra: [UnsafeMutableRawPointer] = []
    }

    private static let blockBytes = 64 * 1024
    private static let alignment = 16

    private let first: UnsafeMutableRawPointer
    /// At a stable address: protobuf-c hands it back to the functions below.
    private let state: UnsafeMutablePointer<State>
    let allocator: UnsafeMutablePointer<ProtobufCAllocator>

    package init() {
        first = .allocate(byteCount: Self.blockBytes, alignment: Self.alignment)
        state = .allocate(capacity: 1)
        state.initialize(to: State(current: first, currentBytes: Self.blockBytes))
        allocator = .allocate(capacity: 1)
        allocator.initialize(
            to: ProtobufCAllocator(
                alloc: { data, count in BumpArena.allocate(data, count) },
                free: { _, _ in },  // everything goes at once, in `reset`
                allocator_data: UnsafeMutableRawPointer(state)))
    }

    deinit {
        reset(cap: 0)
        allocator.deallocate()
        state.deinitialize(count: 1)
        state.deallocate()
        first.deallocate()
    }

    /// Bytes handed out since the last reset.
    package var taken: Int { state.pointee.taken }

    /// Gives everything back; the next frame may take `cap` bytes.
    package func reset(cap: Int) {
        releaseExtraBlocks()
        state.pointee.offset = 0
        state.pointee.taken = 0
        state.pointee.cap = cap
    }

    /// Call when the frame has been handled: a connection that falls silent must not hold what its last frame took.
    package func releaseExtraBlocks() {
        guard !state.pointee.extra.isEmpty else { return }
        for block in state.pointee.extra { block.deallocate() }
        state.pointee.extra.removeAll()
        state.pointee.current = first
        state.pointee.currentBytes = Self.blockBytes
        // Nothing fits before the next reset.
        state.pointee.offset = Self.blockBytes
        state.pointee.cap = 0
    }

    private static func allocate(_ data: UnsafeMutableRawPointer?, _ count: Int) -> UnsafeMutableRawPointer? {
        guard let state = data?.assumingMemoryBound(to: State.self), count >= 0, count <= state.pointee.cap else { return nil }
        let rounded = (max(count, 1) + alignment - 1) & ~(alignment - 1)
        guard rounded <= state.pointee.cap - state.pointee.taken else { return nil }
        state.pointee.taken += rounded
        if rounded > state.pointee.currentBytes - state.pointee.offset {
            let bytes = max(rounded, blockBytes)
            let block = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: alignment)
            state.pointee.extra.append(block)
            state.pointee.current = block
            state.pointee.currentBytes = bytes
            state.pointee.offset = 0
        }
        defer { state.pointee.offset += rounded }
        return state.pointee.current + state.pointee.offset
    }
}

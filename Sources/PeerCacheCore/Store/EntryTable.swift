/// The entries of a shard, dense in 0..<count, in segments of 4 KiB: growing copies no entry, and what shrank can be given back.
///
/// A handle is a position. Removing an entry moves the last one into the hole, so a handle is good until the next removal.
struct EntryTable: ~Copyable {
    static let perSegment = 64
    static let segmentCharge = AllocatorClass.charge(perSegment * MemoryLayout<Entry>.stride)

    private var segments: UnsafeMutablePointer<UnsafeMutablePointer<Entry>>?
    private var segmentsMax = 0
    private var segmentCount = 0
    private(set) var count = 0

    init() {}

    deinit {
        for number in 0..<segmentCount { segments?[number].deallocate() }
        segments?.deallocate()
    }

    /// Bytes counted for the segments and their directory.
    var charge: Int {
        segmentCount * Self.segmentCharge + (segmentsMax == 0 ? 0 : Self.directoryCharge(segmentsMax))
    }

    private static func directoryCharge(_ segments: Int) -> Int { AllocatorClass.charge(segments * MemoryLayout<UnsafeRawPointer>.stride) }

    /// - Parameter handle: in 0..<count.
    @inline(__always)
    subscript(handle: UInt32) -> UnsafeMutablePointer<Entry> {
        assert(Int(handle) < count)
        // `segments` is there while anything is held; handles never come from outside.
        return segments.unsafelyUnwrapped[Int(handle >> 6)] + Int(handle & 63)
    }

    /// Makes room for one more entry. False, and nothing changed, when the budget has no bytes for another segment.
    mutating func growIfFull(_ budget: borrowing ByteBudget) -> Bool {
        guard count == segmentCount * Self.perSegment else { return true }
        guard count < Int(UInt32.max) - Self.perSegment else { return false }
        if segmentCount == segmentsMax {
            let larger = max(8, segmentsMax * 2)
            guard budget.reserve(Self.directoryCharge(larger)) else { return false }
            let directory = UnsafeMutablePointer<UnsafeMutablePointer<Entry>>.allocate(capacity: larger)
            if let segments { directory.moveInitialize(from: segments, count: segmentCount) }
            releaseDirectory(budget)
            segments = directory
            segmentsMax = larger
        }
        guard budget.reserve(Self.segmentCharge) else { return false }
        segments?[segmentCount] = .allocate(capacity: Self.perSegment)
        segmentCount += 1
        return true
    }

    /// Appends an entry. ``growIfFull(_:)`` came before.
    mutating func append(_ entry: Entry) -> UInt32 {
        assert(count < segmentCount * Self.perSegment)
        let handle = UInt32(count)
        count += 1
        self[handle].initialize(to: entry)
        return handle
    }

    /// Moves the last entry over `handle`; its old handle is the new ``count``. Gives back segments, but keeps one to spare.
    mutating func removeByMovingLast(_ handle: UInt32, _ budget: borrowing ByteBudget) {
        let last = self[UInt32(count - 1)]
        self[handle].pointee = last.pointee
        count -= 1
        while segmentCount > 0, count == 0 || segmentCount * Self.perSegment - count >= 2 * Self.perSegment {
            segmentCount -= 1
            segments?[segmentCount].deallocate()
            budget.release(Self.segmentCharge)
        }
        if count == 0 { releaseDirectory(budget) }
    }

    private mutating func releaseDirectory(_ budget: borrowing ByteBudget) {
        guard segmentsMax > 0 else { return }
        segments?.deallocate()
        budget.release(Self.directoryCharge(segmentsMax))
        segments = nil
        segmentsMax = 0
    }
}

/// Floors of caches whose entries are being gathered into a slot. It may be held for others already: what was dropped for those says nothing
/// of these, and would refuse what comes. What they drop themselves counts, here and at the sources that hold them.
///
/// Kept until the slot is complete; then the slot's own floor counts, which is as high.
struct EnteringFloors: Sendable {
    private struct Entering {
        let cache: UInt16
        /// None: all are zero.
        var floors: [Stamp] = []

        func floor(_ bucket: BucketIndex) -> Stamp { floors.isEmpty ? .zero : floors[bucket.index % BucketIndex.perSlot] }
    }
    private var slots: [Int: [Entering]] = [:]  // looked up, never iterated

    /// What has not come to its end goes on: what was dropped meanwhile still counts.
    mutating func begin(_ slot: Int, _ caches: [UInt16]) {
        for cache in caches where slots[slot]?.contains(where: { $0.cache == cache }) != true {
            slots[slot, default: []].append(Entering(cache: cache))
        }
    }

    mutating func end(_ slot: Int, where isGone: (UInt16) -> Bool) {
        if slots.isEmpty { return }
        slots[slot]?.removeAll { isGone($0.cache) }
        if slots[slot]?.isEmpty == true { slots[slot] = nil }
    }

    /// Nil: the cache is none of those.
    @inline(__always)
    func floor(_ bucket: BucketIndex, _ cache: UInt16) -> Stamp? { slots.isEmpty ? nil : gathered(bucket, cache) }

    private func gathered(_ bucket: BucketIndex, _ cache: UInt16) -> Stamp? {
        slots[bucket.slot]?.first { $0.cache == cache }?.floor(bucket)
    }

    func visit(_ bucket: BucketIndex, _ body: (_ cache: UInt16, _ floor: Stamp) -> Void) {
        for entering in slots[bucket.slot] ?? [] { body(entering.cache, entering.floor(bucket)) }
    }

    /// - Parameter floor: of a cache; zero: nothing was dropped of it.
    mutating func raise(_ bucket: BucketIndex, to floor: (_ cache: UInt16) -> Stamp) {
        if slots.isEmpty { return }
        let position = bucket.index % BucketIndex.perSlot
        for index in slots[bucket.slot]?.indices ?? 0..<0 {
            guard let entering = slots[bucket.slot]?[index] else { continue }
            let stamp = floor(entering.cache)
            if stamp <= entering.floor(bucket) { continue }
            if entering.floors.isEmpty { slots[bucket.slot]?[index].floors = [Stamp](repeating: .zero, count: BucketIndex.perSlot) }
            slots[bucket.slot]?[index].floors[position] = stamp
        }
    }
}

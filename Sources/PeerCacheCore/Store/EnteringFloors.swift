/// Floors of caches whose entries are being gathered into a slot. It may be held for others already: what was dropped for those says nothing
/// of these, and would refuse what comes. What they drop themselves counts, here and at the sources that hold them.
///
/// Kept until the slot is complete; then the slot's own floor counts, which is as high.
struct EnteringFloors: Sendable {
    /// By slot and cache; no floors: all are zero.
    private var slots: [Int: [UInt16: [Stamp]]] = [:]  // looked up; what all have in common does not depend on an order

    /// A slot whose gathering begins again keeps no floors of the time before.
    mutating func begin(_ slot: Int, _ caches: [UInt16]) {
        if caches.isEmpty { return }
        for cache in caches { slots[slot, default: [:]][cache] = [] }
    }

    mutating func end(_ slot: Int, where isGone: (UInt16) -> Bool) {
        guard let left = slots[slot]?.filter({ !isGone($0.key) }) else { return }
        slots[slot] = left.isEmpty ? nil : left
    }

    /// Nil: the cache is none of those.
    @inline(__always)
    func floor(_ bucket: BucketIndex, _ cache: UInt16) -> Stamp? { slots.isEmpty ? nil : gathered(bucket, cache) }

    private func gathered(_ bucket: BucketIndex, _ cache: UInt16) -> Stamp? {
        slots[bucket.slot]?[cache].map { $0.isEmpty ? .zero : $0[bucket.index % BucketIndex.perSlot] }
    }

    /// The lowest of these caches; nil: none of them is being gathered.
    func lowest(_ bucket: BucketIndex, where isAsked: (UInt16) -> Bool) -> Stamp? {
        slots[bucket.slot]?.keys.filter(isAsked).compactMap { gathered(bucket, $0) }.min()
    }

    /// Something was dropped of these caches.
    mutating func raise(_ bucket: BucketIndex, to stamp: Stamp, where isConcerned: (UInt16) -> Bool) {
        guard let caches = slots[bucket.slot], stamp > .zero else { return }
        let position = bucket.index % BucketIndex.perSlot
        for cache in caches.keys where isConcerned(cache) {
            var floors = caches[cache] ?? []
            if floors.isEmpty { floors = [Stamp](repeating: .zero, count: BucketIndex.perSlot) }
            floors[position] = max(floors[position], stamp)
            slots[bucket.slot]?[cache] = floors
        }
    }
}

/// For every slot the peers nearest to it, nearest first: the order in which the slot would like to be held.
///
/// The distance between a peer and a slot depends on the two alone, so a peer that goes only takes itself out of the lists, and the next in
/// each list is the one that held the first copy. That is rendezvous hashing (Thaler and Ravishankar, "Using Name-Based Mappings to Increase
/// Hit Rates", 1998) with exponentially distributed distances for weights (Schindelhauer and Schomaker, "Weighted Distributed Hash Tables",
/// 2005). Two things differ. A peer visits all slots in a pseudo-random order of its own, as in Maglev (Eisenbud et al., 2016), and its k-th
/// visit has about the k-th smallest distance; drawing distances freely doubles the variance of the shares, and with it what the load bound
/// moves. And the visits stop where the lists are long enough, so that the work does not grow with the number of peers.
struct SlotPreferences {
    /// Visits of all slots, by slot, then by distance: distance in the upper 48 bits, peer in the lower 16.
    private var visits: ContiguousArray<UInt64>
    /// Where each slot's visits begin; one more entry than slots.
    private var starts: ContiguousArray<Int>

    /// Mean length of a list when there are more peers than that. With fewer, every list names every peer.
    static let depth = 16

    /// - Parameter peers: id and weight (1...1,000) of at most 65,536 peers; the lists name them by their position.
    init(peers: [(id: PeerID, weight: Int)]) {
        let weight = peers.reduce(0) { $0 + $1.weight }
        let horizon = peers.count <= Self.depth ? UInt64.max : SlotVisits.unit * UInt64(Self.depth) / UInt64(max(weight, 1))
        var unsorted = ContiguousArray<UInt64>()
        var slots = ContiguousArray<UInt16>()
        unsorted.reserveCapacity(Slot.count * Self.depth * 9 / 8)
        slots.reserveCapacity(Slot.count * Self.depth * 9 / 8)
        starts = ContiguousArray(repeating: 0, count: Slot.count + 1)
        for (index, peer) in peers.enumerated() {
            var walk = SlotVisits(id: peer.id, weight: peer.weight)
            while walk.count < Slot.count, walk.reached < horizon {
                let visit = walk.next()
                unsorted.append(visit.distance << 16 | UInt64(index))
                slots.append(UInt16(visit.slot))
                starts[visit.slot + 1] += 1
            }
        }
        for slot in 0..<Slot.count { starts[slot + 1] += starts[slot] }
        visits = ContiguousArray(repeating: 0, count: unsorted.count)
        // Each visit to its slot by counting, then each short list by insertion.
        var ends = starts
        for (slot, visit) in zip(slots, unsorted) {
            visits[ends[Int(slot)]] = visit
            ends[Int(slot)] += 1
        }
        visits.withUnsafeMutableBufferPointer { visits in
            for slot in 0..<Slot.count { Self.sort(&visits, starts[slot]..<starts[slot + 1]) }
        }
    }

    private static func sort(_ visits: inout UnsafeMutableBufferPointer<UInt64>, _ range: Range<Int>) {
        for position in range.dropFirst() {
            let visit = visits[position]
            var hole = position
            while hole > range.lowerBound, visits[hole - 1] > visit {
                visits[hole] = visits[hole - 1]
                hole -= 1
            }
            visits[hole] = visit
        }
    }

    /// Range of a slot's list for ``peer(at:)``; may be empty.
    func range(of slot: Int) -> Range<Int> { starts[slot]..<starts[slot + 1] }

    func peer(at position: Int) -> Int { Int(truncatingIfNeeded: visits[position] & 0xFFFF) }
}

/// The slots in the order in which one peer visits them, each once, with rising distances.
struct SlotVisits {
    /// Visits made so far, 0...16,384.
    private(set) var count = 0
    /// No later visit is nearer than this.
    private(set) var reached: UInt64 = 0
    private let weight: UInt64
    private let keys: (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32)
    private var jitter: UInt32
    private let jitterStep: UInt32

    /// Mean distance at weight 1. The farthest slot lies at about 10.3 times this, so distances need 48 bits.
    static let unit: UInt64 = 1 << 44

    init(id: PeerID, weight: Int) {
        self.weight = UInt64(min(max(weight, 1), 1000))
        let bytes = (id.high.littleEndian, id.low.littleEndian)
        func words(_ seed: UInt64) -> (UInt32, UInt32) {
            let hash = withUnsafeBytes(of: bytes) { publicHash($0, seed: seed) }
            return (UInt32(truncatingIfNeeded: hash), UInt32(truncatingIfNeeded: hash >> 32))
        }
        let (first, second, third, fourth) = (words(1), words(2), words(3), words(4))
        keys = (first.0 | 1, first.1, second.0 | 1, second.1, third.0 | 1, third.1)
        jitter = fourth.0
        jitterStep = fourth.1 | 1
    }

    /// The next slot and its distance. Not to be called after 16,384 visits.
    mutating func next() -> (slot: Int, distance: UInt64) {
        // Odd factors, sums and shifted exclusive ors are bijections of 14 bits, and so is what they make together.
        let mask = UInt32(Slot.count - 1)
        var slot = (UInt32(truncatingIfNeeded: count) &* keys.0 &+ keys.1) & mask
        slot ^= slot >> 7
        slot = (slot &* keys.2 &+ keys.3) & mask
        slot ^= slot >> 7
        slot = (slot &* keys.4 &+ keys.5) & mask
        // Of n exponential variables of rate w the k-th smallest lies 1 / w(n - k) above the one before it, in the mean.
        let gap = Self.unit / (weight &* UInt64(max(1, Slot.count - count)))
        jitter = jitter &+ jitterStep
        let distance = reached &+ (gap &* UInt64(jitter >> 16)) >> 16
        reached = reached &+ gap
        count += 1
        return (Int(slot), distance)
    }
}

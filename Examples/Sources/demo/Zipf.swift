import Foundation

/// Random source with a seed: the same seed gives the same traffic.
///
/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Exact Zipf distribution over a list of ids: the id of rank k is drawn with a probability proportional to 1 / k^exponent.
///
/// The cumulative sums are kept and searched, no approximation: 8 bytes per id and O(log n) per draw.
struct Zipf: Sendable {
    private let ids: [Int]
    private let cumulative: [Double]

    /// - Parameters:
    ///   - ids: What to draw from, not empty. Ranks are given to them in a random order, so that neighbours are not alike.
    ///   - exponent: 0 is uniform; web traffic is near 1.
    init(ids: ClosedRange<Int>, exponent: Double, seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        self.ids = ids.shuffled(using: &generator)
        var sum = 0.0
        var cumulative: [Double] = []
        cumulative.reserveCapacity(ids.count)
        for rank in 1...ids.count {
            sum += 1 / pow(Double(rank), exponent)
            cumulative.append(sum)
        }
        self.cumulative = cumulative
    }

    func next(using generator: inout SeededGenerator) -> Int {
        let wanted = Double.random(in: 0..<cumulative[cumulative.count - 1], using: &generator)
        var low = 0
        var high = cumulative.count - 1
        while low < high {  // the first rank whose cumulative sum is above the drawn number
            let middle = (low + high) / 2
            if cumulative[middle] > wanted { high = middle } else { low = middle + 1 }
        }
        return ids[low]
    }
}

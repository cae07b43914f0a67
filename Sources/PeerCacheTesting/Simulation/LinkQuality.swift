/// How packets fare from one peer to another; the same in both directions, each packet for itself.
package struct LinkQuality: Hashable, Sendable {
    /// Least one-way time in nanoseconds.
    package var latency: Int64 = 300_000
    /// Mean of the exponential part of the one-way time, in nanoseconds.
    package var jitter: Int64 = 200_000
    /// Packets lost per million, one by one.
    package var lossPerMillion: UInt32 = 0
    /// Per million packets: how many begin a burst in which all are lost.
    package var burstsPerMillion: UInt32 = 0
    /// Mean length of a burst in nanoseconds.
    package var burstLength: Int64 = 300_000_000
    /// Messages of a message link that arrive twice, per million.
    package var duplicatesPerMillion: UInt32 = 0

    package init(lossPercent: UInt32 = 0) { lossPerMillion = lossPercent * 10_000 }

    /// Whether a packet can be lost at all.
    var isLossless: Bool { lossPerMillion == 0 && burstsPerMillion == 0 }

    func delay(_ random: inout SeededRandom) -> Int64 { latency + random.exponential(mean: jitter) }
}

/// log2(1 + i / 256) in 1/65,536, by repeated squaring of integers: the same on every machine.
private let binaryLogarithms: [UInt64] = (0..<256).map { index in
    var value = (UInt64(256 + index) << 23), result: UInt64 = 0  // in 1/2^31, below 2
    for _ in 0..<16 {
        value = (value * value) >> 31
        result <<= 1
        if value >= 1 << 32 {
            value >>= 1
            result |= 1
        }
    }
    return result
}

extension SeededRandom {
    /// Exponentially distributed, without floating point: −ln of a uniform number, by the position and the next bits of its first one. Steps
    /// of 1/256 octave are finer than any rule looks.
    package mutating func exponential(mean: Int64) -> Int64 {
        if mean <= 0 { return 0 }
        let bits = next() | 1
        let zeros = UInt64(bits.leadingZeroBitCount)
        let fraction = Int(truncatingIfNeeded: ((bits << zeros) << 1) >> 56)
        let logarithm = ((zeros + 1) << 16) - binaryLogarithms[fraction]  // −log2, in 1/65,536
        return Int64(truncatingIfNeeded: (UInt64(mean) * ((logarithm * 45_426) >> 16)) >> 16)
    }

    /// Uniform in 0..<`limit`; 0 for 0.
    package mutating func below(_ limit: UInt64) -> UInt64 { limit == 0 ? 0 : next().multipliedFullWidth(by: limit).high }

    package mutating func below(_ limit: Int) -> Int { Int(truncatingIfNeeded: below(UInt64(max(0, limit)))) }

    package mutating func duration(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(truncatingIfNeeded: below(UInt64(range.upperBound - range.lowerBound) + 1))
    }

    mutating func happens(perMillion: UInt32) -> Bool { perMillion > 0 && below(UInt64(1_000_000)) < UInt64(perMillion) }
}

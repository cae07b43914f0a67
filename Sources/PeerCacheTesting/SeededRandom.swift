/// SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014): the whole state is the seed, so a run repeats from it.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// The same seed gives the same numbers on every machine.
    public init(seed: UInt64) { state = seed }

    /// The next 64 bits. O(1).
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

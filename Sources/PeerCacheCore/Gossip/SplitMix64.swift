/// The machine's own randomness (Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014): its state is the seed that came in.
struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Uniform in 0..<`count`; 0 for a count below 1.
    mutating func below(_ count: Int) -> Int { count <= 1 ? 0 : Int.random(in: 0..<count, using: &self) }

    /// Uniform in 0...`limit`, in nanoseconds; zero for a negative limit.
    mutating func duration(upTo limit: Duration) -> Duration {
        .nanoseconds(Int64.random(in: 0...max(0, limit.nanosecondsSaturating), using: &self))
    }

    /// `duration` ± 10 %, so that peers that started together drift apart.
    mutating func around(_ duration: Duration) -> Duration { duration - duration / 10 + self.duration(upTo: duration / 5) }
}

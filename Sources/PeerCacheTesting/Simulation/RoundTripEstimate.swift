/// The retransmission time as Linux computes it (tcp_rtt_estimator): the smoothed round trip and four deviations, of which it forgets slowly.
/// An acknowledgement that was lost makes the next sample long, so at high loss this is far above its least value of 200 ms.
struct RoundTripEstimate {
    private static let least: Int64 = 200_000_000
    static let timeoutMax: Int64 = 120_000_000_000

    private(set) var smoothed: Int64 = 1_000_000
    private var deviation: Int64 = 2_000_000  // four of them
    private var deviationMax = least
    private var variance = least
    /// Number of the segment whose acknowledgement ends the present round.
    private var roundEnd = 0

    /// Before back-off, in nanoseconds.
    var timeout: Int64 { smoothed + variance }

    func timeout(backoff: Int) -> Int64 { min(Self.timeoutMax, timeout << Int64(min(backoff, 10))) }

    mutating func sample(_ roundTrip: Int64, acknowledged: Int, next: Int) {
        var error = roundTrip - smoothed
        smoothed += error / 8
        if error < 0 {
            error = -error - deviation / 4
            if error > 0 { error /= 8 }
        } else {
            error -= deviation / 4
        }
        deviation += error
        if deviation > deviationMax {
            deviationMax = deviation
            variance = max(variance, deviationMax)
        }
        if acknowledged > roundEnd {
            if deviationMax < variance { variance -= (variance - deviationMax) / 4 }
            roundEnd = next
            deviationMax = Self.least
        }
    }
}

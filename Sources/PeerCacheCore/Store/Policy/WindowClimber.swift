/// Finds the window's share by hill climbing: as long as the hit ratio does not fall it goes on, else it turns round; each step is a little
/// smaller than the last, until the ratio jumps (Einziger et al., "Adaptive Software Cache Management", Middleware 2018).
struct WindowClimber {
    /// Also where it starts. Below a hundredth main keeps out what becomes popular: with a thousandth the mean of the table in `STORE.md`
    /// falls by another 1.8 points.
    static let shareMin = 0.01
    static let shareMax = 0.8
    private static let stepMax = 0.0625
    private static let stepDecay = 0.98
    /// A change of the hit ratio that shows other traffic.
    private static let jump = 0.05
    private static let requestsPerEntry = 10
    /// A period has requests for as many entries at least: the ratio of fewer is chance, and each jump of it starts the search again.
    private static let entriesMin = 400

    /// The window's share of the cost, 0.01...0.8.
    private(set) var share = Self.shareMin
    private var step = -Self.stepMax
    private var hits = 0
    private var requests = 0
    private var lastRatio = 0.0

    @inline(__always)
    mutating func hit() {
        hits &+= 1
        requests &+= 1
    }

    @inline(__always)
    mutating func missed() { requests &+= 1 }

    @inline(__always)
    func isDue(entries: Int) -> Bool { requests >= max(Self.entriesMin, entries) &* Self.requestsPerEntry }

    /// Ends a period: sets the new share.
    mutating func climb() {
        let ratio = Double(hits) / Double(max(1, requests))
        let change = ratio - lastRatio
        if change < 0 { step = -step }
        share = min(Self.shareMax, max(Self.shareMin, share + step))
        step = abs(change) >= Self.jump ? (step < 0 ? -Self.stepMax : Self.stepMax) : step * Self.stepDecay
        lastRatio = ratio
        hits = 0
        requests = 0
    }
}

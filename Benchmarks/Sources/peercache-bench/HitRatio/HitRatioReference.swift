/// What the prototypes of `STORE.md` §11 reached: hit ratios in percent of requests.
enum HitRatioReference {
    struct Cell {
        var trace: String
        var capacity: Int
        var lru: Double
        var s3fifo: Double
        var tinyLFU: Double

        /// Capacity in bytes, with each request's size as its cost; else in entries.
        var isInBytes: Bool { trace.hasSuffix("-sizes") }
    }

    static let cells: [Cell] =
        row(
            "oltp", [250, 500, 1000, 2000, 5000], [16.47, 23.45, 32.83, 42.47, 53.65], [21.65, 32.63, 40.81, 46.97, 55.86],
            [24.59, 32.65, 39.91, 46.31, 55.35])
        + row("glimpse", [500, 1000, 1500], [0.95, 11.21, 36.56], [16.13, 35.05, 47.73], [33.25, 50.36, 53.57])
        + row("loop", [512, 768], [0.00, 0.00], [0.00, 60.54], [49.55, 64.39])
        + row("sprite", [100, 400, 1000], [21.58, 70.77, 90.64], [30.13, 71.61, 89.21], [30.58, 70.11, 86.15])
        + row("zigzag", [500, 1000], [23.99, 48.03], [4.17, 12.62], [20.84, 45.85])
        + row("multi3", [1000, 3000], [37.70, 52.12], [45.36, 60.54], [51.13, 68.18])
        + row("scarab-recs", [10_000, 40_000], [48.65, 66.36], [53.43, 67.41], [51.96, 63.24])
        + row("corda-vault", [512, 4096], [33.33, 33.33], [33.33, 33.33], [30.59, 23.52])
        + row("web12", [300, 1200], [49.01, 66.85], [53.36, 70.88], [50.50, 68.97])
        + row("orm-busy", [1000, 5000], [78.78, 85.46], [77.68, 86.64], [76.89, 85.87])
        + row("cdn-sizes", [4_000_000, 64_000_000], [26.01, 39.41], [29.93, 40.67], [30.45, 40.49])
        + row("cloudphysics-sizes", [100_000_000, 500_000_000], [17.70, 27.93], [19.54, 32.52], [18.84, 27.99])

    private static func row(_ trace: String, _ capacities: [Int], _ lru: [Double], _ s3fifo: [Double], _ tinyLFU: [Double]) -> [Cell] {
        capacities.indices.map {
            Cell(trace: trace, capacity: capacities[$0], lru: lru[$0], s3fifo: s3fifo[$0], tinyLFU: tinyLFU[$0])
        }
    }
}

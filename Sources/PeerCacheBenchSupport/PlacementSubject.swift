internal import PeerCacheCore
internal import PeerCacheTesting

/// The placement as the benchmarks drive it. Not API: made for the package `Benchmarks`, changes without notice.
public enum PlacementSubject {
    /// Builds what says who holds what, once, for members with drawn ids and equal weights.
    /// - Throws: when there are more than 65,535 members, or other than 1...7 copies.
    public static func build(members: Int, copies: Int, seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let all = (0..<members).map { _ in PlacementMember(id: PeerID(high: random.next(), low: random.next())) }
        _ = try Placement.build(members: all, digest: seed, ranks: copies)
    }
}

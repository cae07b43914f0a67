import PeerCacheCore
import Synchronization

/// Placements by their members, as histories use the same few again and again.
package final class PlacementCache: Sendable {
    package static let idsMax = 24
    let secret: HashSecret
    private let ids: [PeerID]
    private let known = Mutex<[[Int]: Placement]>([:])  // looked up, never iterated

    package init() throws {
        guard let secret = HashSecret((0..<HashSecret.byteCount).map { UInt8(truncatingIfNeeded: $0 &* 37) }) else {
            throw StoreError.noMemory(bytes: 0)
        }
        self.secret = secret
        var random = SeededRandom(seed: 7)
        ids = (0..<Self.idsMax).map { _ in
            PeerID(high: UInt64.random(in: 1 ... .max, using: &random), low: UInt64.random(in: 1 ... .max, using: &random))
        }
    }

    func id(_ index: Int) -> PeerID { ids[index % ids.count] }

    func placement(of members: [Int], digest: UInt64) -> Placement {
        let key = members.sorted()
        if let placement = known.withLock({ $0[key] }) { return placement.named(digest) }
        let built = try? Placement.build(members: key.map { PlacementMember(id: id($0)) }, digest: 0, ranks: Placement.ranksMax)
        guard let built else { return .empty }
        known.withLock { $0[key] = built }
        return built.named(digest)
    }
}

internal import PeerCacheCore
internal import PeerCacheTransport

/// Where a key lives and how fresh it is, as one peer sees it.
public struct KeyExplanation: Sendable, Hashable, Codable, CustomStringConvertible {
    /// Slot of the key, 0..<16,384.
    public var slot: Int
    /// Id of the peer that answers for the key; nil: no peer holds slots.
    public var owner: String?
    /// The owner's address.
    public var ownerAddress: String?
    /// Whether the asking peer is the owner.
    public var isOwnedHere: Bool
    /// Ids of the holders, owner first.
    public var replicas: [String]
    /// Id of the peer whose store the following is about: the owner, or if it does not answer the first other holder that does; nil: none
    /// answered.
    public var answeredBy: String?
    /// Whether that peer holds a value.
    public var isHeld: Bool
    /// Version of the held value: milliseconds since 1970, counter, origin tag.
    public var stamp: String?
    /// Milliseconds since the value was written or its load began.
    public var ageMilliseconds: Int64?
    /// Milliseconds until it expires; nil: it does not, or nothing is held.
    public var ttlLeftMilliseconds: Int64?
    /// Whether this process has a near copy.
    public var hasNearCopy: Bool
    /// Where the last read of the key in this process was answered; nil: not read lately.
    public var lastRead: ReadSource?

    /// One line.
    public var description: String {
        let freshness = isHeld ? "stamp \(stamp ?? "?"), age \(ageMilliseconds ?? 0) ms" : "not held"
        let ttl = ttlLeftMilliseconds.map { ", ttl left \($0) ms" } ?? ""
        let near = hasNearCopy ? ", near copy here" : ""
        let last = lastRead.map { ", last read \($0.rawValue)" } ?? ""
        let silence = isOwnedHere ? " (this peer)" : answeredBy == owner ? "" : " (does not answer; \(answeredBy ?? "nobody") did)"
        return "slot \(slot), owner \(owner ?? "none")\(silence), "
            + "replicas [\(replicas.joined(separator: ", "))], \(freshness)\(ttl)\(near)\(last)"
    }
}

extension CacheCore {
    func explain(_ key: [UInt8], _ hash: UInt64) async throws -> KeyExplanation {
        let routing = peer.table.routing
        let owner = routing.owner(hash)
        var explanation = KeyExplanation(
            slot: Slot(hash: hash).index, owner: owner?.description, isOwnedHere: owner == peer.me,
            replicas: routing.holders(hash, copies: options.copies).map(\.description), isHeld: false, hasNearCopy: false)
        explanation.ownerAddress = owner.flatMap { routing.view?.member($0)?.record.address.description }
        let wall = ClusterClock.wallMilliseconds
        explanation.hasNearCopy = key.withUnsafeBytes {
            peer.near.object(hash: hash, cache: index.value, key: $0, nowMilliseconds: wall) != nil
        }
        explanation.lastRead = explanation.hasNearCopy && trail.last(hash) == nil ? .near : trail.last(hash)

        var held: (stamp: Stamp, ttl: UInt64?)?
        for holder in routing.holders(hash, copies: options.copies) {
            if holder == peer.me {
                key.withUnsafeBytes { key in
                    if let info = peer.store.held(id(hash), key.bytes), !info.isTombstone, !peer.isOver(info.expiry) {
                        held = (info.stamp, peer.millisecondsLeft(info.expiry))
                    }
                }
            } else {
                switch await answer(of: holder, key, hash, kind: .inspect) {
                case .success(let response): if response.status == .ok { held = (response.stamp, response.ttlMilliseconds) }
                case .failure(.cancelled): throw CancellationError()
                case .failure: continue
                }
            }
            explanation.answeredBy = holder.description
            break
        }
        if let (stamp, ttl) = held {
            explanation.isHeld = true
            explanation.stamp = "\(stamp.milliseconds).\(stamp.clock & 0xFFFF)@\(String(stamp.origin, radix: 16))"
            explanation.ageMilliseconds = Int64(clamping: wall) - Int64(clamping: stamp.milliseconds)
            explanation.ttlLeftMilliseconds = ttl.map { Int64(clamping: $0) }
        }
        return explanation
    }
}

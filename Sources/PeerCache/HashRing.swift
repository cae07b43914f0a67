internal import PeerCacheCore

/// A plain consistent-hash ring of named nodes (Karger et al., "Consistent Hashing and Random Trees", STOC 1997), usable on its own.
///
/// The caches themselves place keys by slots with a bound on every peer's load; this ring does not bound: with 150 points per node the
/// fullest of 16 nodes gets about 1.2 times the mean. Two rings with the same nodes and weights answer alike, whatever the order of the calls.
/// Keys are hashed by XXH3 without a secret: do not use it where users choose keys to do harm.
public struct HashRing: Sendable {
    private var ring: PeerCacheCore.HashRing

    /// An empty ring.
    /// - Parameter virtualNodes: points per unit of weight; clamped to 1...4,096. More: more even shares, more memory.
    public init(virtualNodes: Int = 150) { ring = .init(virtualNodes: virtualNodes) }

    /// The nodes, sorted by name, without duplicates.
    public var nodes: [String] { ring.nodes }

    /// Adds a node, or gives a node that is there another weight.
    /// - Parameter weight: clamped to 0...1,000; a node of weight 0 is listed but gets no keys.
    /// - Complexity: O(n log n) for n points on the ring.
    public mutating func add(_ node: String, weight: Int = 1) { ring.add(node, weight: weight) }

    /// Removes a node. Nothing happens when it is not there. O(n) for n points on the ring.
    public mutating func remove(_ node: String) { ring.remove(node) }

    /// The node for a key, or nil when no node has weight. O(log n).
    public func node(forKey key: some CacheKey) -> String? { key.withKeyBytes { ring.node(forKey: $0) } }

    /// The first `count` distinct nodes for a key, clockwise; fewer when there are fewer.
    public func nodes(forKey key: String, count: Int) -> [String] { ring.nodes(forKey: key, count: count) }
}

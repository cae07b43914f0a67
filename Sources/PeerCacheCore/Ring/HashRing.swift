/// A plain consistent-hash ring of named nodes (Karger et al., "Consistent Hashing and Random Trees", 1997), usable on its own.
///
/// The cache places its slots with ``Placement``, which bounds every peer's load; this ring does not: with 150 points per node the fullest
/// of 16 nodes gets about 1.2 times the mean. Two rings with the same nodes and weights answer alike, whatever the order of the calls.
package struct HashRing: Sendable {
    private struct Point: Comparable {
        var position: UInt64
        /// Index into `nodes`.
        var node: Int

        /// Equal positions (never seen, but possible) go by name, as `nodes` is sorted.
        static func < (left: Point, right: Point) -> Bool {
            left.position != right.position ? left.position < right.position : left.node < right.node
        }
    }

    /// The nodes, sorted by name, without duplicates.
    package private(set) var nodes: [String] = []
    private var points: [Point] = []
    private let virtualNodes: Int

    /// - Parameter virtualNodes: points per unit of weight; clamped to 1...4,096. More: more even shares, more memory.
    package init(virtualNodes: Int = 150) { self.virtualNodes = min(max(virtualNodes, 1), 4096) }

    /// Adds a node, or gives a node that is there another weight.
    /// - Parameter weight: clamped to 0...1,000; a node of weight 0 is listed but gets no keys.
    /// - Complexity: O(n log n) for n points on the ring.
    package mutating func add(_ node: String, weight: Int = 1) {
        remove(node)
        let index = Self.insertionIndex(of: node, in: nodes)
        nodes.insert(node, at: index)
        for point in points.indices where points[point].node >= index { points[point].node += 1 }
        for number in 0..<(virtualNodes * min(max(weight, 0), 1000)) {
            // Seed 0 is left to the keys, so a key that equals a node's name falls anywhere.
            points.append(Point(position: publicHash(node, seed: UInt64(number) + 1), node: index))
        }
        points.sort()
    }

    /// Removes a node. Nothing happens when it is not there. O(n) for n points on the ring.
    package mutating func remove(_ node: String) {
        let index = Self.insertionIndex(of: node, in: nodes)
        guard index < nodes.count, nodes[index] == node else { return }
        nodes.remove(at: index)
        points.removeAll { $0.node == index }
        for point in points.indices where points[point].node > index { points[point].node -= 1 }
    }

    /// The node for a key: the first point clockwise. Nil when no node has weight. O(log n) for n points.
    package func node(forKey key: String) -> String? { node(forHash: publicHash(key)) }

    /// The node for a key given as bytes. A string and its UTF-8 bytes have the same node.
    package func node(forKey key: UnsafeRawBufferPointer) -> String? { node(forHash: publicHash(key)) }

    /// The first `count` distinct nodes clockwise, ``node(forKey:)-(String)`` first; fewer when there are fewer.
    package func nodes(forKey key: String, count: Int) -> [String] {
        guard count > 0, !points.isEmpty else { return [] }
        var found: [Int] = []
        let first = firstPoint(atOrAfter: publicHash(key))
        for step in points.indices where found.count < min(count, nodes.count) {
            let node = points[(first + step) % points.count].node
            if !found.contains(node) { found.append(node) }
        }
        return found.map { nodes[$0] }
    }

    private func node(forHash hash: UInt64) -> String? {
        points.isEmpty ? nil : nodes[points[firstPoint(atOrAfter: hash) % points.count].node]
    }

    /// `points.count` when the hash lies behind the last point; callers wrap around.
    private func firstPoint(atOrAfter hash: UInt64) -> Int {
        var low = 0
        var high = points.count
        while low < high {
            let middle = (low + high) / 2
            if points[middle].position < hash { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private static func insertionIndex(of node: String, in nodes: [String]) -> Int {
        var low = 0
        var high = nodes.count
        while low < high {
            let middle = (low + high) / 2
            if nodes[middle] < node { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct HashRingTests {
    private let keys = (0..<2000).map { "key-\($0)" }

    @Test func anEmptyRingHasNoNodes() {
        var ring = HashRing()
        #expect(ring.node(forKey: "a") == nil)
        #expect(ring.nodes(forKey: "a", count: 3).isEmpty)
        ring.add("only")
        #expect(ring.node(forKey: "a") == "only")
        ring.remove("other")
        ring.remove("only")
        #expect(ring.nodes.isEmpty)
        #expect(ring.node(forKey: "a") == nil)
    }

    @Test func theOrderOfCallsDecidesNothing() {
        let seed: UInt64 = 31
        var random = SeededRandom(seed: seed)
        var names = (1...6).map { "node-\($0)" }
        var ring = HashRing()
        for name in names { ring.add(name) }
        names.shuffle(using: &random)
        var other = HashRing()
        other.add("passing")
        for name in names { other.add(name, weight: 3) }
        for name in names.reversed() { other.add(name) }
        other.remove("passing")
        #expect(other.nodes == ring.nodes)
        #expect(keys.allSatisfy { ring.nodes(forKey: $0, count: 3) == other.nodes(forKey: $0, count: 3) }, "seed \(seed)")
    }

    @Test func aNodeThatJoinsTakesKeysAndMovesNoOthers() {
        var ring = HashRing()
        for number in 1...5 { ring.add("node-\(number)") }
        let before = keys.map { ring.node(forKey: $0) }
        ring.add("new")
        let after = keys.map { ring.node(forKey: $0) }
        let moved = zip(before, after).filter { $0 != $1 }
        #expect(moved.allSatisfy { $0.1 == "new" })
        #expect((200...500).contains(moved.count))
        ring.remove("new")
        #expect(keys.map { ring.node(forKey: $0) } == before)
    }

    @Test func keysFollowTheWeights() {
        var ring = HashRing()
        ring.add("light")
        ring.add("heavy", weight: 3)
        ring.add("idle", weight: 0)
        ring.add("negative", weight: .min)
        let heavy = keys.count { ring.node(forKey: $0) == "heavy" }
        let light = keys.count { ring.node(forKey: $0) == "light" }
        #expect(heavy + light == keys.count)
        #expect((1300...1700).contains(heavy))
        #expect(ring.nodes == ["heavy", "idle", "light", "negative"])
    }

    @Test func severalNodesAreDistinctAndBeginWithTheOwner() {
        var ring = HashRing(virtualNodes: 20)
        for number in 1...4 { ring.add("node-\(number)") }
        for key in keys.prefix(200) {
            let nodes = ring.nodes(forKey: key, count: 3)
            #expect(nodes.count == 3 && Set(nodes).count == 3 && nodes.first == ring.node(forKey: key))
        }
        #expect(ring.nodes(forKey: "a", count: 9).count == 4)
        #expect(ring.nodes(forKey: "a", count: -1).isEmpty)
    }

    @Test func bytesAndTextOfAKeyHaveOneNode() {
        var ring = HashRing()
        for number in 1...5 { ring.add("node-\(number)") }
        for key in keys.prefix(50) {
            let node = Array(key.utf8).withUnsafeBytes { ring.node(forKey: $0) }
            #expect(node == ring.node(forKey: key))
        }
    }
}

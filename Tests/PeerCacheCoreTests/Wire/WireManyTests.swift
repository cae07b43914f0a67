import PeerCacheCore
import PeerCacheTesting
import Testing

/// The values of a `getMany` and of its answer.
@Suite struct WireManyTests {
    private func block(_ keys: [[UInt8]]) -> [UInt8] {
        var bytes: [UInt8] = []
        for key in keys { key.withUnsafeBytes { WireKeys.append($0, to: &bytes) } }
        return bytes
    }

    /// Nil: refused.
    private func keys(_ bytes: [UInt8]) -> [[UInt8]]? {
        bytes.withUnsafeBytes { bytes in
            guard let keys = WireKeys(bytes) else { return nil }
            let all = keys.map { Array($0) }
            #expect(all.count == keys.count)
            return all
        }
    }

    private struct Item: Equatable {
        var index: Int
        var value: [UInt8]?
        var life: WireItem.Life?
    }

    private func block(_ items: [Item]) -> [UInt8] {
        var bytes: [UInt8] = []
        for item in items {
            if let value = item.value {
                value.withUnsafeBytes { WireItems.append(item.index, $0, item.life, to: &bytes) }
            } else {
                WireItems.append(absent: item.index, to: &bytes)
            }
        }
        return bytes
    }

    private func items(_ bytes: [UInt8]) -> [Item] {
        bytes.withUnsafeBytes { raw in
            WireItems(raw).map { item in Item(index: item.index, value: item.value.map { Array(bytes[$0]) }, life: item.life) }
        }
    }

    private func randomItem(_ random: inout SeededRandom) -> Item {
        let index = Int(random.next() % UInt64(WireLimits.keysMax))
        if random.next() % 4 == 0 { return Item(index: index) }
        let value = (0..<random.next() % 50).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        if random.next() % 2 == 0 { return Item(index: index, value: value) }
        let stamp = Stamp(clock: random.next(), origin: UInt32(truncatingIfNeeded: random.next()))
        return Item(
            index: index, value: value, life: .init(stamp: stamp, ttlMilliseconds: random.next() % 2 == 0 ? nil : random.next() >> 1))
    }

    @Test func keysComeBackInTheirOrder() {
        for keys in [[], [[]], [[1]], [[], [1, 2], []], [[UInt8](repeating: 9, count: WireLimits.keyBytesMax), [3]]] as [[[UInt8]]] {
            #expect(self.keys(block(keys)) == keys)
        }
        let most = [[UInt8]](repeating: [1, 2, 3], count: WireLimits.keysMax)
        #expect(keys(block(most)) == most)
    }

    @Test func keysThatAreTooManyTooLongOrCutShortAreRefused() {
        #expect(keys(block([[UInt8]](repeating: [], count: WireLimits.keysMax + 1))) == nil)
        #expect(keys(block([[UInt8](repeating: 1, count: WireLimits.keyBytesMax + 1)])) == nil)
        let bytes = block([[1, 2, 3], [4]])
        for count in 0..<bytes.count { #expect(keys(Array(bytes.prefix(count))) == [0: [], 5: [[1, 2, 3]]][count]) }
        #expect(keys([0xFF, 0xFF, 1]) == nil)
    }

    @Test(arguments: Seeds.chosen(1...20)) func itemsComeBack(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for count in 0..<50 {
            let items = (0..<count).map { _ in randomItem(&random) }
            #expect(self.items(block(items)) == items, "PEERCACHE_SEED=\(seed)")
        }
    }

    /// What is cut short or of a later version ends the list, and what came before it counts.
    @Test func itemsEndWhereTheyCannotBeRead() {
        let items = [
            Item(index: 7), Item(index: 1, value: [1, 2, 3]),
            Item(index: 1023, value: [], life: .init(stamp: Stamp(clock: .max, origin: .max), ttlMilliseconds: 0)),
        ]
        let bytes = block(items)
        #expect(bytes.count == 8 + 11 + 28)
        for count in 0...bytes.count {
            #expect(self.items(Array(bytes.prefix(count))) == Array(items.prefix([8, 19, 47].count { $0 <= count })))
        }
        #expect(self.items(bytes + [0, 0, 4, 0, 0, 0, 0, 0] + bytes) == items, "a kind of a later version")
        #expect(self.items([0, 0, 1, 0, 0xFF, 0xFF, 0xFF, 0xFF] + bytes) == [], "longer than all there is")
    }

    @Test(arguments: Seeds.chosen(1...20)) func noBytesTrap(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            var bytes = random.next() % 2 == 0 ? block((0..<5).map { _ in randomItem(&random) }) : block([[1, 2], [], [3]])
            for _ in 0..<random.next() % 4 where !bytes.isEmpty {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            bytes.removeLast(Int(random.next() % UInt64(bytes.count + 1)))
            let values = bytes.withUnsafeBytes { WireItems($0).compactMap(\.value) }
            #expect(values.allSatisfy { $0.upperBound <= bytes.count }, "PEERCACHE_SEED=\(seed)")
            for key in keys(bytes) ?? [] { #expect(key.count <= WireLimits.keyBytesMax, "PEERCACHE_SEED=\(seed)") }
        }
    }
}

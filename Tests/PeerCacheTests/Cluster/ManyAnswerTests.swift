import PeerCache
import PeerCacheCore
import PeerCacheTransport
import Testing

/// What a caller makes of answers to `getMany` that no owner should give.
@Suite(.timeLimit(.minutes(2))) struct ManyAnswerTests {
    /// Asks for four keys of an owner that answers `getMany` with `block`, and each key alone with 9.
    /// - Returns: the values, sorted, and how many keys were asked for alone.
    private func ask(_ block: [UInt8]) async throws -> (values: [UInt8], alone: Int) {
        var values: [UInt8] = [], alone = 0
        try await withCluster(of: 1) { peers in
            let options = CacheOptions(copies: 1, nearFor: .zero)
            let cache = peers[0].cache("many", key: Int.self, value: [UInt8].self, options: options)
            try await ScriptedPeer.join(
                peers[0], weight: 1,
                script: { $0 == .inspect ? .absent : nil },
                answer: { request, connection in
                    guard request.kind == .get || request.kind == .getMany else { return false }
                    (request.kind == .get ? [9] : block).withUnsafeBytes {
                        var response = WireResponse(id: request.id, status: .ok)
                        response.value = $0
                        connection.respond(response)
                    }
                    return true
                }
            ) { owner, _ in
                try await eventually("the owner is placed") {
                    peers[0].snapshot().members.contains { $0.id == owner.id.description && $0.ownedSlots > 0 }
                }
                var keys: [Int] = []
                for key in 0..<100 where keys.count < 4 {
                    if try await cache.explain(key).owner == owner.id.description { keys.append(key) }
                }
                let found = try await cache.getMany(keys + keys)
                values = found.values.flatMap { $0 }.sorted()
                alone = owner.count(of: .get)
            }
        }
        return (values, alone)
    }

    private func item(_ index: Int, _ value: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        value.withUnsafeBytes { WireItems.append(index, $0, nil, to: &bytes) }
        return bytes
    }

    private func absent(_ index: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        WireItems.append(absent: index, to: &bytes)
        return bytes
    }

    @Test func whatAnAnswerDoesNotSayIsAskedForAlone() async throws {
        let nothing = try await ask([])
        #expect(nothing.values == [9, 9, 9, 9] && nothing.alone == 4)
        let some = try await ask(item(2, [1]) + absent(0))
        #expect(some.values == [1, 9, 9] && some.alone == 2)
    }

    @Test func itemsOfNoKeyAndItemsThatAreCutShortChangeNothing() async throws {
        let odd = try await ask(item(4, [7]) + item(65_535, [7]) + item(1, [1]) + item(1, [2]) + item(3, [7, 7]).dropLast())
        #expect(odd.values == [2, 9, 9, 9] && odd.alone == 3)
    }
}

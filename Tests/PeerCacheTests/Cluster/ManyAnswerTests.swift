import PeerCacheCore
import PeerCacheTransport
import Testing

@testable import PeerCache

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

    /// Each of them was asked for once more, alone.
    @Test func keysThatAreNotThereAreAskedForOnce() async throws {
        try await withCluster(of: 2) { peers in
            let caches = peers.map { $0.cache("none", key: Int.self, value: [UInt8].self, options: .init(copies: 1, nearFor: .zero)) }
            try await caches[0].set(1, [1])
            try await caches[0].remove(2)
            let before = peers[0].snapshot().peerRequests
            #expect(try await caches[0].getMany(0..<200) == [1: [1]])
            #expect(peers[0].snapshot().peerRequests == before + 1)
            // Who has a loader uses it, though the owner has none.
            let other = peers[0].cache("loaded here", key: Int.self, value: [UInt8].self, options: .init(nearFor: .zero)) { [UInt8($0)] }
            _ = peers[1].cache("loaded here", key: Int.self, value: [UInt8].self, options: .init(nearFor: .zero))
            #expect(try await other.getMany(0..<50).count == 50)
        }
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

    private struct Broken: Error {}

    /// Asked for again, alone, it would run again.
    @Test func aLoaderThatThrowsRunsOnce() async throws {
        let calls = Lock<[Int]>([])
        try await withCluster(of: 2) { peers in
            let caches = peers.map { peer in
                peer.cache("many", key: Int.self, value: Int.self, codec: .json, options: .init(nearFor: .zero)) { key in
                    calls.withLock { $0.append(key) }
                    if key % 10 == 3 { throw Broken() }
                    return key
                }
            }
            for key in stride(from: 3, to: 103, by: 10) {
                let error = await #expect(throws: (any Error).self) { try await caches[0].getMany([key, key + 1]) }
                let isMine = peers[0].core.table.routing.isOwned(caches[0].core.hash(key.keyBytes))
                #expect(isMine ? error is Broken : (error as? PeerCacheError)?.code == .loadFailed, "\(error as Any)")
            }
            let failed = calls.withLock { $0.filter { $0 % 10 == 3 } }
            #expect(failed.sorted() == Array(stride(from: 3, to: 103, by: 10)))
        }
    }

    /// Each load waits until all of them run.
    @Test func allOwnersLoadAtOnce() async throws {
        let running = Lock(0), keys = 0..<60
        let loader: @Sendable (Int) async throws -> Int? = { key in
            running.withLock { $0 += 1 }
            try await eventually("all loads run") { running.withLock { $0 } == keys.count }
            return key
        }
        try await withCluster(of: 3) { peers in
            let caches = peers.map {
                $0.cache("many", key: Int.self, value: Int.self, codec: .json, options: .init(loadTimeout: .seconds(60)), loader: loader)
            }
            let found = try await caches[0].getMany(keys)
            #expect(found.count == keys.count && found.allSatisfy { $0.key == $0.value })
        }
    }
}

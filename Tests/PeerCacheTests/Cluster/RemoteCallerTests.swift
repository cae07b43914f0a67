@testable import PeerCache
import PeerCacheCore
import PeerCacheTransport
import Testing

/// Loads that wait on behalf of another peer, which may give up, use an id twice, or go.
@Suite(.timeLimit(.minutes(2))) struct RemoteCallerTests {
    /// A loader that holds keys back until they are released or nobody wants them any more.
    private final class HeldLoader: Sendable {
        private let state = Lock<(running: Set<String>, released: Set<String>, calls: Int)>(([], [], 0))

        var running: Set<String> { state.withLock { $0.running } }
        func release(_ key: String) { state.withLock { _ = $0.released.insert(key) } }

        func load(_ key: String) async throws -> String? {
            state.withLock { _ = $0.running.insert(key) }
            defer { state.withLock { _ = $0.running.remove(key) } }
            while !state.withLock({ $0.released.contains(key) }) { try await Task.sleep(for: .milliseconds(2)) }
            return "row \(key)"
        }
    }

    /// One peer that owns all keys, and one that only asks. Loads end by themselves long after the test has.
    private func bench(_ body: (HeldLoader, Cache<String, String>, PeerConnection) async throws -> Void) async throws {
        let loader = HeldLoader()
        try await withCluster(of: 1) { peers in
            let cache = peers[0].cache("c", key: String.self, value: String.self, options: .init(loadTimeout: .seconds(300))) {
                try await loader.load($0)
            }
            try await ScriptedPeer.join(peers[0], weight: 0) { _, connection in try await body(loader, cache, connection) }
        }
    }

    private func ask(_ connection: PeerConnection, id: UInt64, _ keys: [String]) {
        let cache = Array("c".utf8)
        connection.post { _, frames in
            cache.withUnsafeBytes { cache in
                var block: [UInt8] = []
                if keys.count == 1 {
                    block = keys[0].keyBytes
                } else {
                    for key in keys { key.withKeyBytes { WireKeys.append($0, to: &block) } }
                }
                block.withUnsafeBytes { bytes in
                    var request = WireRequest(kind: keys.count == 1 ? .get : .getMany, cache: cache)
                    request.id = id
                    if keys.count == 1 { request.key = bytes } else { request.value = bytes }
                    frames.append(request)
                }
            }
        }
    }

    private func cancel(_ connection: PeerConnection, id: UInt64) { connection.post { _, frames in frames.append(cancel: id) } }

    @Test func givingUpOnABatchReleasesItsLoads() async throws {
        try await bench { loader, cache, connection in
            ask(connection, id: 5, ["a", "b", "c"])
            try await eventually("the loads run") { loader.running == ["a", "b", "c"] }
            // Somebody else waits for one of them.
            async let other = cache.get("b")
            try await eventually("it is shared") { cache.core.counters.value(.coalescedWaits) == 1 }
            cancel(connection, id: 5)
            try await eventually("two are cancelled") { loader.running == ["b"] }
            loader.release("b")
            #expect(try await other == "row b")
            #expect(cache.core.loadsRunning == 0)
        }
    }

    @Test func givingUpReleasesAllThatWaitsUnderAnId() async throws {
        try await bench { loader, cache, connection in
            ask(connection, id: 5, ["a"])
            ask(connection, id: 5, ["b"])
            ask(connection, id: 5, ["c"])
            ask(connection, id: 6, ["d"])
            try await eventually("the loads run") { loader.running == ["a", "b", "c", "d"] }
            // An answer to one of them leaves the others as they are.
            loader.release("b")
            try await eventually("one has ended") { cache.core.loadsRunning == 3 }
            cancel(connection, id: 5)
            try await eventually("the others of the id are cancelled") { loader.running == ["d"] }
            ask(connection, id: 5, ["e"])
            try await eventually("the id can be used again") { loader.running == ["d", "e"] }
            loader.release("d")
            loader.release("e")
            try await eventually("all have ended") { cache.core.loadsRunning == 0 }
        }
    }

    @Test func aConnectionThatEndsReleasesAllItsLoads() async throws {
        try await bench { loader, cache, connection in
            for key in ["a", "b"] { ask(connection, id: 5, [key]) }
            ask(connection, id: 0, ["c"])
            ask(connection, id: 7, ["d", "e", "f"])
            try await eventually("the loads run") { loader.running.count == 6 }
            connection.close(.leaving)
            try await eventually("all are cancelled") { loader.running.isEmpty && cache.core.loadsRunning == 0 }
        }
    }
}

import Foundation
import NIOCore
@testable import PeerCache
import PeerCacheCore
import Testing

/// Defects that reviews found, each with the input that showed it.
@Suite(.timeLimit(.minutes(2))) struct ReviewFindingsTests {
    /// All answers came back "deferred", and the 64 single answers overflowed the owner's queue, which closed the connection.
    @Test func manyLargeValuesAtOnceDoNotCloseTheConnection() async throws {
        try await withCluster(of: 2, configure: { $0.memory = .megabytes(256) }) { peers in
            let caches = peers.map { $0.cache("large", key: Int.self, value: [UInt8].self, options: .init(copies: 1, nearFor: .zero)) }
            let value = [UInt8](repeating: 7, count: 512 * 1024)
            for id in 0..<64 { try await caches[0].set(id, value) }
            for cache in caches {
                let found = try await cache.getMany(0..<64)
                #expect(found.count == 64 && found.values.allSatisfy { $0 == value })
            }
            #expect(peers.allSatisfy { $0.snapshot().peerErrors == 0 })
        }
    }

    /// One request of 1,024 long keys was above the frame limit.
    @Test func manyLongKeysTravelInSeveralRequests() async throws {
        try await withCluster(of: 2) { peers in
            let caches = peers.map {
                $0.cache("urls", key: String.self, value: String.self, options: .init(nearFor: .zero)) { "v\($0.count)" }
            }
            let keys = (0..<1500).map { "https://example.org/" + String(repeating: "x", count: 900) + "\($0)" }
            let found = try await caches[0].getMany(keys)
            #expect(found.count == 1500)
            #expect(peers.allSatisfy { $0.snapshot().peerErrors == 0 })
        }
    }

    /// A caller that hung up withdrew the copy of its removal: the other holder kept the old value and served it as the next owner.
    @Test func aCancelledRemovalReachesItsCopies() async throws {
        let options = CacheOptions(nearFor: .zero)
        try await withCluster(of: 1) { peers in
            let first = peers[0].cache("c", key: Int.self, value: String.self, options: options)
            try await runAlone(testConfiguration(seeds: [try #require(peers[0].address)]) { $0.leaveGrace = .zero }) { second in
                let cache = second.cache("c", key: Int.self, value: String.self, options: options)
                try await eventually("two members") {
                    (peers + [second]).allSatisfy { $0.snapshot().memberCount == 2 && $0.readiness.isReady }
                }
                for id in 0..<40 { try await cache.set(id, "old") }
                for id in 0..<40 {
                    let removal = Task { try await cache.remove(id) }
                    removal.cancel()
                    // Either it throws that it was cancelled, or it has happened, and then everywhere.
                    if case .failure = await removal.result { try await cache.remove(id) }
                }
                for id in 0..<40 { try await cache.expect(id, nil) }
            }
            try await eventually("alone") { peers[0].snapshot().memberCount == 1 }
            for id in 0..<40 { try await first.expect(id, nil) }
        }
    }

    /// A peer without the cache was told that it missed writes, time and again, and its slots of all caches were fetched anew.
    @Test func whoDoesNotKnowTheCacheMissesNoWrite() async throws {
        try await withCluster(of: 2) { peers in
            let new = peers[0].cache("new", key: Int.self, value: String.self, options: .init(nearFor: .zero))
            let acked = peers[0].cache("acked", key: Int.self, value: String.self, options: .init(copies: 3, ackedBy: 2, nearFor: .zero))
            let (core, hash) = (peers[0].core, new.core.hash)
            let key = try #require((0..<100).first { core.table.routing.owner(hash($0.keyBytes)) == core.me })
            try await new.set(key, "v")
            #expect(peers[0].snapshot().slotsDirty == 0)
            #expect(peers[1].snapshot().slotsUnsettled == 0)
            let ackedKey = try #require((0..<100).first { core.table.routing.owner(acked.core.hash($0.keyBytes)) == core.me })
            try await expectError(.indeterminate) { try await acked.set(ackedKey, "v") }
            #expect(peers[0].snapshot().slotsDirty == 0)
            #expect(peers[1].snapshot().slotsUnsettled == 0)
        }
    }

    private struct SlowDiscovery: PeerDiscovery {
        let address: String

        func peers() async throws -> [String] {
            try await Task.sleep(for: .milliseconds(500))
            return [address]
        }
    }

    /// Fails the first time; its answer has an entry that cannot be read.
    private final class FailingDiscovery: PeerDiscovery {
        private let address: String
        private let asked = Lock(0)
        init(address: String) { self.address = address }

        func peers() async throws -> [String] {
            let count = asked.withLock { asked in
                asked += 1
                return asked
            }
            if count == 1 { throw POSIXError(.ECONNREFUSED) }
            return ["nothing of the kind", address]
        }
    }

    /// It was ready at once, alone, and what it removed came back with the others.
    @Test func whoseDiscoveryFailsIsNotAlone() async throws {
        let options = CacheOptions(nearFor: .zero)
        try await withCluster(of: 1) { peers in
            let first = peers[0].cache("c", key: Int.self, value: String.self, options: options)
            for id in 0..<40 { try await first.set(id, "old") }
            let address = try #require(peers[0].address)
            let configuration = testConfiguration {
                $0.discovery = .custom(FailingDiscovery(address: address))
                $0.requestTimeout = .seconds(20)
            }
            try await runAlone(configuration) { second in
                let cache = second.cache("c", key: Int.self, value: String.self, options: options)
                #expect(!second.readiness.isReady)
                for id in 0..<40 { try await cache.remove(id) }
                for id in 0..<40 { try await first.expect(id, nil) }
            }
        }
    }

    /// What was written before the others were found stayed with the newcomer, which was ready, and was lost.
    @Test func whatIsWrittenAtOnceIsWrittenWithTheOthers() async throws {
        let options = CacheOptions(nearFor: .zero)
        try await withCluster(of: 1) { peers in
            let first = peers[0].cache("c", key: Int.self, value: String.self, options: options)
            for id in 0..<40 { try await first.set(id, "old") }
            let address = try #require(peers[0].address)
            let configuration = testConfiguration { $0.discovery = .custom(SlowDiscovery(address: address)) }
            try await runAlone(configuration) { second in
                let cache = second.cache("c", key: Int.self, value: String.self, options: options)
                #expect(!second.readiness.isReady)
                for id in 0..<40 { try await cache.set(id, "new") }
                for id in 0..<40 { try await first.expect(id, "new") }
            }
        }
    }

    /// Transport and membership shell held each other, and with them the store.
    @Test func aPeerThatHasRunIsFreed() async throws {
        weak var leaked: PeerCore?
        func run() async throws {
            try await runAlone(testConfiguration()) { peer in
                leaked = peer.core
                let cache = peer.cache("c", key: Int.self, value: String.self) { "row \($0)" }
                try await cache.expect(1, "row 1")
            }
        }
        try await run()
        try await eventually("freed") { leaked == nil }
    }

    /// A deploy that changes the type: what an owner of the old version encodes cannot be decoded, and that is a miss, not an error.
    @Test func valuesOfANewerFormAreLoadedAtTheCaller() async throws {
        struct Unreadable: Error {}
        let old = ValueCodec<String>(name: "v", encode: { ByteBuffer(string: "1" + $0) }, decode: { String(buffer: $0) })
        let new = ValueCodec<String>(
            name: "v", encode: { ByteBuffer(string: "2" + $0) },
            decode: { buffer in
                guard buffer.getString(at: buffer.readerIndex, length: 1) == "2" else { throw Unreadable() }
                return String(buffer: buffer)
            })
        try await withCluster(of: 2) { peers in
            let options = CacheOptions(nearFor: .zero)
            let before = peers[0].cache("c", key: Int.self, value: String.self, codec: old, options: options) { "row \($0)" }
            let after = peers[1].cache("c", key: Int.self, value: String.self, codec: new, options: options) { "row \($0)" }
            for id in 0..<20 { _ = try await before.get(id) }
            for id in 0..<20 {
                let value = try await after.get(id)
                #expect(value?.hasSuffix("row \(id)") == true)
            }
        }
    }
}

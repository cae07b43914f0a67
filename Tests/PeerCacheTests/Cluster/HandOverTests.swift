import NIOCore
import ServiceLifecycle
import Testing

@testable import PeerCache
@testable import PeerCacheCore

/// Peers that come and go take the entries along.
struct HandOverTests {
    private static let keys = 3_000

    /// Counts loader calls of all peers.
    private final class Loads: Sendable {
        let count = Lock(0)
        func load(_ key: Int) -> String {
            count.withLock { $0 += 1 }
            return "loaded \(key)"
        }
        var value: Int { count.withLock { $0 } }
    }

    private func cache(_ peer: CachePeer, _ loads: Loads, copies: Int = 2, name: String = "c") -> Cache<Int, String> {
        peer.cache(name, key: Int.self, value: String.self, options: .init(copies: copies, nearFor: .zero)) { loads.load($0) }
    }

    /// Runs one more peer beside a cluster until `body` ends, then lets it leave.
    private func withOneMore(
        _ seed: CachePeer, _ loads: Loads, copies: Int = 2, configure: @escaping (inout CachePeerConfiguration) -> Void = { _ in },
        _ body: (CachePeer, Cache<Int, String>) async throws -> Void
    ) async throws {
        let peer = try CachePeer(configuration: testConfiguration(seeds: [try #require(seed.address)], configure))
        let cache = cache(peer, loads, copies: copies)
        try await gracefully(peer) { try await body(peer, cache) }
    }

    private func fill(_ cache: Cache<Int, String>) async throws {
        for key in 0..<Self.keys { try await cache.set(key, "set \(key)") }
    }

    private func expectAll(_ cache: Cache<Int, String>, _ loads: Loads) async throws {
        var missing: [Int] = []
        for key in 0..<Self.keys where try await cache.get(key) != "set \(key)" { missing.append(key) }
        #expect(missing.count == 0, "of \(Self.keys), the first ones \(missing.prefix(5))")
        #expect(loads.value == 0)
    }

    /// It has no place in the store: what is forgotten of it must not be forgotten of the first cache that has one.
    @Test func aCacheThatCouldNotBeMadeTakesNothingFromOthers() async throws {
        let keys = 400
        func entries(_ peers: [CachePeer]) -> [Int] { peers.map { $0.snapshot().caches["strict"]?.entries ?? 0 } }
        func add(to peer: CachePeer) -> Cache<Int, String> {
            defer { _ = peer.cache("fast", key: Int.self, value: String.self, options: .init(copies: 1)) { _ in nil } }
            return peer.cache(
                "strict", key: Int.self, value: String.self, options: .init(copies: 3, readFrom: 2, ackedBy: 2)
            ) { _ in nil }
        }
        try await withCluster(of: 3, configure: { $0.minimumPeers = 2 }) { peers in
            let caches = peers.map(add)
            for peer in peers {
                let bad = peer.cache("bad", key: Int.self, value: String.self, options: .init(memoryMax: .bytes(1))) { _ in nil }
                try await expectError(.invalidConfiguration) { _ = try await bad.get(1) }
                #expect(peer.snapshot().caches["bad"] == nil)
            }
            try await eventually("all vote") { peers.allSatisfy { $0.readiness.isReady } }
            for key in 0..<keys { try await caches[0].set(key, "set \(key)") }
            try await eventually("three copies") { entries(peers) == [keys, keys, keys] }
            let fourth = try CachePeer(configuration: testConfiguration(seeds: [try #require(peers[0].address)]) { $0.minimumPeers = 2 })
            _ = add(to: fourth)
            try await gracefully(fourth) {
                let all = peers + [fourth]
                try await eventually("four members, all settled") {
                    all.allSatisfy { $0.readiness.isReady && $0.snapshot().memberCount == 4 }
                }
                try await eventually("three copies of all") { entries(all).reduce(0, +) == 3 * keys }
            }
        }
    }

    /// A peer that lets go of a cache of few copies and keeps one of many in the same slot holds floors that say nothing of what comes back.
    @Test func whatComesBackToASlotIsNotRefusedForWhatOthersDropped() async throws {
        let loads = Loads(), keys = 400
        try await withCluster(of: 3) { peers in
            let caches = peers.map { cache($0, loads, copies: 1) }
            for peer in peers { _ = cache(peer, loads, copies: 3, name: "many") }
            for key in 0..<keys { try await caches[0].set(key, "set \(key)") }
            func raiseFloors(_ peers: [CachePeer]) {
                for peer in peers {
                    let stamp = peer.core.mint(above: .zero)
                    for slot in Slot.all { for bucket in BucketIndex.all(of: slot) { peer.core.store.raiseFloor(of: bucket, to: stamp) } }
                }
            }
            let fourth = try CachePeer(configuration: testConfiguration(seeds: [try #require(peers[0].address)]))
            let newest = self.cache(fourth, loads, copies: 1)
            _ = self.cache(fourth, loads, copies: 3, name: "many")
            try await gracefully(fourth) {
                let all = peers + [fourth]
                try await eventually("four members, all settled") {
                    all.allSatisfy { $0.readiness.isReady && $0.snapshot().memberCount == 4 && $0.snapshot().slotsOwed == 0 }
                }
                #expect(fourth.snapshot().caches["c"]?.entries ?? 0 > keys / 8)
                raiseFloors(all)
                try await newest.expect(0, "set 0")
            }
            try await eventually("three members, all settled") {
                peers.allSatisfy { $0.readiness.isReady && $0.snapshot().memberCount == 3 }
            }
            for key in 0..<keys { try await caches[0].expect(key, "set \(key)") }
            #expect(loads.value == 0)
        }
    }

    @Test(arguments: [1, 2]) func aJoiningPeerHasWhatItOwns(copies: Int) async throws {
        let loads = Loads()
        try await withCluster(of: 2) { peers in
            let caches = peers.map { cache($0, loads, copies: copies) }
            try await fill(caches[0])
            try await withOneMore(peers[0], loads, copies: copies) { third, cache in
                try await eventually("three members, all settled") {
                    third.readiness.isReady && third.snapshot().memberCount == 3 && peers[0].snapshot().memberCount == 3
                }
                #expect(third.snapshot().entries > Self.keys / 5)
                try await expectAll(cache, loads)
            }
        }
    }

    /// What only the leaving peer holds goes to its successors before it ends.
    @Test(arguments: [1, 2], [Duration.zero, .milliseconds(20)]) func aLeavingPeerHandsOver(copies: Int, grace: Duration) async throws {
        let loads = Loads()
        try await withCluster(of: 2) { peers in
            let caches = peers.map { cache($0, loads, copies: copies) }
            try await withOneMore(peers[0], loads, copies: copies, configure: { $0.leaveGrace = grace }) { third, cache in
                try await eventually("three members, all settled") {
                    ([third] + peers).allSatisfy { $0.readiness.isReady && $0.snapshot().memberCount == 3 }
                }
                try await fill(cache)
            }
            try await eventually("two members") { peers.allSatisfy { $0.snapshot().memberCount == 2 } }
            try await expectAll(caches[0], loads)
        }
    }

    /// A miss before a slot has arrived is answered by its former owner.
    @Test func missesDuringTheTransferAreNotLoaded() async throws {
        let loads = Loads()
        try await withCluster(of: 2) { peers in
            let caches = peers.map { cache($0, loads) }
            try await fill(caches[0])
            // So slow that most is still elsewhere when it is read.
            try await withOneMore(peers[0], loads, configure: { $0.transferRate = .bytes(64 << 10) }) { third, cache in
                try await eventually("three members, none of which is asked any more") {
                    ([third] + peers).allSatisfy { peer in
                        peer.snapshot().memberCount == 3
                            && (0..<Self.keys).allSatisfy { peer.core.replicator.serving(cache.core.hash($0.keyBytes)) != .claiming }
                    }
                }
                for key in stride(from: 0, to: Self.keys, by: 3) { try await cache.expect(key, "set \(key)") }
                #expect(loads.value == 0)
                #expect(third.core.counters.value(.warmHits) > 0)
            }
        }
    }

    /// Each may have owned everything while it was alone. The second has nothing of it, says so, and casts no doubt on what the first holds.
    @Test(arguments: [1, 2]) func aSecondPeerMakesNobodyLoad(copies: Int) async throws {
        let loads = Loads()
        // So slow that most of what the second gains is still at the first when it is read.
        let slowly: @Sendable (inout CachePeerConfiguration) -> Void = { $0.transferRate = .bytes(64 << 10) }
        try await withCluster(of: 1, configure: slowly) { peers in
            let first = peers[0], caches = (cache(first, loads, copies: copies), silent: silentCache(first, copies: copies))
            try await fill(caches.0)
            try await fill(caches.silent)
            let second = try CachePeer(configuration: testConfiguration(seeds: [try #require(first.address)], slowly))
            let others = (cache(second, loads, copies: copies), silent: silentCache(second, copies: copies))
            try await gracefully(second) {
                try await eventually("two members, none of which is asked any more") {
                    [first, second].allSatisfy { peer in
                        peer.snapshot().memberCount == 2
                            && peer.core.replicator.state.withLock { $0.machine.claim == nil }
                    }
                }
                #expect(second.snapshot().slotsUnsettled > 0, "there is nothing left to find elsewhere")
                for key in stride(from: 0, to: Self.keys, by: 3) {
                    for cache in [caches.0, caches.silent, others.0, others.silent] { try await cache.expect(key, "set \(key)") }
                }
                #expect(loads.value == 0)
            }
        }
    }

    private func silentCache(_ peer: CachePeer, copies: Int) -> Cache<Int, String> {
        peer.cache("silent", key: Int.self, value: String.self, options: .init(copies: copies, nearFor: .zero))
    }

    /// Who has forgotten a slot does not know what was removed from it: what others say of the key is not all there is. Also when it holds the
    /// slot for a strict cache.
    @Test(arguments: [false, true]) func whoHoldsNothingOfASlotSaysNothingOfItsKeys(isVoting: Bool) async throws {
        let loads = Loads()
        try await withCluster(of: 2, configure: { $0.minimumPeers = 2 }) { peers in
            let caches = peers.map { cache($0, loads, copies: 1) }
            if isVoting {
                let options = CacheOptions(copies: 3, readFrom: 2, ackedBy: 2)
                for peer in peers { _ = peer.cache("strict", key: Int.self, value: String.self, options: options) }
                try await eventually("all vote") { peers.allSatisfy { $0.snapshot().slotsSilent == 0 } }
                #expect(Slot.all.allSatisfy { peers[0].core.store.isHeld($0) && peers[1].core.store.isHeld($0) })
            }
            var unknown = 0
            for key in 0..<50 {
                let bytes = key.keyBytes, core = caches[0].core, hash = core.hash(bytes)
                let isOther = peers[1].core.table.routing.isOwned(hash)
                switch await core.fetch(bytes, hash, from: peers[1].core.me, patience: .init(.seconds(5))) {
                case .unknown:
                    #expect(!isOther)
                    unknown += 1
                case .absent: #expect(isOther)
                case .held: Issue.record("nothing was written")
                }
                // Nor has it a page of the slot: once an empty one passed for all there is, and the keys were lost.
                let isPage = { () async -> Bool in
                    let slots = SlotSet([Slot(hash: hash)]), other = peers[1].core.me
                    _ = await peers[0].core.ask(.claim(slots, placement: peers[0].core.table.routing.digest), of: other)
                    let pull = PullRequest(slots: [Slot(hash: hash)], bucket: 0)
                    return await peers[0].core.ask(.pull(pull, PageKind(isDoubtful: false, speaksForAll: true)), of: other) != .notHeld
                }
                if isOther { try await eventually("it has taken the cache in", isPage) } else { #expect(await !isPage()) }
            }
            #expect(unknown > 0)
        }
    }

    /// `CONTRACT.md` I8b: what was removed at the new owner before the page came does not come back with it.
    @Test func aRemovalDuringTheTransferStays() async throws {
        let loads = Loads()
        try await withCluster(of: 2) { peers in
            let caches = peers.map { cache($0, loads) }
            try await fill(caches[0])
            try await withOneMore(peers[0], loads, configure: { $0.transferRate = .bytes(256 << 10) }) { third, cache in
                try await eventually("three members, none of which is asked any more") {
                    ([third] + peers).allSatisfy { peer in
                        peer.snapshot().memberCount == 3
                            && (0..<Self.keys).allSatisfy { peer.core.replicator.serving(cache.core.hash($0.keyBytes)) != .claiming }
                    }
                }
                for key in 0..<100 { try await cache.remove(key) }
                try await eventually("all settled") { third.readiness.isReady }
                for key in 0..<100 { try await cache.expect(key, "loaded \(key)") }
                for key in 100..<Self.keys { try await cache.expect(key, "set \(key)") }
                #expect(loads.value == 100)
            }
        }
    }

    /// A copy is told of which slots it missed writes, and fetches them anew.
    @Test func aCopyThatMissedWritesFetchesThem() async throws {
        let loads = Loads()
        try await withCluster(of: 2) { peers in
            let caches = peers.map { cache($0, loads) }
            try await fill(caches[0])
            try await eventually("copies everywhere") { peers.allSatisfy { $0.snapshot().entries >= Self.keys } }
            // Writes of which the other holder hears nothing.
            let core = peers[0].core, typeless = caches[0].core, pulled = peers[1].core.counters.value(.bytesPulled)
            var changed: [Int] = []
            for key in 0..<Self.keys where changed.count < 50 {
                let bytes = key.keyBytes, hash = typeless.hash(bytes)
                guard core.table.routing.owner(hash) == core.me else { continue }
                let content: Content =
                    changed.count.isMultiple(of: 2) ? .tombstone() : .value(.init(string: "new \(key)"), ttl: nil, isFill: false)
                _ = typeless.storeOwned(bytes, hash, content)
                core.replicator.missed(hash, by: peers[1].core.me)
                changed.append(key)
            }
            try await eventually("fetched") {
                changed.enumerated().allSatisfy { position, key in
                    let bytes = key.keyBytes
                    let held = caches[1].core.held(bytes, caches[1].core.hash(bytes))
                    return position.isMultiple(of: 2) ? held == nil : held?.bytes == .init(string: "new \(key)")
                }
            }
            #expect(peers[1].core.counters.value(.bytesPulled) > pulled)
            try await eventually("nothing left to do") { peers.allSatisfy { $0.readiness.isReady } }
        }
    }

    /// Caches of different numbers of copies share slots.
    @Test func cachesOfDifferentCopiesMoveTogether() async throws {
        let loads = Loads()
        try await withCluster(of: 2) { peers in
            let ones = peers.map { cache($0, loads, copies: 1, name: "one") }
            let twos = peers.map { cache($0, loads, copies: 2, name: "two") }
            try await fill(ones[0])
            try await fill(twos[1])
            let third = try CachePeer(configuration: testConfiguration(seeds: [try #require(peers[0].address)]))
            let (one, two) = (cache(third, loads, copies: 1, name: "one"), cache(third, loads, copies: 2, name: "two"))
            try await gracefully(third) {
                try await eventually("three members, all settled") {
                    ([third] + peers).allSatisfy { $0.readiness.isReady && $0.snapshot().memberCount == 3 }
                }
                try await expectAll(one, loads)
                try await expectAll(two, loads)
            }
            try await eventually("two members") { peers.allSatisfy { $0.snapshot().memberCount == 2 && $0.readiness.isReady } }
            try await expectAll(ones[0], loads)
            try await expectAll(twos[0], loads)
        }
    }

    /// Values that no page takes travel by themselves.
    @Test func longValuesAreHandedOver() async throws {
        let loads = Loads()
        let long = String(repeating: "x", count: 400_000)
        try await withCluster(of: 1) { peers in
            let cache = cache(peers[0], loads, copies: 1)
            for key in 0..<20 { try await cache.set(key, long + "\(key)") }
            try await withOneMore(peers[0], loads, copies: 1) { second, copy in
                try await eventually("two members, settled") { second.readiness.isReady && second.snapshot().memberCount == 2 }
                #expect(second.snapshot().entries > 0)
                for key in 0..<20 { try await copy.expect(key, long + "\(key)") }
                #expect(loads.value == 0)
            }
        }
    }
}

@testable import PeerCache
import PeerCacheCore
import Testing

/// What a loader brings is stored under the lease it began with, or not at all (`CONTRACT.md` §7).
@Suite(.timeLimit(.minutes(2))) struct LoadLeaseTests {
    /// Calls of the loader in their order; each is held back until it is given its value.
    private final class ManualLoader: Sendable {
        private let state = Lock<(calls: [Int], values: [Int: String])>(([], [:]))

        /// The key of each call.
        var calls: [Int] { state.withLock { $0.calls } }
        func give(_ value: String, to call: Int) { state.withLock { $0.values[call] = value } }

        func load(_ key: Int) async throws -> String? {
            let call = state.withLock { state in
                state.calls.append(key)
                return state.calls.count - 1
            }
            while true {
                if let value = state.withLock({ $0.values[call] }) { return value }
                try await Task.sleep(for: .milliseconds(2))
            }
        }
    }
    private let options = CacheOptions(nearFor: .zero, loadTimeout: .seconds(300))

    /// Another peer may have owned the key, written it and gone while the loader ran.
    @Test func aLoadThatOutlivesItsPlacementIsForItsWaitersOnly() async throws {
        let keys = 0..<40
        let mayReturn = Lock(false), isOld = Lock(true), loads = Lock((old: 0, new: 0))
        let loader: @Sendable (Int) async throws -> String? = { id in
            guard isOld.withLock({ $0 }) else {
                loads.withLock { $0.new += 1 }
                return "new \(id)"
            }
            loads.withLock { $0.old += 1 }
            while !mayReturn.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(2)) }
            return "old \(id)"
        }
        try await withCluster(of: 1) { peers in
            let first = peers[0].cache("c", key: Int.self, value: String.self, options: options, loader: loader)
            let waiters = keys.map { id in Task { try await first.get(id) } }
            try await eventually("the old loads run") { loads.withLock { $0.old } == keys.count }
            isOld.withLock { $0 = false }
            try await runAlone(testConfiguration(seeds: [try #require(peers[0].address)])) { peer in
                let second = peer.cache("c", key: Int.self, value: String.self, options: options, loader: loader)
                try await eventually("two members") {
                    (peers + [peer]).allSatisfy { $0.snapshot().memberCount == 2 && $0.readiness.isReady }
                }
                // Both owners load for themselves: a peer that joined the old load would wait with it.
                for id in keys.prefix(20) { try await (id % 2 == 0 ? first : second).expect(id, "new \(id)") }
                #expect(loads.withLock { $0.new } == 20)
                mayReturn.withLock { $0 = true }
                for (id, waiter) in zip(keys, waiters) {
                    let value = try await waiter.value
                    #expect(value == "old \(id)")
                }
                // Both peers may hold any key, and neither holds what the old loads brought.
                for id in keys { for cache in [first, second] { #expect(cache.peek(id)?.hasPrefix("old") != true) } }
                for id in keys.suffix(20) { try await second.expect(id, "new \(id)") }
            }
        }
        #expect(loads.withLock { $0.old } == keys.count && loads.withLock { $0.new } == keys.count)
    }

    /// What a deploy or a popular page brings: none of the callers is refused, wherever the key lives.
    @Test func aHerdOfColdReadsWaitsForItsLoads() async throws {
        let loads = Lock<[CheckedContinuation<Void, Never>]>([])
        try await withCluster(of: 2) { peers in
            let caches = peers.map { peer in
                peer.cache("c", key: Int.self, value: Int.self, options: options) { id in
                    await withCheckedContinuation { continuation in loads.withLock { $0.append(continuation) } }
                    return id
                }
            }
            try await withThrowingTaskGroup(of: Bool.self) { group in
                let callers = 5000
                for caller in 0..<callers {
                    for cache in caches { group.addTask { try await cache.get(-1) == -1 } }
                    if caller < callers / 2 { group.addTask { try await caches[0].get(caller) == caller } }
                }
                try await eventually("everybody waits") {
                    loads.withLock { $0.count } == callers / 2 + 1
                        && peers.reduce(0) { $0 + ($1.snapshot().caches["c"]?.coalescedWaits ?? 0) } == UInt64(callers * 2 - 1)
                }
                for load in loads.withLock({ $0 }) { load.resume() }
                for try await isRight in group { #expect(isRight) }
            }
            #expect(loads.withLock { $0.count } == 2501)
        }
    }

    @Test func aLoadAfterARemovalHasALeaseOfItsOwnAndIsStored() async throws {
        try await withCluster(of: 2) { peers in
            let loads = Lock(0)
            let caches = peers.map { peer in
                peer.cache("c", key: Int.self, value: String.self, options: options) { id in
                    let number = loads.withLock { loads in
                        loads += 1
                        return loads
                    }
                    return "load \(number) of \(id)"
                }
            }
            for id in 0..<20 {
                let before = loads.withLock { $0 }
                try await caches[0].expect(id, "load \(before + 1) of \(id)")
                let stored = try await caches[1].explain(id)
                try await caches[1].remove(id)
                try await caches[1].expect(id, "load \(before + 2) of \(id)")
                // Stored: nobody loads again.
                for cache in caches { try await cache.expect(id, "load \(before + 2) of \(id)") }
                let again = try await caches[0].explain(id)
                #expect(stored.isHeld && again.isHeld && again.stamp != stored.stamp)
            }
        }
    }

    /// Whichever of two loads around a removal ends first, only the later one counts.
    @Test(arguments: [[0, 1], [1, 0]]) func ofTwoLoadsAroundARemovalTheLaterIsStored(order: [Int]) async throws {
        let loader = ManualLoader()
        try await withCluster(of: 2) { peers in
            let caches = peers.map { peer in
                peer.cache("c", key: Int.self, value: String.self, options: options) { try await loader.load($0) }
            }
            let before = Task { try await caches[0].get(1) }
            try await eventually("the first load runs") { loader.calls.count == 1 }
            try await caches[1].remove(1)
            let after = Task { try await caches[0].get(1) }
            try await eventually("a load of its own") { loader.calls.count == 2 }
            let values = ["before", "after"], waiters = [before, after]
            for index in order {
                loader.give(values[index], to: index)
                let value = try await waiters[index].value
                #expect(value == values[index])
                // A caller between the two ends joins what still runs, or reads what is stored.
                if index == order[0], index == 0 {
                    let third = Task { try await caches[1].get(1) }
                    try await eventually("it joins") { peers.contains { $0.snapshot().caches["c"]?.coalescedWaits == 1 } }
                    loader.give("after", to: 1)
                    let value = try await third.value
                    #expect(value == "after")
                }
            }
            for cache in caches { try await cache.expect(1, "after") }
            #expect(loader.calls.count == 2)
        }
    }
}

import PeerCacheCore
import Testing

@testable import PeerCache

/// A virtual machine was cloned while it ran: two processes with one id.
@Suite(.timeLimit(.minutes(2)), .serialized) struct TwinTests {
    static let id = PeerID(high: 7, low: 8)

    private struct Twins {
        let third: CachePeer, first: CachePeer, second: CachePeer
        /// Of the second.
        let events: AsyncStream<PeerEvent>
    }

    /// Runs two peers of one id in the cluster of a third until they are told apart.
    /// - Parameter meet: the later one knows the earlier one's address; otherwise it hears of it from the third.
    private func withTwins(meet: Bool, _ body: (Twins) async throws -> Void) async throws {
        try await withCluster(of: 1) { peers in
            let seed = try #require(peers[0].address)
            let first = try CachePeer(configuration: testConfiguration(seeds: [seed]), me: Self.id)
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await first.run() }
                try await eventually("the first is a member") { peers[0].snapshot().memberCount == 2 }
                let seeds = [meet ? try #require(first.address) : seed]
                let second = try CachePeer(configuration: testConfiguration(seeds: seeds), me: Self.id)
                let events = second.events
                group.addTask { try await second.run() }
                try await body(Twins(third: peers[0], first: first, second: second, events: events))
            }
        }
    }

    @Test(arguments: [true, false]) func theLaterOneDrawsANewID(meet: Bool) async throws {
        try await withTwins(meet: meet) { twins in
            let third = twins.third, first = twins.first, second = twins.second
            let peers = [third, first, second]
            let options = CacheOptions(nearFor: .zero)
            let caches = peers.map { $0.cache("c", key: Int.self, value: String.self, options: options) }
            // What is under way meanwhile may fail, and does nothing else.
            let traffic = Task {
                var number = 0
                while !Task.isCancelled {
                    number += 1
                    try? await Task.sleep(for: .milliseconds(5))
                    do {
                        try await caches[2].set(number, "old \(number)")
                        let value = try await caches[2].get(number)
                        #expect(value == nil || value == "old \(number)")
                    } catch is PeerCacheError {} catch is CancellationError {}
                }
            }
            defer { traffic.cancel() }
            try await eventually("the later one has a new id", seconds: 30) { second.id != Self.id.description }
            try await eventually("three members that agree", seconds: 30) {
                peers.allSatisfy { $0.snapshot().memberCount == 3 } && Set(peers.map { $0.snapshot().placementDigest }).count == 1
            }
            traffic.cancel()
            try await traffic.value
            #expect(first.id == Self.id.description)
            let present = third.snapshot().members.filter { $0.status == "alive" || $0.status == "suspect" }
            #expect(Set(present.map(\.id)) == Set(peers.map(\.id)))
            // Members that have just come may be taken for silent on a busy machine, and values go; but none comes back.
            for number in 0..<60 {
                try await eventually("key \(number) works") {
                    guard (try? await caches[number % 3].set(number, "new \(number)")) != nil else { return false }
                    let found = try? await caches[(number + 1) % 3].get(number)
                    #expect(found != "old \(number)")
                    return found == "new \(number)"
                }
            }
            for await event in twins.events {
                guard case .duplicateIdentity(let old, let new) = event else { continue }
                #expect(old == Self.id.description && new == second.id)
                break
            }
        }
    }

    /// Whatever it draws, another process has it: it gives up instead of going round for ever.
    @Test func aPeerThatIsCopiedAgainAndAgainGivesUp() async throws {
        try await withCluster(of: 1) { peers in
            let me = try #require(PeerID(peers[0].id))
            let copy = try CachePeer(configuration: testConfiguration(seeds: [try #require(peers[0].address)]), me: me, draw: { me })
            try await expectError(.duplicateIdentity) { try await copy.run() }
            #expect(peers[0].id == me.description)
        }
    }

    /// Its own address is among those that it dials.
    @Test func whoMeetsItselfKeepsItsID() async throws {
        let source = Source()
        let peer = try CachePeer(configuration: testConfiguration { $0.discovery = .custom(source) })
        let id = peer.id
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await peer.run() }
            try await eventually("peer listens") { peer.address != nil }
            source.address.withLock { $0 = peer.address }
            try await eventually("it was told its own address") { source.address.withLock { $0 == nil } }
            let other = try CachePeer(configuration: testConfiguration(seeds: [try #require(peer.address)]))
            group.addTask { try await other.run() }
            try await eventually("it has found itself and another") { peer.snapshot().memberCount == 2 }
            #expect(peer.id == id)
        }
    }

    private final class Source: PeerDiscovery {
        let address = Lock<String?>(nil)

        /// Once, so that the test sees that it was asked.
        func peers() async throws -> [String] {
            address.withLock { address in
                defer { address = nil }
                return address.map { [$0] } ?? []
            }
        }
    }
}

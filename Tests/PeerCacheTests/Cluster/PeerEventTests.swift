@testable import PeerCache
import PeerCacheCore
import Testing

private final class Heard: Sendable {
    let events = Lock<[PeerEvent]>([])
}

@Suite(.timeLimit(.minutes(1))) struct PeerEventTests {
    @Test func everySubscriberHearsWhoComesAndGoes() async throws {
        let heard = [Heard(), Heard()]
        var id = ""
        try await withThrowingTaskGroup(of: Void.self) { group in
            let peer = try CachePeer(configuration: testConfiguration())
            for heard in heard {
                let events = peer.events
                group.addTask { for await event in events { heard.events.withLock { $0.append(event) } } }
            }
            let running = Task { try await peer.run() }
            defer { running.cancel() }
            try await eventually("peer listens") { peer.address != nil }
            try await withThrowingTaskGroup(of: Void.self) { inner in
                let second = try CachePeer(
                    configuration: testConfiguration(seeds: [peer.address ?? ""]) { $0.identity.name = "second" })
                id = second.id
                inner.addTask { try await second.run() }
                try await eventually("two members") { peer.snapshot().memberCount == 2 }
                inner.cancelAll()
            }
            try await eventually("the second has left") { peer.snapshot().memberCount == 1 }
            try await eventually("both have heard") {
                heard.allSatisfy { $0.events.withLock { $0.contains(.left(id: id)) } }
            }
            running.cancel()
            _ = try? await running.value
            try await group.waitForAll()  // the streams end with the peer
        }
        let both = heard.map { $0.events.withLock { $0 } }
        #expect(both[0] == both[1])
        guard case .joined(let member)? = both[0].first(where: { if case .joined = $0 { true } else { false } }) else {
            Issue.record("nobody joined: \(both[0])")
            return
        }
        #expect(member.id == id && member.name == "second" && member.address.hasPrefix("127.0.0.1:"))
    }

    @Test func whoReadsTooSlowlyGetsASnapshotInPlaceOfWhatWasLost() async {
        let broadcast = EventBroadcast()
        let slow = broadcast.subscribe(), member = PeerEvent.Member(id: "1", address: "10.0.0.1:7600", name: "", zone: "")
        let asked = Lock(0)
        for number in 0..<1030 {
            broadcast.send(.placementChanged(digest: UInt64(number))) {
                _ = broadcast.subscribe()  // no lock is held
                asked.withLock { $0 += 1 }
                return [member]
            }
        }
        #expect(asked.withLock { $0 } == 1)
        var iterator = slow.makeAsyncIterator()
        #expect(await iterator.next() == .snapshot([member]))
        for number in 1024..<1030 { #expect(await iterator.next() == .placementChanged(digest: UInt64(number))) }
        broadcast.send(.isolated) { [] }
        broadcast.finish()
        #expect(await iterator.next() == .isolated)
        #expect(await iterator.next() == nil)
        var late = broadcast.subscribe().makeAsyncIterator()
        #expect(await late.next() == nil)
    }

    @Test func aCancelledReaderEndsAndIsForgotten() async {
        let broadcast = EventBroadcast()
        let events = broadcast.subscribe()
        let reader = Task { for await _ in events {} }
        reader.cancel()
        await reader.value
        broadcast.send(.isolated) { [] }
        #expect(broadcast.subscriberCount == 0)
    }
}

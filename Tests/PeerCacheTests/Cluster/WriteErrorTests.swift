@testable import PeerCache
import PeerCacheCore
import PeerCacheTransport
import Testing

/// Errors of writes tell the truth (`CONTRACT.md` P6): `.indeterminate` once the owner may have the write, another code while it cannot.
@Suite(.timeLimit(.minutes(2))) struct WriteErrorTests {
    private func cache(_ peer: CachePeer) -> Cache<Int, String> {
        peer.cache("c", key: Int.self, value: String.self, options: .init(copies: 1, nearFor: .zero))
    }

    private func expectBoth(_ code: PeerCacheError.Code, _ cache: Cache<Int, String>) async throws {
        try await expectError(code) { try await cache.set(1, "v") }
        try await expectError(code) { try await cache.remove(1) }
    }

    /// Lets a peer believe that another one, which nobody is connected to, owns everything.
    private func giveEverythingToAGhost(_ core: PeerCore) throws {
        let ghost = PlacementMember(id: PeerID(high: 1, low: 1))
        let placement = try Placement.build(members: [ghost], digest: 0x6057, ranks: 1)
        core.table.publish(Routing(placement: placement, me: core.me, view: core.table.routing.view))
    }

    /// A peer that holds nothing, and the owner of everything, which answers by the script.
    private func withOwner(
        requestTimeout: Duration, script: @escaping ScriptedPeer.Script = { _ in nil },
        _ body: (PeerCore, Cache<Int, String>, ScriptedPeer, PeerConnection) async throws -> Void
    ) async throws {
        let configuration = testConfiguration { configuration in
            configuration.identity.weight = 0
            configuration.requestTimeout = requestTimeout
        }
        try await runAlone(configuration) { peer in
            try await ScriptedPeer.join(peer, weight: 1, script: script) { owner, connection in
                try await body(peer.core, cache(peer), owner, connection)
            }
        }
    }

    @Test func withoutAConnectionNothingWasSent() async throws {
        // Not run, so that no member list comes in between.
        let peer = try CachePeer(configuration: testConfiguration { $0.requestTimeout = .milliseconds(30) })
        peer.core.setPhase(.running)
        let cache = cache(peer)
        try giveEverythingToAGhost(peer.core)
        try await expectBoth(.peerUnreachable, cache)
        // Nor when nobody owns the key.
        peer.core.table.publish(Routing(placement: .empty, me: peer.core.me, view: nil))
        try await expectBoth(.peerUnreachable, cache)
    }

    @Test func anOwnerThatDoesNotAnswerMayHaveWritten() async throws {
        try await withOwner(requestTimeout: .milliseconds(100)) { _, cache, owner, _ in
            try await expectBoth(.indeterminate, cache)
            try await eventually("it has both") { owner.count(of: .set) == 1 && owner.count(of: .remove) == 1 }
        }
    }

    @Test func anOwnerThatHangsUpMayHaveWritten() async throws {
        try await withOwner(requestTimeout: .milliseconds(500)) { _, cache, owner, connection in
            let write = Task { try await cache.set(1, "v") }
            try await eventually("it has the write") { owner.count(of: .set) == 1 }
            connection.close(.idle)
            try await expectError(.indeterminate) { try await write.value }
        }
    }

    /// A first attempt that was sent and not answered outweighs what becomes of the second.
    @Test func aSecondAttemptThatCannotBeSentDoesNotUndoTheFirst() async throws {
        try await withOwner(requestTimeout: .seconds(2)) { core, cache, owner, connection in
            let write = Task { try await cache.set(1, "v") }
            try await eventually("it has the write") { owner.count(of: .set) == 1 }
            try giveEverythingToAGhost(core)
            connection.close(.idle)
            let error = try await expectError(.indeterminate) { try await write.value }
            #expect((error?.underlying as? PeerCacheError)?.code == .peerUnreachable)
        }
    }

    /// The owner's own word that it did nothing is believed.
    @Test(arguments: [
        (ResponseStatus.overloaded, PeerCacheError.Code.overloaded), (.valueTooLarge, .valueTooLarge), (.shuttingDown, .shuttingDown),
        (.incompatible, .incompatibleCache), (.timedOut, .indeterminate), (.notOwner, .peerUnreachable),
        (.tooLate, .peerUnreachable),
    ]) func refusalsKeepTheirMeaning(status: ResponseStatus, code: PeerCacheError.Code) async throws {
        try await withOwner(requestTimeout: .seconds(20), script: { _ in status }) { _, cache, _, _ in try await expectBoth(code, cache) }
    }

    /// The owner's clock may be ahead: its answer sets ours right, so that it takes the next attempt.
    @Test func whatCameTooLateIsAskedAgain() async throws {
        let answers = Lock<[ResponseStatus]>([])
        let script: ScriptedPeer.Script = { _ in answers.withLock { $0.popLast() } }
        try await withOwner(requestTimeout: .seconds(20), script: script) { _, cache, owner, _ in
            answers.withLock { $0 = [.ok, .tooLate] }
            try await cache.set(1, "v")
            answers.withLock { $0 = [.ok, .tooLate] }
            try await cache.remove(1)
            #expect(owner.count(of: .set) == 2)
            #expect(owner.count(of: .remove) == 2)
        }
    }

    /// The caller owns the key and waits for copies that do not come: it may be read here, and it may be lost.
    @Test func tooFewCopiesInTimeAreIndeterminate() async throws {
        try await withCluster(of: 1, configure: { $0.requestTimeout = .milliseconds(100) }) { peers in
            try await ScriptedPeer.join(peers[0], weight: 1) { holder, _ in
                let core = peers[0].core
                let cache = peers[0].cache("c", key: Int.self, value: String.self, options: .init(copies: 3, ackedBy: 2, nearFor: .zero))
                let owned = (0..<100).filter { core.table.routing.owner(cache.core.hash($0.keyBytes)) == core.me }
                let key = try #require(owned.first)
                try await expectError(.indeterminate) { try await cache.set(key, "v") }
                #expect(cache.peek(key) == "v")
                try await expectError(.indeterminate) { try await cache.remove(key) }
                #expect(cache.peek(key) == nil)
                try await eventually("both were sent") { holder.count(of: .apply) == 2 }
            }
        }
    }
}

import PeerCacheCore
import PeerCacheTransport
import Testing

@testable import PeerCache

@Suite struct PlacementUpdaterTests {
    /// Views come from two threads: the start and the stream of changes.
    @Test func anOlderViewNeverFollowsANewerOne() throws {
        let peer = try CachePeer(configuration: testConfiguration()), updater = PlacementUpdater()
        let me = MemberRecord(id: peer.core.me, address: PeerAddress(host: "127.0.0.1", port: 1))
        var machine = try GossipMachine(GossipConfiguration(), me: me, seed: 1)
        var effects: [GossipMachine.Effect] = []
        let older = machine.snapshot()
        let other = MemberRecord(id: PeerID(high: 7, low: 7), address: PeerAddress(host: "127.0.0.1", port: 2))
        let now = Instant(nanoseconds: 0, hlc: peer.core.clock.reading())
        machine.handle(.connection(GossipMachine.inbound(1), .established(other)), now: now, into: &effects)
        let newer = machine.snapshot()
        #expect(older.version < newer.version && newer.placed.count == 2)
        #expect(updater.update(peer.core, view: newer))
        for view in [older, newer] { #expect(!updater.update(peer.core, view: view)) }
        #expect(peer.core.table.routing.view?.version == newer.version)
        #expect(peer.core.table.routing.digest == newer.digest)
    }
}

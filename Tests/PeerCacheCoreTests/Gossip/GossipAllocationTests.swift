import CAllocationCounter
import PeerCacheCore
import Testing

/// The message that comes most often, of which `GOSSIP.md` §14 wants that it costs no memory.
@Suite struct GossipAllocationTests {
    static let isCounting = peercache_test_allocations() >= 0
    /// Debug builds put what generic functions work on into memory of its own.
    #if DEBUG
    private let allocationsMax: Int64 = 20_000
    #else
    private let allocationsMax: Int64 = 0
    #endif

    @Test(.enabled(if: isCounting, "allocations cannot be counted here")) func aThousandPingsWithoutNewsAllocateNothing() throws {
        let bench = try GossipBench()
        let others: [UInt64] = [3, 7, 8]
        let connections = others.map { bench.accept(GossipBench.record($0)) }
        for id in bench.advance(by: .seconds(1), answering: others).dialIDs { _ = bench.handle(.connection(id, .timedOut)) }
        _ = bench.advance(by: .seconds(20), answering: others)
        var machine = bench.machine, effects: [GossipMachine.Effect] = [], acks = 0
        effects.reserveCapacity(16)
        let now = bench.now, placement = machine.snapshot().digest
        func ping(_ sequence: UInt64) {
            let message = GossipMessage.ping(sequence: sequence, placement: placement, claims: [])
            machine.handle(.message(message, from: GossipBench.id(7), on: connections[1]), now: now, into: &effects)
            acks += effects.count
            effects.removeAll(keepingCapacity: true)
        }
        ping(0)  // makes copies of what the bench's machine shares
        let before = peercache_test_allocations()
        for sequence in 1...1_000 as ClosedRange<UInt64> { ping(sequence) }
        let counted = peercache_test_allocations() - before
        #expect(counted <= allocationsMax)
        #expect(acks == 1_001)
    }
}

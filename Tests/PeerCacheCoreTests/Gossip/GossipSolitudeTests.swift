import PeerCacheCore
import Testing

/// Whether a peer that knows no other is meant to be alone.
@Suite struct GossipSolitudeTests {
    private let seeds = (20..<23).map(GossipNetwork.address)

    @Test func whoHasTriedAllAddressesIsAlone() throws {
        let bench = try GossipBench(joined: false)
        #expect(bench.machine.solitude == nil, "it does not look for anybody yet")
        _ = bench.handle(.command(.join))
        #expect(bench.machine.solitude == .searching)
        _ = bench.handle(.discovered(seeds, failed: false))
        for id: ConnectionID in 1...2 { _ = bench.handle(.connection(id, .refused)) }
        #expect(bench.machine.solitude == .searching)
        _ = bench.handle(.connection(3, .timedOut))
        #expect(bench.machine.solitude == nil)
    }

    @Test func addressesThatDoNotAnswerMakeNobodyWaitForEver() throws {
        let slow = try GossipBench()
        _ = slow.handle(.discovered(seeds, failed: false))
        #expect(slow.machine.solitude == .searching)
        _ = slow.advance(by: .seconds(11))
        #expect(slow.machine.solitude == nil)
    }

    /// Who fails to ask for the others does not know that there are none.
    @Test(arguments: [true, false]) func whoHasNoAnswerMayNotBeAlone(fails: Bool) throws {
        let bench = try GossipBench()
        if fails { _ = bench.handle(.discovered([], failed: true)) }
        #expect(bench.machine.solitude == .searching)
        _ = bench.advance(by: .seconds(11))
        #expect(bench.machine.solitude == .undiscovered)
        _ = bench.handle(.discovered([], failed: false))
        #expect(bench.machine.solitude == nil)
        _ = bench.handle(.discovered([], failed: true))
        #expect(bench.machine.solitude == nil, "what it knew stands")
    }

    /// The first of a cluster is there before its name is. Others may be there as well: names take a while to be known.
    @Test func whoseNamesAreUnknownIsAloneAfterAWhile() throws {
        let bench = try GossipBench()
        _ = bench.handle(.nameUnknown)
        #expect(bench.machine.solitude == .searching)
        _ = bench.advance(by: .seconds(11))
        #expect(bench.machine.solitude == nil)
        // A name server that fails does not confirm it, and one that begins to answer may not know all yet.
        _ = bench.handle(.discovered([], failed: true))
        #expect(bench.machine.solitude == .undiscovered)
        _ = bench.handle(.nameUnknown)
        #expect(bench.machine.solitude == .undiscovered)
        _ = bench.advance(by: .seconds(9))
        _ = bench.handle(.nameUnknown)
        #expect(bench.machine.solitude == .undiscovered)
        _ = bench.advance(by: .seconds(2))
        #expect(bench.machine.solitude == nil)
    }

    /// Of some names it is not known whether anybody is there.
    @Test func anAnswerThatFailedInPartIsNone() throws {
        let bench = try GossipBench()
        let effects = bench.handle(.discovered(seeds, failed: true))
        #expect(effects.contains { if case .dial = $0 { true } else { false } }, "what is known is tried")
        for id: ConnectionID in 1...3 { _ = bench.handle(.connection(id, .refused)) }
        #expect(bench.machine.solitude == .searching)
        _ = bench.advance(by: .seconds(11))
        #expect(bench.machine.solitude == .undiscovered)
    }

    @Test func aFailedAnswerIsAskedForAgainSoon() throws {
        let bench = try GossipBench()
        _ = bench.handle(.discovered([], failed: true))
        #expect(bench.advance(by: .milliseconds(1_500)).contains(.resolve))
        _ = bench.handle(.discovered(seeds, failed: false))
        #expect(!bench.advance(by: .milliseconds(1_500)).contains(.resolve))
    }

    @Test(arguments: [ForeignReason.cluster, .secret, .clock, .http, .version, .settings]) func aStrangerAtAnAddressIsAReason(
        reason: ForeignReason
    ) throws {
        let bench = try GossipBench()
        _ = bench.handle(.discovered(seeds, failed: false))
        let dialled = try #require(bench.machine.solitude.map { _ in seeds })
        for id: ConnectionID in 1...2 { _ = bench.handle(.connection(id, .refused)) }
        _ = bench.handle(.connection(3, .foreign(reason)))
        guard reason != .version, reason != .settings else { return #expect(bench.machine.solitude == nil) }
        guard case .foreign(let address, reason) = bench.machine.solitude else {
            Issue.record("\(bench.machine.solitude as Any)")
            return
        }
        #expect(dialled.contains(address))
        // Somebody of the cluster is found.
        _ = bench.accept(GossipBench.record(7))
        #expect(bench.machine.solitude == nil)
    }

    @Test func aStrangerThatIsGoneIsNone() throws {
        let bench = try GossipBench()
        _ = bench.handle(.discovered([seeds[0]], failed: false))
        _ = bench.handle(.connection(1, .foreign(.secret)))
        var effects = bench.advance(by: .seconds(59))
        #expect(bench.machine.solitude == .foreign(seeds[0], .secret))
        for _ in 0..<20 {
            for id in effects.dialIDs { _ = bench.handle(.connection(id, .refused)) }
            effects = bench.advance(by: .seconds(1))
        }
        #expect(bench.machine.solitude == nil)
        let other = try GossipBench()
        _ = other.handle(.discovered([seeds[0]], failed: false))
        _ = other.handle(.connection(1, .foreign(.secret)))
        _ = other.handle(.discovered([seeds[1]], failed: false))
        _ = other.handle(.connection(2, .refused))
        #expect(other.machine.solitude == nil, "discovery does not name it any more")
    }
}

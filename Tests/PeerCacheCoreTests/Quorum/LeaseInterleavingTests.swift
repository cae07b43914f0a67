import PeerCacheCore
import PeerCacheTesting
import Testing

/// Schedules of `CONTRACT.md` §13 in which loads run. A, B and C vote and hold nothing.
@Suite struct LeaseInterleavingTests {
    let a = 0, b = 1, c = 2

    private func stage(_ mutant: QuorumScenario.Mutant? = nil) throws -> QuorumStage {
        var stage = try QuorumStage(peers: 3, mutant: mutant)
        stage.table([a, b, c])
        stage.settle([a, b, c])
        stage.advance(10)
        return stage
    }

    /// The loader has read its row when the key is removed. Random search: seed 70.
    @Test func i11I12ALoadThatBeganBeforeARemovalDoesNotUndoIt() throws {
        try expectHarm(of: .leaseAtEnd) { mutant in
            var stage = try stage(mutant)
            let load = stage.beginLoad(at: a)
            stage.go(load, [a, b], [])
            #expect(stage.isLoading(load))
            #expect(stage.write(nil, at: b, asking: [b, c], reaching: [b, c]) == .done)
            stage.advance(5)
            stage.finishLoad(load, 1)
            stage.go(load, [], [a, b, c])
            return stage.get(at: c, from: [b, c]) == .miss ? nil : "the old row"
        }
    }

    /// The clock of whoever removes is behind that of whoever loads.
    @Test func i12ARemovalIsAboveTheLeaseOfAFastClock() throws {
        var stage = try stage()
        stage.setOffset(5_000, of: a)
        let load = stage.beginLoad(at: a)
        stage.go(load, [a, b], [])
        #expect(stage.isLoading(load))
        stage.set(nil, at: c, asking: [b, c], reaching: [b, c])
        stage.finishLoad(load, 1)
        stage.go(load, [], [a, b, c])
        #expect(stage.get(at: c, from: [b, c]) == .miss)
        #expect(stage.get(at: c, from: [a, b]) == .miss)
    }

    /// The first one to load stands still, and its fill comes after that of the second.
    @Test func i14TheFillOfAnOlderLeaseIsSuperseded() throws {
        var stage = try stage()
        let first = stage.beginLoad(at: a)
        stage.go(first, [a, b], [])
        let second = stage.beginLoad(at: b)
        stage.go(second, [b, c], [])
        #expect(stage.isLoading(first) && stage.isLoading(second))
        stage.finishLoad(second, 2)
        stage.go(second, [], [a, b, c])
        stage.finishLoad(first, 1)
        stage.go(first, [], [a, b, c])
        #expect(stage.get(at: c, from: [a, b]) == .hit(2))
        #expect(stage.get(at: c, from: [b, c]) == .hit(2))
    }

    /// A fill is not carried over into another placement.
    @Test func i14ALeaseOfAnotherPlacementIsVoid() throws {
        var stage = try stage()
        let load = stage.beginLoad(at: a)
        stage.go(load, [a, b], [])
        stage.table([a, b, c])
        stage.settle([a, b, c])
        stage.finishLoad(load, 1)
        stage.run()
        #expect(stage.get(at: c, from: [a, b]) == .miss)
    }
}

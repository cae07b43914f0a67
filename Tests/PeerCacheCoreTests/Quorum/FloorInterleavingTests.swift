import PeerCacheCore
import PeerCacheTesting
import Testing

/// Schedules of `CONTRACT.md` §13 in which what was dropped decides. A, B and C vote.
@Suite struct FloorInterleavingTests {
    let a = 0, b = 1, c = 2

    /// Three voters, of which all hold 1.
    private func stage(_ mutant: QuorumScenario.Mutant? = nil) throws -> QuorumStage {
        var stage = try QuorumStage(peers: 3, mutant: mutant)
        stage.table([a, b, c])
        stage.settle([a, b, c])
        stage.set(1, at: a, asking: [a, b], reaching: [a, b, c])
        stage.advance(10)
        return stage
    }

    /// Random search: seed 417.
    @Test func i5AVoterThatDroppedSomethingNewerSpeaksForNothingOlder() throws {
        try expectHarm(of: .dropWithoutFloor) { mutant in
            var stage = try stage(mutant)
            stage.set(2, at: a, asking: [a, b])
            stage.lose()
            stage.evict(a)
            _ = stage.get(at: c, from: [a, c])
            return stage.violation
        }
    }

    @Test(arguments: [false, true]) func i6WhatExpiredRaisesTheFloor(isSwept: Bool) throws {
        var stage = try stage()
        stage.set(2, at: a, asking: [a, b], ttlMilliseconds: 1_024)
        stage.lose()
        stage.advance(2_000, isSwept ? [a, b, c] : [])
        #expect(stage.get(at: c, from: [a, c]) == .miss)
        #expect(stage.held(c) == 1 && stage.held(a) == nil)
        #expect(stage.violation == nil)
    }

    /// C is away, held for dead, while the key is removed, and comes back; with tombstones and after they were collected.
    @Test(arguments: [false, true]) func i8I9WhoWasAwayDoesNotBringBackWhatWasRemoved(isCollected: Bool) throws {
        var stage = try stage()
        stage.table([a, b])
        stage.settle([a, b])
        stage.set(nil, at: a, asking: [a, b])
        if isCollected {
            stage.evict(a)
            stage.evict(b)
        }
        stage.table([a, b, c])
        stage.settle([a, b, c])
        #expect(stage.votes(a) && stage.votes(b) && stage.votes(c))
        #expect(stage.get(at: c, from: [a, c]) == .miss)
        #expect(stage.get(at: c, from: [b, c]) == .miss)
        #expect(stage.violation == nil)
    }

    /// As before, and C stays in the list.
    @Test func i9WhoHeardNothingOfARemovalIsOutvoted() throws {
        var stage = try stage()
        stage.set(nil, at: a, asking: [a, b])
        stage.lose()
        stage.evict(a)
        stage.evict(b)
        #expect(stage.get(at: c, from: [a, c]) == .miss)
        #expect(stage.get(at: c, from: [b, c]) == .miss)
    }

    @Test func i10ALateCopyIsHeldOffByTheFloor() throws {
        var stage = try QuorumStage(peers: 3)
        stage.table([a, b, c])
        stage.settle([a, b, c])
        stage.set(1, at: a, asking: [a, b])
        let removal = stage.beginSet(nil, at: a)
        stage.run { $0.operation == removal }
        stage.evict(c)
        stage.run()
        #expect(stage.held(c) == nil)
        #expect(stage.get(at: c, from: [a, c]) == .miss)
        #expect(stage.violation == nil)
    }

    /// T is taken in and dropped before v1 comes: between regions, and at a voter.
    @Test func i26ARemovalThatCameFirstAndWasDroppedStands() throws {
        var stage = try stage()
        let write = stage.set(2, at: a, asking: [a, b], reaching: [])
        stage.set(nil, at: b, asking: [b, c], reaching: [b, c])
        stage.evict(c)
        stage.run { $0.operation == write && $0.kind == .apply }
        #expect(stage.held(c) == nil)
        #expect(stage.get(at: a, from: [b, c]) == .miss)
        #expect(stage.violation == nil)
    }

    /// X learns from B, that holds the value, and then from A, that has dropped its removal. Random search: 8,253 histories of `mixed`.
    @Test func i35MergingDropsWhatAnotherHasDropped() throws {
        try expectHarm(of: .blindFloorMerge) { mutant in
            for (a, b, c) in orders(a, b, c) {
                var stage = try stage(mutant)
                stage.set(nil, at: a, asking: [a, c])
                stage.lose()
                stage.evict(a)
                stage.crash(c)
                let x = try stage.addPeer()
                stage.table([a, b, x])
                stage.settle([a, b, x])
                _ = stage.get(at: b, from: [b, x])
                if let violation = stage.violation { return violation }
            }
            return nil
        }
    }

    /// A voter without room for a removal counts for it; so what it held must go.
    @Test func aVoterWithoutRoomDropsWhatItHeld() throws {
        try expectHarm(of: .keepOldOnRefusedStore) { mutant in
            var stage = try stage(mutant)
            stage.refuse(at: a)
            #expect(stage.write(nil, at: b, asking: [a, b], reaching: [a, c]) == .done)
            stage.lose()
            _ = stage.get(at: b, from: [a, b])
            return stage.violation
        }
    }

    /// Nothing is read that is wrong, but a completed set must be held (S2); so no history shows it.
    @Test func aSetThatVotersForgotIsNotComplete() throws {
        try expectHarm(of: .countsForgottenAcks) { mutant in
            var stage = try stage(mutant)
            stage.refuse(at: b)
            stage.refuse(at: c)
            return stage.write(2, at: a, asking: [a, b], reaching: [b, c]) == .done ? "it is complete, and nobody holds it" : nil
        }
    }
}

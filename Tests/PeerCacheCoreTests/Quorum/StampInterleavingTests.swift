import PeerCacheCore
import PeerCacheTesting
import Testing

/// Schedules of `CONTRACT.md` §13 in which stamps decide. A, B and C vote.
@Suite struct StampInterleavingTests {
    let a = 0, b = 1, c = 2

    /// Three voters, of which all hold 1.
    private func stage(_ mutant: QuorumScenario.Mutant?, offsets: [UInt64] = [0, 0, 0]) throws -> QuorumStage {
        var stage = try QuorumStage(offsets: offsets, mutant: mutant)
        stage.table([a, b, c])
        stage.settle([a, b, c])
        stage.set(1, at: a, asking: [a, b], reaching: [a, b, c])
        stage.advance(10)
        return stage
    }

    /// The clock of the first writer is ahead. Random search: seed 13.
    @Test func i1AWriterWithASlowClockMintsAboveTheFastOne() throws {
        try expectHarm(of: .onePhaseStamp) { mutant in
            var stage = try stage(mutant)
            stage.setOffset(400, of: a)
            stage.set(2, at: a, asking: [a, b], reaching: [a, b])
            stage.lose()
            #expect(stage.write(3, at: c, asking: [b, c], reaching: [b, c]) == .done)
            stage.lose()
            _ = stage.get(at: b, from: [a, b])
            return stage.violation
        }
    }

    /// A write that is tried again is the same write. Random search: seed 29.
    @Test func i3AWriteThatIsTriedAgainKeepsItsStamp() throws {
        try expectHarm(of: .restampOnRefusal) { mutant in
            var stage = try stage(mutant)
            let write = stage.set(2, at: a, asking: [a, b], reaching: [b])
            #expect(stage.get(at: c, from: [b, c]) == .hit(2))
            stage.set(3, at: c, asking: [b, c])
            #expect(stage.get(at: c, from: [b, c]) == .hit(3))
            stage.lose()
            stage.again(write)
            stage.run()
            _ = stage.get(at: c, from: [b, c])
            return stage.violation
        }
    }

    /// Random search: seed 1,229 for both.
    @Test(arguments: [QuorumScenario.Mutant.noWriteBack, .lateWriteBack])
    func i4WhatOneReadReturnedTheNextReturnsToo(_ mutant: QuorumScenario.Mutant) throws {
        try expectHarm(of: mutant) { mutant in
            var stage = try stage(mutant)
            stage.set(2, at: a, asking: [a, b], reaching: [a])
            let read = stage.beginGet(at: c)
            stage.go(read, [a, b], [])
            _ = stage.get(at: c, from: [b, c])
            stage.run { $0.operation == read }
            #expect(stage.outcome(read) == .hit(2))
            return stage.violation
        }
    }

    /// Peers whose wall clocks say otherwise follow the reading of the one that is ahead.
    @Test func i7AnEntryIsOverForAllOnceOneReadingSaysSo() throws {
        var stage = try stage(nil, offsets: [2_000, 0, 0])
        stage.set(2, at: a, asking: [a, b], reaching: [a, b, c], ttlMilliseconds: 1_024)
        #expect(stage.get(at: b, from: [b, c]) == .hit(2))
        stage.advance(1_200)
        #expect(stage.get(at: a, from: [b, c]) == .miss)
        #expect(stage.get(at: c, from: [b, c]) == .miss)
        #expect(stage.violation == nil)
    }

    /// A process that follows on one whose clock was ahead mints above it, under another tag.
    @Test func i19ASuccessorWithAnEarlierClockMintsAboveItsPredecessor() throws {
        var stage = try stage(nil, offsets: [5_000, 0, 0])
        let before = stage.guardStamp(b)
        stage.crash(a)
        let next = try stage.addPeer()
        stage.table([b, c, next])
        stage.settle([b, c, next])
        #expect(stage.write(2, at: next, asking: [next, b], reaching: [next, c]) == .done)
        #expect(stage.guardStamp(c) > before && stage.guardStamp(c).origin != before.origin)
        #expect(stage.get(at: b, from: [b, c]) == .hit(2))
    }

    @Test func i24AWriteOfUnknownEndMayShowLater() throws {
        var stage = try stage(nil)
        stage.giveUp(stage.set(2, at: a, asking: [a, b], reaching: [a]))
        #expect(stage.get(at: c, from: [b, c]) == .hit(1))
        #expect(stage.get(at: c, from: [a, b]) == .hit(2))
        #expect(stage.get(at: c, from: [b, c]) == .hit(2))
        #expect(stage.violation == nil)
    }

    /// C takes a removal in, acks and dies; its successor learns from A and B, which have not heard of it. The ack is on its way.
    @Test func i31TheAckOfADeadProcessDoesNotCount() throws {
        try expectHarm(of: .acksSurviveRestart) { mutant in
            for (a, b, c) in orders(a, b, c) {
                var stage = try stage(mutant)
                let removal = stage.beginSet(nil, at: a)
                stage.run { $0.kind == .ask || $0.kind == .told || $0.kind == .apply && $0.to == c }
                stage.lose { $0.kind != .applied }
                stage.crash(c)
                let next = try stage.addPeer()
                stage.table([a, b, next])
                stage.settle([a, b, next])
                stage.again(removal)
                stage.go(removal, [a], [a])
                _ = stage.get(at: b, from: [b, next])
                if let violation = stage.violation { return violation }
            }
            return nil
        }
    }
}

/// Runs a schedule with the code as it is, which must be harmless, and with a mistake, which must be found.
func expectHarm(of mutant: QuorumScenario.Mutant, _ play: (QuorumScenario.Mutant?) throws -> String?) throws {
    let problem = try play(nil)
    #expect(problem == nil)
    let harm = try play(mutant)
    #expect(harm != nil, "\(mutant) does no harm")
}

/// The roles in each order: some schedules depend on who is asked first.
func orders(_ a: Int, _ b: Int, _ c: Int) -> [(Int, Int, Int)] { [(a, b, c), (a, c, b), (b, a, c), (b, c, a), (c, a, b), (c, b, a)] }

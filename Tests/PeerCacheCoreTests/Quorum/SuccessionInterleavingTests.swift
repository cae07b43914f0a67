import PeerCacheCore
import PeerCacheTesting
import Testing

/// Schedules of `CONTRACT.md` §13 in which the voters change.
@Suite struct SuccessionInterleavingTests {
    let a = 0, b = 1, c = 2, d = 3, e = 4

    /// The voters, by default A, B and C, vote and hold 1; others are there.
    private func stage(_ peers: Int, _ mutant: QuorumScenario.Mutant? = nil, voters: [Int] = [0, 1, 2]) throws -> QuorumStage {
        var stage = try QuorumStage(offsets: Array(repeating: 0, count: peers), minimumPeers: 3, mutant: mutant)
        stage.table(voters)
        stage.settle(voters)
        stage.set(1, at: voters[0], asking: Array(voters.prefix(2)), reaching: voters)
        stage.advance(10)
        return stage
    }

    /// C has missed a write, A dies, and a read asks C and the successor of A.
    private func violation(afterDeathOf a: Int, _ b: Int, _ c: Int, _ mutant: QuorumScenario.Mutant?) throws -> String? {
        var stage = try stage(3, mutant)
        stage.set(2, at: a, asking: [a, b])
        stage.lose()
        stage.crash(a)
        let next = try stage.addPeer()
        stage.table([b, c, next])
        stage.settle([b, c, next])
        #expect(stage.votes(next))
        _ = stage.get(at: b, from: [c, next])
        return stage.violation
    }

    @Test func i15ACallerOfAnotherPlacementIsRefused() throws {
        var stage = try stage(4)
        stage.table([a, b, d])
        stage.settle([a, b, d])
        #expect(stage.write(2, at: c, asking: [a, b, c]) == .pending)
        #expect(stage.get(at: c, from: [a, b]) == .miss)
        stage.lose()
        #expect(stage.get(at: a, from: [a, b]) == .hit(1))
        #expect(stage.violation == nil)
    }

    /// Random search: seed 1.
    @Test func i16APeerWithoutAnythingDoesNotVoteAtOnce() throws {
        try expectHarm(of: .votesAtOnce) { mutant in try violation(afterDeathOf: a, b, c, mutant) }
    }

    @Test func i17APeerThatLostAllLearnsFromMoreThanOne() throws {
        try expectHarm(of: .syncFromOne) { mutant in
            // Who is asked first matters.
            try orders(a, b, c).compactMap { a, b, c in try violation(afterDeathOf: a, b, c, mutant) }.first
        }
    }

    /// Both sides of a division agree among themselves. Random search: seed 25.
    @Test func i33ASideWithoutEnoughOfTheFormerVotersDoesNotVote() throws {
        try expectHarm(of: .placementCheckOnly) { mutant in
            var stage = try stage(5, mutant)
            stage.table([a, d, e])
            stage.settle([a, d, e])
            #expect(stage.write(2, at: b, asking: [b, c]) == .done)
            _ = stage.get(at: a, from: [a, d])
            return stage.violation
        }
    }

    /// Two sides each have R of the five former voters.
    @Test func aReadQuorumOfTheFormerVotersIsNotEnough() throws {
        try expectHarm(of: .sealQuorumIsR) { mutant in
            let scheme = try #require(QuorumScheme(copies: 5, readFrom: 2, ackedBy: 4))
            var stage = try QuorumStage(offsets: Array(repeating: 0, count: 11), scheme: scheme, minimumPeers: 5, mutant: mutant)
            stage.table([0, 1, 2, 3, 4])
            stage.settle([0, 1, 2, 3, 4])
            #expect(stage.write(1, at: 0, asking: [0, 1], reaching: [0, 1, 2, 3, 4]) == .done)
            let (one, other) = ([0, 1, 5, 6, 7], [2, 3, 8, 9, 10])
            for side in [one, other] {
                stage.table(side)
                stage.settle(side)
            }
            stage.set(2, at: 5, asking: one)
            _ = stage.get(at: 8, from: other)
            return stage.violation
        }
    }

    /// B comes straight from a list that others have left since, and only C knows it.
    @Test func i34WhoeverWasAskedToLeaveAListTellsWhatCameAfterIt() throws {
        try expectHarm(of: .openListsKept) { mutant in
            let order = try QuorumStage.order(of: 6)
            let (a, b, c, d, e, f) = (order[0], order[1], order[5], order[2], order[3], order[4])
            var stage = try stage(6, mutant, voters: [a, b, c])
            stage.table([a, c, d, e])
            stage.settle([a, c, d, e], mute: [c])
            #expect(stage.votes(d) && stage.votes(e) && !stage.votes(c))
            #expect(stage.write(2, at: d, asking: [d, e]) == .done)
            stage.lose()
            stage.table([a, b, c, f], knownTo: [b, c, f])
            stage.settle([b, c, f])
            _ = stage.get(at: b, from: [b, f])
            return stage.violation
        }
    }

    /// D joins and leaves, and C hears of neither.
    @Test func i37ThePlacementOfTheSameMembersIsAnotherOne() throws {
        try expectHarm(of: .idWithoutHistory) { mutant in
            let order = try QuorumStage.order(of: 4)
            let (a, b, c, d) = (order[0], order[1], order[3], order[2])
            var stage = try stage(4, mutant, voters: [a, b, c])
            stage.table([a, b, c, d], knownTo: [a, b, d])
            stage.settle([a, b, d])
            #expect(stage.write(2, at: b, asking: [b, d]) == .done)
            stage.lose()
            stage.table([a, b, c], knownTo: [a, b])
            stage.settle([a, b])
            _ = stage.get(at: a, from: [a, c])
            return stage.violation
        }
    }

    /// D was in a list and heard nothing of what was known before it.
    @Test func aPeerThatKnewNothingDoesNotSpeakForItsList() throws {
        try expectHarm(of: .nonVotersSpeak) { mutant in
            var stage = try stage(5, mutant)
            stage.set(2, at: a, asking: [a, c])
            stage.lose()
            stage.table([a, b, d])
            stage.settle([a, b])
            #expect(stage.votes(a) && stage.votes(b) && !stage.votes(d))
            stage.table([b, d, e])
            stage.settle([b, d, e])
            _ = stage.get(at: b, from: [b, d])
            return stage.violation
        }
    }

    /// D comes straight from a list of long ago into one of which it hears nothing: what came between is not known to it.
    @Test func aPeerThatDidNotVoteDoesNotSpeakForWhatCameBeforeItsList() throws {
        let order = try QuorumStage.order(of: 6)
        let (a, b, c, d, e, f) = (order[0], order[1], order[2], order[3], order[4], order[5])
        var stage = try QuorumStage(offsets: Array(repeating: 0, count: 6), minimumPeers: 3)
        stage.table([c, d, f])
        stage.settle([c, d, f])
        stage.set(1, at: c, asking: [c, d], reaching: [c, d, f])
        stage.table([a, b, c, d, f], knownTo: [a, b, c, f])
        stage.settle([a, b, c, f])
        #expect(stage.write(2, at: a, asking: [a, b]) == .done)
        stage.lose()
        stage.crash(f)
        stage.table([b, c, d])
        stage.settle([b, c])
        #expect(stage.votes(b) && stage.votes(c) && !stage.votes(d))
        stage.table([c, d, e])
        stage.settle([c, d, e])
        _ = stage.get(at: c, from: [c, d])
        #expect(stage.violation == nil)
    }

    /// D joins and has heard of nothing when B is lost: A and C still know all.
    @Test func oneLossWhileAPeerJoinsDoesNotSilenceTheSlot() throws {
        let order = try QuorumStage.order(of: 4)
        let (a, b, c, d) = (order[3], order[1], order[2], order[0])
        var stage = try QuorumStage(offsets: Array(repeating: 0, count: 4), minimumPeers: 3)
        stage.table([a, b, c])
        stage.settle([a, b, c])
        #expect(stage.write(1, at: a, asking: [a, b]) == .done)
        stage.lose()
        stage.table([a, b, c, d])
        stage.settle([b, c])
        #expect(stage.votes(b) && stage.votes(c) && !stage.votes(d))
        stage.crash(b)
        stage.table([a, c, d])
        stage.settle([a, c, d])
        #expect(stage.votes(a) && stage.votes(c) && stage.votes(d))
        #expect(stage.get(at: d, from: [c, d]) == .hit(1))
        #expect(stage.violation == nil)
    }

    /// A and B stay voters of a smaller list, of which fewer are asked afterwards.
    @Test func aSmallerListKnowsAllThatTheLargerOneKnew() throws {
        let scheme = try #require(QuorumScheme(copies: 5, readFrom: 3, ackedBy: 3))
        let (a, b, c, d, e, f) = (0, 1, 2, 3, 4, 5)
        var stage = try QuorumStage(offsets: Array(repeating: 0, count: 6), scheme: scheme, minimumPeers: 3)
        stage.table([a, b, c, d, e])
        stage.settle([a, b, c, d, e])
        #expect(stage.write(1, at: a, asking: [a, b, c], reaching: [a, b, c, d, e]) == .done)
        #expect(stage.write(2, at: c, asking: [c, d, e]) == .done)
        stage.lose()
        stage.crash(d)
        stage.crash(e)
        stage.table([a, b, c])
        stage.settle([a, b, c])
        stage.crash(c)
        stage.table([a, b, f])
        stage.settle([a, b, f])
        #expect(stage.votes(a) && stage.votes(b) && stage.votes(f))
        #expect(stage.get(at: a, from: [a, b, f]) == .hit(2))
        #expect(stage.violation == nil)
    }

    /// P knows all of what came before, alone in a smaller list; whoever asks it later must hear that it voted in the larger one.
    @Test func aPeerThatKnowsAllStillTellsWhereItVoted() throws {
        let scheme = try #require(QuorumScheme(copies: 5, readFrom: 3, ackedBy: 3))
        let order = try QuorumStage.order(of: 10)
        let (p, q, r, s, t) = (order[0], order[1], order[2], order[3], order[4])
        let (a, b, c, d, e) = (order[5], order[6], order[7], order[8], order[9])
        var stage = try QuorumStage(offsets: Array(repeating: 0, count: 10), scheme: scheme, minimumPeers: 3)
        stage.table([a, b, c, d, e])
        stage.settle([a, b, c, d, e])
        #expect(stage.write(1, at: a, asking: [a, b, c], reaching: [a, b, c, d, e]) == .done)
        stage.table([p, q, r, s, t, a, b, c, d, e], knownTo: [p, s, t, a, b, c, d, e])
        stage.settle([p, s, t, a, b, c, d, e])
        #expect(stage.votes(p) && stage.votes(s) && stage.votes(t))
        #expect(stage.write(2, at: p, asking: [p, s, t]) == .done)
        stage.lose()
        stage.table([p, q, r])
        stage.settle([p, q, r], mute: [q, r])
        stage.crash(s)
        stage.crash(t)
        stage.table([p, q, r, a, b, c])
        stage.settle([p, q, r, a, b, c])
        _ = stage.get(at: q, from: [q, r, a])
        #expect(stage.violation == nil)
    }

    /// C is cut off while others take over and all vote, so that A and B forget: C alone still names the list of the three.
    @Test func whoeverWasCutOffWhileAllVotedDoesNotSilenceTheSlot() throws {
        let order = try QuorumStage.order(of: 6)
        let (a, b, c, d, e, f) = (order[4], order[5], order[3], order[0], order[1], order[2])
        var stage = try stage(6, voters: [a, b, c])
        stage.table([a, b, d, e, f])
        for _ in 0..<2 { stage.settle([a, b, d, e, f]) }
        #expect(stage.write(2, at: d, asking: [d, e]) == .done)
        stage.lose()
        #expect(stage.held(a) == nil && stage.held(b) == nil && stage.held(c) == 1)
        stage.crash(f)
        stage.table([a, b, c, d, e])
        stage.settle([a, b, c, d, e])
        #expect(stage.votes(c) && stage.votes(d) && stage.votes(e))
        #expect(stage.get(at: c, from: [c, e]) == .hit(2))
        #expect(stage.violation == nil)
    }

    /// A, B and C once forgot the slot and vote on it again; C is cut off while D votes in its stead.
    @Test func whoeverForgotLongAgoDoesNotSilenceTheSlot() throws {
        let order = try QuorumStage.order(of: 7)
        let (a, b, c, d) = (order[3], order[4], order[5], order[6])
        var stage = try stage(7, voters: [a, b, c])
        var others = Array(order.prefix(3))
        stage.table(others + [a, b, c])
        for _ in 0..<2 { stage.settle(others + [a, b, c]) }
        #expect(![a, b, c].contains { stage.held($0) != nil })
        while let next = others.popLast() {
            stage.crash(next)
            stage.table(others + [a, b, c])
            for _ in 0..<2 { stage.settle(others + [a, b, c]) }
        }
        #expect(stage.votes(a) && stage.votes(b) && stage.votes(c))
        stage.table([a, b, d])
        for _ in 0..<2 { stage.settle([a, b, d]) }
        #expect(stage.write(2, at: a, asking: [a, d]) == .done)
        stage.lose()
        stage.table([a, b, c, d])
        stage.settle([a, b, c, d])
        #expect(stage.votes(a) && stage.votes(b) && stage.votes(c))
        #expect(stage.get(at: c, from: [b, c]) == .hit(2))
        #expect(stage.violation == nil)
    }

    /// C was cut off while all others of its list left for good and a new list voted.
    @Test func whoeverComesBackAfterAllOthersAreGoneDoesNotSilenceTheSlot() throws {
        let order = try QuorumStage.order(of: 6)
        let (a, b, c, d, e, f) = (order[4], order[5], order[3], order[0], order[1], order[2])
        var stage = try stage(6, voters: [a, b, c])
        stage.table([a, b, d, e, f])
        for _ in 0..<2 { stage.settle([a, b, d, e, f]) }
        #expect(stage.write(2, at: d, asking: [d, e]) == .done)
        stage.lose()
        for gone in [a, b, f] { stage.crash(gone) }
        stage.table([c, d, e])
        stage.settle([c, d, e])
        #expect(stage.votes(c) && stage.votes(d) && stage.votes(e))
        #expect(stage.get(at: c, from: [c, e]) == .hit(2))
        #expect(stage.violation == nil)
    }

    /// A forgot the slot when D, E and F voted, and was cut off while others took over from those.
    @Test func whoeverNamesSuccessorsThatAreGoneDoesNotSilenceTheSlot() throws {
        let order = try QuorumStage.order(of: 9)
        let (one, two, three) = (Array(order[3...5]), Array(order[0...2]), Array(order[6...8]))
        var stage = try stage(9, voters: one)
        stage.table(one + two)
        for _ in 0..<2 { stage.settle(one + two) }
        #expect(!one.contains { stage.held($0) != nil })
        // The others of the first list go, then those of the second one, one after another.
        stage.crash(one[1])
        stage.crash(one[2])
        var members = two + three
        stage.table(members)
        for _ in 0..<2 { stage.settle(members) }
        for gone in two {
            stage.crash(gone)
            members.removeAll { $0 == gone }
            stage.table(members)
            for _ in 0..<2 { stage.settle(members) }
        }
        #expect(three.allSatisfy { stage.votes($0) })
        #expect(stage.write(2, at: three[0], asking: three) == .done)
        stage.lose()
        members.append(one[0])
        stage.table(members)
        stage.settle(members)
        #expect(stage.votes(one[0]) && stage.votes(three[0]) && stage.votes(three[1]))
        #expect(stage.get(at: one[0], from: [one[0], three[0]]) == .hit(2))
        #expect(stage.violation == nil)
    }

    /// As above, and whoever took over is cut off now: C holds what was overwritten since.
    @Test func whoeverForgotSpeaksOnlyBesideThoseThatTookOver() throws {
        try expectHarm(of: .forgetsSuccessors) { mutant in
            let order = try QuorumStage.order(of: 6)
            let (a, b, c, d, e, f) = (order[4], order[5], order[3], order[0], order[1], order[2])
            var stage = try stage(6, mutant, voters: [a, b, c])
            // The second time they hear of it only that all vote, and there is no list left that they would name.
            for _ in 0..<2 {
                stage.table([a, b, d, e, f])
                for _ in 0..<2 { stage.settle([a, b, d, e, f]) }
            }
            #expect(stage.write(2, at: d, asking: [d, e]) == .done)
            stage.lose()
            stage.table([a, b, c])
            stage.settle([a, b, c])
            _ = stage.get(at: a, from: [a, c])
            return stage.violation
        }
    }

    /// As above, and A has been asked to leave the list of the three once more: that it is in it again says nothing of what it forgot.
    @Test func whoeverForgotAndIsAskedAgainDoesNotSpeakForWhatItForgot() throws {
        try expectHarm(of: .forgetsSuccessors) { mutant in
            let order = try QuorumStage.order(of: 6)
            let (a, b, c, d, e, f) = (order[4], order[5], order[3], order[0], order[1], order[2])
            var stage = try stage(6, mutant, voters: [a, b, c])
            for _ in 0..<2 {
                stage.table([a, b, d, e, f])
                for _ in 0..<2 { stage.settle([a, b, d, e, f]) }
            }
            #expect(stage.write(2, at: d, asking: [d, e]) == .done)
            stage.lose()
            for _ in 0..<2 {
                stage.table([a, b, c], knownTo: [a, c])
                stage.settle([a, c])
                stage.lose()
            }
            _ = stage.get(at: a, from: [a, c])
            return stage.violation
        }
    }

    /// S and T still have what they had in the list of before, but A, B and C, who came after them, have forgotten who came then.
    @Test func whoeverForgotTellsWhoTookOver() throws {
        try expectHarm(of: .forgetsSuccessors) { mutant in
            let order = try QuorumStage.order(of: 9)
            let (one, two, three) = (Array(order[6...8]), Array(order[3...5]), Array(order[0...2]))
            var stage = try QuorumStage(offsets: Array(repeating: 0, count: 9), minimumPeers: 3, mutant: mutant)
            stage.table(one)
            stage.settle(one)
            #expect(stage.write(1, at: one[0], asking: one) == .done)
            stage.table(one + two)
            stage.settle(one + two, mute: one)
            for _ in 0..<2 {
                stage.table(two + three)
                for _ in 0..<2 { stage.settle(two + three) }
            }
            #expect(stage.write(2, at: three[0], asking: three) == .done)
            stage.lose()
            stage.table(one + two)
            stage.settle(one + two)
            _ = stage.get(at: two[0], from: two)
            return stage.violation
        }
    }

    /// All that is known to A, B and C is that others took over; and those still vote, elsewhere.
    @Test func aClusterThatKnowsOfVotesDoesNotBeginAnew() throws {
        let order = try QuorumStage.order(of: 6)
        let (a, b, c, d, e, f) = (order[3], order[4], order[5], order[0], order[1], order[2])
        var stage = try stage(6, voters: [a, b, c])
        for _ in 0..<2 {
            stage.table([a, b, c, d, e, f])
            stage.settle([a, b, c, d, e, f])
        }
        #expect(stage.votes(d) && stage.votes(e) && stage.votes(f))
        stage.table([a, b, c])
        stage.settle([a, b, c])
        stage.set(2, at: a, asking: [a, b])
        _ = stage.get(at: d, from: [d, e])
        #expect(stage.violation == nil)
    }
}

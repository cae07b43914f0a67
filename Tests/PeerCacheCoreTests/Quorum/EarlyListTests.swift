import PeerCacheCore
import PeerCacheTesting
import Testing

/// A list that its members took long before they voted there: before others voted elsewhere, of whom they heard through one that came late.
@Suite struct EarlyListTests {
    /// The lists of the votes: A, B and C; then Y, V and W; then Z, X and Y. The last of these was taken first.
    private struct Schedule {
        var stage: QuorumStage
        let a, b, c, v, w, x, y, z: Int
        private let second, third: Int

        init() throws {
            let order = try QuorumStage.order(of: 8)
            (a, z, x, y, v, w, b, c) = (order[0], order[1], order[2], order[3], order[4], order[5], order[6], order[7])
            stage = try QuorumStage(offsets: Array(repeating: 0, count: 8), minimumPeers: 3)
            let first = stage.table([a, b, c], knownTo: [])
            second = stage.table([y, v, w, b, c], knownTo: [])
            third = stage.table([z, x, y, v], knownTo: [])
            stage.advance(10)
            for peer in [y, v, w] { stage.learn(second, peer) }
            stage.settle([y, v, w])
            for peer in [z, x, y] { stage.learn(third, peer) }
            stage.settle([z, x, y])
            for peer in [a, b, c] { stage.learn(first, peer) }
            stage.settle([a, b, c])
            #expect(stage.write(1, at: a, asking: [a, b, c]) == .done)
            stage.lose()
            for peer in [b, c] { stage.learn(second, peer) }
            stage.settle([v, w, b, c])
            #expect(stage.votes(v) && stage.votes(w))
            #expect(stage.write(2, at: v, asking: [v, w]) == .done)
            stage.lose()
            stage.learn(third, v)
        }

        /// Y has heard of its last list only, and does not vote there.
        mutating func voteLate() {
            stage.settle([z, x, y, v], mute: [y])
            #expect(stage.votes(z) && stage.votes(x) && !stage.votes(y))
            #expect(stage.write(3, at: z, asking: [z, x]) == .done)
            stage.lose()
            stage.crash(v)
            stage.crash(z)
        }
    }

    /// One of each list is lost. X knows what was written last, and would not have been asked.
    @Test func whatWasVotedOnLateIsNotOldForHavingBeenTakenEarly() throws {
        var schedule = try Schedule()
        schedule.voteLate()
        let (a, b, w, x, y) = (schedule.a, schedule.b, schedule.w, schedule.x, schedule.y)
        schedule.stage.table([a, b, w, x, y])
        schedule.stage.settle([a, b, w, x, y], mute: [x])
        #expect(schedule.stage.votes(a) && schedule.stage.votes(y))
        #expect(schedule.stage.get(at: y, from: [y, a]) == .hit(3))
        #expect(schedule.stage.violation == nil)
    }

    /// Z and X are lost, and Y alone tells of the list in which they voted.
    @Test func whoDidNotVoteInAListThatItTookEarlyStillTellsThatItIsTheLast() throws {
        var schedule = try Schedule()
        schedule.voteLate()
        schedule.stage.crash(schedule.x)
        let members = [schedule.a, schedule.b, schedule.w, schedule.y]
        schedule.stage.table(members)
        schedule.stage.settle(members)
        #expect(!members.contains { schedule.stage.votes($0) }, "what was written last is gone")
    }

    /// Y has gone on to another placement when V comes: it answered before V voted, and tells of the list as one that was over by then.
    @Test func whoAnsweredBeforeAVoteIsAskedOnceMore() throws {
        var schedule = try Schedule()
        let (c, v, w, x, y, z) = (schedule.c, schedule.v, schedule.w, schedule.x, schedule.y, schedule.z)
        schedule.stage.table([y, w, c], knownTo: [y])
        schedule.stage.settle([z, x, v, y], mute: [y])
        #expect(!schedule.stage.votes(z) && !schedule.stage.votes(x))
        schedule.stage.table([z, x, y, v])
        schedule.stage.settle([z, x, y, v])
        #expect(schedule.stage.votes(z) && schedule.stage.votes(x) && schedule.stage.votes(y))
        #expect(schedule.stage.get(at: z, from: [z, x]) == .hit(2))
        #expect(schedule.stage.violation == nil)
    }
}

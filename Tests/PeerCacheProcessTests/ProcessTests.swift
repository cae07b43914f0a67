import Foundation
import Testing

/// Sixteen real processes on loopback. Times are printed, not asserted: bars are measured in `Benchmarks`.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ProcessTests {
    private func report(_ what: String, _ times: [Double], since begin: Double) {
        let sorted = times.map { $0 - begin }.sorted()
        guard let first = sorted.first, let last = sorted.last else { return }
        let middle = sorted[sorted.count / 2]
        print("\(what): \(sorted.count) survivors, \(milliseconds(first)), p50 \(milliseconds(middle)), last \(milliseconds(last))")
    }

    private func milliseconds(_ seconds: Double) -> String { "\(Int(seconds * 1000)) ms" }

    @Test func everySurvivorLearnsWhoWasKilled() async throws {
        try await withMembers(16) { members in
            var alive = members
            for victim in [members[3], members[0], members[9]] {
                let begin = secondsNow
                victim.end()
                alive.removeAll { $0 === victim }
                try await expectOneView(alive, "the survivors of \(victim.name) agree")
                report("kill -9 of \(victim.name)", alive.compactMap { $0.time(of: "dead", victim.id, after: begin) }, since: begin)
            }
            // Nobody else was ever held for dead.
            for member in alive {
                let dead = Set(member.all.filter { $0.kind == "dead" }.map(\.peer))
                #expect(dead == Set([members[0].id, members[3].id, members[9].id]))
            }
        }
    }

    @Test func twoKilledAtOnceAreNoticed() async throws {
        try await withMembers(8) { members in
            let begin = secondsNow
            members[1].signal(SIGKILL)
            members[5].signal(SIGKILL)
            let alive = members.filter { $0 !== members[1] && $0 !== members[5] }
            try await expectOneView(alive, "the survivors agree")
            for victim in [members[1], members[5]] {
                report("kill -9 of two", alive.compactMap { $0.time(of: "dead", victim.id, after: begin) }, since: begin)
            }
        }
    }

    /// Who stands still for a while keeps its place or comes back to it, and draws nobody else's death.
    @Test func whoIsStoppedAndGoesOnComesBack() async throws {
        try await withMembers(16) { members in
            let stopped = members[7]
            stopped.signal(SIGSTOP)
            try await Task.sleep(for: .seconds(8))
            stopped.signal(SIGCONT)
            let begin = secondsNow
            try await expectOneView(members, "one view again")
            print("SIGSTOP for 8 s: one view \(milliseconds(secondsNow - begin)) after it went on")
            for line in members.flatMap(\.all) where line.kind == "dead" {
                #expect(line.peer == stopped.id && line.detail != "crashed")
            }
        }
    }

    @Test func whoRestartsAtTheSamePortIsANewMember() async throws {
        try await withMembers(5) { members in
            var members = members
            let (old, port) = (members[2].id, members[2].address)
            members[2].end()
            let begin = secondsNow
            members[2] = try MemberProcess("again", at: port, seeds: [members[0].address])
            defer { members[2].end() }
            try await expectOneView(members, "the new process is known, the old one gone")
            print("restart at the same port: one view after \(milliseconds(secondsNow - begin))")
            #expect(members[2].id != old && members[2].address == port)
        }
    }
}

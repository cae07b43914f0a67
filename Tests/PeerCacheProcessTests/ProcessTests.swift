import Foundation
import PeerCache
import PeerCacheCore
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

    /// An observer hears of a kill although the peers that it asked are killed too.
    @Test func anObserverLearnsWhoWasKilled() async throws {
        try await withMembers(5) { members in
            var configuration = CachePeerConfiguration(cluster: "members")
            configuration.role = .observer
            configuration.discovery = .peers(members.map(\.address))
            configuration.security = .sharedSecret("a secret of the tests, long enough")
            let observer = try CachePeer(configuration: configuration)
            let dead = Deaths()
            let events = observer.events
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await observer.run() }
                group.addTask { for await event in events { if case .dead(let id, _) = event { dead.ids.withLock { _ = $0.insert(id) } } } }
                try await eventually("it knows all", seconds: 30) { observer.snapshot().memberCount == 5 }
                var alive = members
                for victim in members.prefix(3) {
                    let begin = secondsNow
                    victim.signal(SIGKILL)
                    alive.removeAll { $0 === victim }
                    try await eventually("it hears of the death", seconds: 30) { dead.ids.withLock { $0.contains(victim.id) } }
                    print("kill -9 of \(victim.name), as an observer sees it: \(milliseconds(secondsNow - begin))")
                }
                #expect(dead.ids.withLock { $0 } == Set(members.prefix(3).map(\.id)))
                try await eventually("it counts the others", seconds: 30) { observer.snapshot().memberCount == 2 }
                try await expectOneView(alive, "nobody took it for a member")
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

private final class Deaths: Sendable {
    let ids = Lock<Set<String>>([])
}

import Foundation
import Testing

/// An owner that stands still while others go on, in real processes: `kill -STOP`, or a machine that is suspended.
@Suite(.serialized, .timeLimit(.minutes(3))) struct StoppedOwnerTests {
    private let keys = (0..<30).map { "fast-\($0)" }

    private func withCaches(_ body: ([MemberProcess]) async throws -> Void) async throws {
        var members: [MemberProcess] = []
        defer { for member in members { member.end() } }
        for number in 0..<3 {
            members.append(try MemberProcess("s\(number)", seeds: members.first.map { [$0.address] } ?? [], advertised: 0))
            if number == 0 { try await eventually("the first listens") { !members[0].address.isEmpty } }
        }
        try await expectOneView(members, "all know each other")
        try await body(members)
    }

    /// Writes all keys at once; which of them the member said are written.
    private func write(_ value: String, at member: MemberProcess) async -> Set<String> {
        await withTaskGroup(of: String?.self) { group in
            for key in keys { group.addTask { await member.ask("set \(key) \(value)") == ["ok"] ? key : nil } }
            return await group.reduce(into: []) { if let key = $1 { $0.insert(key) } }
        }
    }

    /// What the keys have, all read at once; a miss is `miss`.
    private func read(at member: MemberProcess) async -> Set<String> {
        await withTaskGroup(of: String.self) { group in
            for key in keys { group.addTask { await member.ask("get \(key)")?.last ?? "no answer" } }
            return await group.reduce(into: []) { $0.insert($1) }
        }
    }

    /// The owner finds writes in its sockets when it goes on, which their callers have given up or done elsewhere.
    @Test func whatAStoppedOwnerFindsDoesNotReplaceWhatWasWrittenSince() async throws {
        try await withCaches { members in
            try await eventually("the first value is everywhere") { await write("v1", at: members[1]).count == keys.count }
            members[0].signal(SIGSTOP)
            let unanswered = Set(keys).subtracting(await write("v2", at: members[1]))
            try await eventually("the others hold it for dead") { members[1].others.count == 1 && members[2].others.count == 1 }
            try await eventually("the last value is everywhere") { await write("v3", at: members[2]).count == keys.count }
            members[0].signal(SIGCONT)
            try await expectOneView(members, "it is back")
            print("stopped owner: \(unanswered.count) of \(keys.count) writes not confirmed")
            // It may have answered with what it held until it knew that it had been missed.
            for member in members {
                var seen: Set<String> = []
                for attempt in 0..<600 where seen != ["v3"] {
                    if attempt > 0 { try await Task.sleep(for: .milliseconds(100)) }
                    seen = await read(at: member)
                }
                #expect(seen == ["v3"], "\(member.name) reads the last value of all keys")
            }
        }
    }
}

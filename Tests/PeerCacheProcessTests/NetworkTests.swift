import Foundation
import Testing

/// Five peers on hosts of their own: what no process on one host can show, as its kernel always answers.
@Suite(.serialized, .timeLimit(.minutes(5)), .enabled(if: Network.obstacle == nil, "\(Network.obstacle ?? "")"))
struct NetworkTests {
    /// - Parameter areAsked: they have caches, too.
    private func withHosts(areAsked: Bool = false, _ body: (Network, [MemberProcess]) async throws -> Void) async throws {
        let network = try Network(hosts: 5)
        var members: [MemberProcess] = []
        defer {
            for member in members { member.end() }
            network.remove()
        }
        for host in 0..<network.count {
            members.append(
                try MemberProcess(
                    "h\(host)", at: "\(network.address(host)):7600", seeds: host == 0 ? [] : ["\(network.address(0)):7600"],
                    advertised: areAsked ? 0 : nil, namespace: network.namespace(host)))
        }
        try await expectOneView(members, "all know each other")
        try await body(network, members)
    }

    private func deaths(_ members: [MemberProcess], after time: Double) -> [String] {
        members.flatMap { member in
            member.all.filter { $0.kind == "dead" && $0.time >= time }.map { "\(member.name): \($0.peer) \($0.detail)" }
        }
    }

    @Test func aHostThatVanishesIsNoticedAndComesBack() async throws {
        try await withHosts { network, members in
            let begin = secondsNow
            try network.setLink(4, up: false)
            try await expectOneView(Array(members[..<4]), "the others agree that it is gone", seconds: 60)
            let times = members[..<4].compactMap { $0.time(of: "dead", members[4].id, after: begin) }.map { $0 - begin }.sorted()
            print("a host vanished: known after \(times.map { String(format: "%.1f s", $0) })")
            try network.setLink(4, up: true)
            let back = secondsNow
            try await expectOneView(members, "all know each other again", seconds: 90)
            print("a host came back: one view after \(String(format: "%.1f s", secondsNow - back))")
        }
    }

    @Test func lossDrawsNoVerdict() async throws {
        try await withHosts { network, members in
            let begin = secondsNow
            try network.lose(percent: 5)
            try await Task.sleep(for: .seconds(25))
            #expect(deaths(members, after: begin).isEmpty)
            try network.cut(from: 1, to: 2)
            try await Task.sleep(for: .seconds(25))
            #expect(deaths(members, after: begin).isEmpty)
            network.heal()
            try await expectOneView(members, "one view")
        }
    }

    /// A holder that cannot reach a living owner does not hear of what others write there.
    @Test func aCutLinkLeavesNoOutdatedValues() async throws {
        try await withHosts(areAsked: true) { network, members in
            let keys = (0..<60).map { "fast-\($0)" }
            func write(_ value: String) async -> Bool {
                for key in keys where await members[3].ask("set \(key) \(value)") != ["ok"] { return false }
                return true
            }
            func read(at member: MemberProcess) async -> Set<String> {
                await withTaskGroup(of: String.self) { group in
                    for key in keys { group.addTask { await member.ask("get \(key)")?.last ?? "no answer" } }
                    return await group.reduce(into: []) { $0.insert($1) }
                }
            }
            try await eventually("the first value is everywhere", seconds: 60) { await write("v1") }
            try network.cut(from: 1, to: 2)
            // Until then a write may wait for its copy.
            try await Task.sleep(for: .seconds(10))
            try await eventually("the last value is written", seconds: 60) { await write("v2") }
            for member in members {
                var seen: Set<String> = ["v1"]
                for attempt in 0..<300 where seen.contains("v1") {
                    if attempt > 0 { try await Task.sleep(for: .milliseconds(100)) }
                    seen = await read(at: member)
                }
                #expect(seen.isSubset(of: ["v2", "miss"]), "\(member.name) reads \(seen.sorted())")
            }
            network.heal()
            for member in members {
                try await eventually("\(member.name) reads the last value", seconds: 60) { await read(at: member) == ["v2"] }
            }
        }
    }

    @Test func halvesOfADividedNetworkFindEachOtherAgain() async throws {
        try await withHosts { network, members in
            try network.split(first: 2)
            try await expectOneView(Array(members[..<2]), "the smaller side is alone", seconds: 60)
            try await expectOneView(Array(members[2...]), "the larger side is alone", seconds: 60)
            try await Task.sleep(for: .seconds(5))
            network.heal()
            let begin = secondsNow
            try await expectOneView(members, "one view after the division", seconds: 90)
            print("a division healed: one view after \(String(format: "%.1f s", secondsNow - begin))")
        }
    }
}

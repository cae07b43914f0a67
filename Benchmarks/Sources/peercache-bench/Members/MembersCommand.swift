import ArgumentParser
import Foundation
import Synchronization

/// Time until every survivor knows of a killed process, next to hashicorp/memberlist.
struct MembersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "members",
        abstract: "Kills one of 16 processes and waits until all others know, next to hashicorp/memberlist.",
        discussion: """
            Seconds from SIGKILL until a survivor says that the process is dead: the median survivor and the last one. Processes are on \
            loopback; memberlist has its LAN defaults. Each round starts and ends a cluster of each kind.
            """)

    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Rounds of ours and theirs; the figures are medians.") var rounds = 5
    @Option(help: "Processes of a cluster.") var members = 16
    @Option(help: "Processes killed one after another in a round.") var kills = 3
    @Option(help: "Folder with the programs that Benchmarks/Peers/build makes.") var peers = PeerProgram.folder
    @Flag(help: "Without memberlist.") var noPeers = false

    func validate() throws {
        guard rounds >= 1, kills >= 1, members > kills + 1 else {
            throw ValidationError("--rounds and --kills must be positive, --members above --kills + 1")
        }
    }

    func run() async throws {
        Machine.write(peers: noPeers ? [:] : PeerProgram.versions(in: peers), asJSON: json)
        let other = peers + "/memberlist-peer"
        let hasOther = !noPeers && FileManager.default.fileExists(atPath: other)
        if !noPeers, !hasOther { Report.progress("memberlist is not built (Benchmarks/Peers/build): no comparison") }
        var measurements = Measurements()
        for round in 1...rounds {
            Report.progress("round \(round) of \(rounds)")
            let ours = try cluster { try MemberChild.ours($0, seeds: $1) }
            let theirs = hasOther ? try cluster { try MemberChild(ChildProcess(other, [$0] + $1)) } : nil
            for kill in 0..<kills {
                for (name, choose) in [("median", { $0[$0.count / 2] }), ("last", { $0[$0.count - 1] })] as [(String, ([Double]) -> Double)]
                {
                    measurements.add(
                        "members.kill.\(members).\(name)", choose(ours[kill]), "s",
                        peer: theirs.map { ("memberlist", choose($0[kill])) })
                }
            }
        }
        Report.write(measurements, asJSON: json)
    }

    /// Starts a cluster and kills some.
    /// - Returns: for each, when the survivors knew, ascending.
    private func cluster(_ start: (String, [String]) throws -> MemberChild) throws -> [[Double]] {
        var children: [MemberChild] = []
        defer { for child in children { child.kill() } }
        for number in 0..<members {
            children.append(try start("m\(number)", children.first.map { [$0.address] } ?? []))
        }
        try wait("all processes know each other") { children.allSatisfy { $0.known(children) == members - 1 } }
        var alive = children
        return try (0..<kills).map { kill in
            let victim = alive.remove(at: (kill * 5 + 1) % alive.count)
            let begin = Date().timeIntervalSince1970
            victim.kill()
            try wait("the survivors know") { alive.allSatisfy { $0.timeOfDeath(of: victim.name) != nil } }
            return alive.compactMap { $0.timeOfDeath(of: victim.name) }.map { $0 - begin }.sorted()
        }
    }

    private func wait(_ what: String, _ condition: () -> Bool) throws {
        let end = Clock.nanoseconds + 60_000_000_000
        while !condition() {
            guard Clock.nanoseconds < end else { throw ValidationError("\(what): not within 60 s") }
            usleep(5000)
        }
    }
}

import ArgumentParser
import Foundation
import PeerCacheBenchSupport

/// What the byte store costs in memory, and whether it keeps its limit.
struct MemoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "memory",
        abstract: "Memory of the byte store per entry, next to redis-server and memcached; the limit under churn and when it is halved.",
        discussion: """
            overhead: bytes per entry beyond key and value, by the system's own count and by the growth of its resident memory. churn: values \
            of 16 bytes to 256 KiB whose mix changes three times, 20 times the limit in all. halved: the limit is halved while two threads \
            read and write; ten seconds: not reached. Resident memory is the growth since before the store was made. Each part has a process of its own.
            """)

    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Turns of ours and theirs; the figures are medians.") var rounds = 5
    @Option(help: "Parts, separated by commas.") var parts = MemoryPart.allCases.map(\.rawValue).joined(separator: ",")
    @OptionGroup var shape: MemoryShape
    @Option(help: "Eviction policies, separated by commas.") var policies = StoreSubject.Policy.lru.rawValue
    @Option(help: "Folder with what Benchmarks/Peers/build makes.") var peers = PeerProgram.folder
    @Flag(help: "Without other systems.") var noPeers = false

    func validate() throws {
        guard rounds >= 1 else { throw ValidationError("--rounds must be positive") }
        _ = try (chosenParts, chosenPolicies)
    }

    private var chosenParts: [MemoryPart] {
        get throws {
            try parts.split(separator: ",").map {
                guard let part = MemoryPart(rawValue: String($0)) else { throw ValidationError("--parts: \"\($0)\" is not allowed") }
                return part
            }
        }
    }
    private var chosenPolicies: [StoreSubject.Policy] { get throws { try StoreSubject.Policy.list(policies) } }

    func run() async throws {
        Machine.write(peers: noPeers ? [:] : PeerProgram.versions(in: peers), asJSON: json)
        var measurements = Measurements()
        for round in 1...rounds {
            Report.progress("memory: round \(round) of \(rounds)")
            let others = try noPeers || !chosenParts.contains(.overhead) ? [] : OtherServer.allCases.compactMap { try $0.overhead(shape) }
            for policy in try chosenPolicies {
                for part in try chosenParts {
                    for figure in try figures(part, policy) {
                        let name = "memory.\(part.rawValue).\(policy.rawValue).\(figure.name)"
                        let rivals = part == .overhead ? others : []
                        if rivals.isEmpty { measurements.add(name, figure.value, figure.unit) }
                        for rival in rivals {
                            let theirs = figure.name == "rss" ? rival.resident : rival.counted
                            measurements.add(name, figure.value, figure.unit, peer: (rival.name, theirs))
                        }
                    }
                }
            }
        }
        Report.write(measurements, asJSON: json)
    }

    private func figures(_ part: MemoryPart, _ policy: StoreSubject.Policy) throws -> [MemoryFigure] {
        let child = try ChildProcess.another(
            [
                "memory-part", part.rawValue, "--policy", policy.rawValue, "--entries", "\(shape.entries)", "--value-bytes",
                "\(shape.valueBytes)", "--limit-megabytes", "\(shape.limitMegabytes)", "--sweep-megabytes", "\(shape.sweepMegabytes)",
            ])
        defer { child.stop() }
        return try JSONDecoder().decode([MemoryFigure].self, from: Data(child.readLine().utf8))
    }
}

/// One question about memory.
enum MemoryPart: String, CaseIterable, ExpressibleByArgument { case overhead, churn, halved }

/// How much of what.
struct MemoryShape: ParsableArguments {
    @Option(help: "Entries of which the overhead is measured.") var entries = 1_000_000
    @Option(help: "Bytes of their values; keys have 17.") var valueBytes = 100
    @Option(help: "Limit under churn, and before it is halved.") var limitMegabytes = 256
    @Option(help: "What one sweep may give back, ten times a second. 32: as a running peer does.") var sweepMegabytes = 32

    func validate() throws {
        guard entries >= 1, valueBytes >= 1, limitMegabytes >= 4, sweepMegabytes >= 1 else {
            throw ValidationError("--entries, --value-bytes and --sweep-megabytes must be positive, --limit-megabytes at least 4")
        }
    }
}

/// What a process of its own found.
struct MemoryFigure: Codable {
    var name: String
    var value: Double
    var unit: String
}

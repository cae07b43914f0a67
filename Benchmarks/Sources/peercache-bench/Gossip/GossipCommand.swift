import ArgumentParser
import Foundation
import PeerCacheBenchSupport

/// The tables of `GOSSIP.md` §14 in the simulator.
struct GossipCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gossip",
        abstract: "Failure detection against its bars, on virtual time.",
        discussion: """
            Metrics: table, members, loss, profile (p: ours; f: fast; m: the rules of memberlist's LAN profile on this core), how messages \
            travel. All but "real" figures are the same on every machine for one seed.
            """)

    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Flag(help: "Small clusters, few crashes: seconds, for CI.") var quick = false
    @Flag(help: "Profile P on streams alone, without F, M and message links.") var alone = false
    @Flag(help: "Fail when a bar is missed.") var strict = false
    @Option(help: "Tables, separated by commas.") var tables = GossipOptions.Table.allCases.map(\.rawValue).joined(separator: ",")
    @Option(help: "Sizes of clusters: 3, 16, 128, 1000.") var sizes: String?
    @Option(help: "Losses in percent: 0, 5, 30.") var losses: String?
    @Option(help: "Crashes per row.") var crashes: Int?
    @Option(help: "Virtual hours without failures; 1: 100 h up to 16 members, 10 h at 128, 1 h at 1,000.") var hours: Double?
    @Option(help: "Live peers whose connections are reset, per row.") var resets: Int?
    @Option(help: "Random scenarios.") var scenarios: Int?
    @Option(help: "Rows that run at once; figures in real time are right with 1.") var threads = 1
    @Option(help: "Of all rows.") var seed: UInt64 = 1

    func validate() throws { _ = try options() }

    private func options() throws -> GossipOptions {
        var options = quick ? GossipOptions.quick : GossipOptions()
        options.tables = try tables.split(separator: ",").map { name in
            guard let table = GossipOptions.Table(rawValue: String(name)) else { throw ValidationError("unknown table \(name)") }
            return table
        }
        if let sizes { options.sizes = try numbers(sizes) }
        if let losses { options.losses = try numbers(losses).map { UInt32(clamping: $0) } }
        if let crashes { options.crashes = crashes }
        if let hours { options.hoursScale = hours }
        if let resets { options.resets = resets }
        if let scenarios { options.scenarios = scenarios }
        options.compares = !alone
        options.seed = seed
        guard options.crashes >= 1, options.hoursScale > 0, options.resets >= 1, options.scenarios >= 1 else {
            throw ValidationError("all numbers must be positive")
        }
        return options
    }

    private func numbers(_ text: String) throws -> [Int] {
        try text.split(separator: ",").map { word in
            guard let number = Int(word), number >= 0 else { throw ValidationError("\(word) is no number") }
            return number
        }
    }

    /// At once, also into a file: a full run takes minutes.
    private func write(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

    private struct Line: Encodable {
        var metric: String
        var value: Double
        var unit: String
        var bar: Double?
        var met: Bool?
        var basis: String
    }

    func run() async throws {
        let machine = Machine(peers: [:])
        write(json ? Report.encoded(["machine": machine]) : machine.description)
        var missed = 0
        await GossipBars.run(try options(), threads: threads) { figure in
            if figure.isMet == false { missed += 1 }
            let value = (figure.value * 1000).rounded() / 1000
            if json {
                let line = Line(
                    metric: figure.metric, value: value, unit: figure.unit, bar: figure.bar, met: figure.isMet, basis: figure.basis)
                write(Report.encoded(line))
            } else {
                let bar = figure.bar.map { "bar \($0), \(figure.isMet == true ? "met" : "missed")" } ?? "no bar"
                write("\(figure.metric)  \(value) \(figure.unit)  \(bar)  (\(figure.basis))")
            }
        }
        Report.progress("\(missed) bars missed")
        if strict, missed > 0 { throw ExitCode.failure }
    }
}

import ArgumentParser
import Foundation
import PeerCacheBenchSupport

/// Hit ratios of the eviction policies on recorded traces, beside those of the prototypes.
struct HitRatioCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hit-ratio",
        abstract: "Hit ratios of the eviction policies on recorded traces, beside the table of the design.",
        discussion: """
            The policies run alone, without store and values. A request is a get, and on a miss a fill with the request's size. Capacities are \
            in entries, for traces named *-sizes in bytes. Needs the zstd command. W-TinyLFU and S3-FIFO depend on hashes: take several seeds \
            and compare the medians.
            """)

    @Option(help: "Directory of NAME.bin.zst files.") var traces: String
    @Flag(help: "Print one JSON object per figure and line.") var json = false
    @Option(help: "Runs of each policy with other hashes; the figures are medians.") var seeds = 1
    @Option(help: "Only traces whose names begin so.") var only = ""

    func validate() throws {
        guard seeds >= 1 else { throw ValidationError("--seeds must be positive") }
    }

    func run() throws {
        var rows: [HitRatioRow] = []
        var loaded: (name: String, trace: Trace)?
        for cell in HitRatioReference.cells where cell.trace.hasPrefix(only) {
            if loaded?.name != cell.trace {
                loaded = (cell.trace, try Trace(URL(fileURLWithPath: traces).appendingPathComponent("\(cell.trace).bin.zst")))
                Report.progress("\(cell.trace): \(loaded?.trace.requests.count ?? 0) requests")
            }
            guard let trace = loaded?.trace else { continue }
            rows.append(HitRatioRow(cell, trace, seeds: seeds))
        }
        if json { writeLines(rows) } else { writeTable(rows) }
    }

    private func writeLines(_ rows: [HitRatioRow]) {
        var measurements = Measurements()
        for row in rows {
            for policy in PolicySimulation.Policy.allCases {
                let metric = "hit-ratio.\(row.cell.trace).\(row.cell.capacity).\(policy.rawValue)"
                for value in row.percent[policy] ?? [] {
                    measurements.add(metric, value, "%", peer: ("prototype", row.cell.percent(policy)))
                }
            }
        }
        for policy in PolicySimulation.Policy.allCases where only.isEmpty {
            let reference = rows.map { $0.cell.percent(policy) }.reduce(0, +) / Double(rows.count)
            for seed in 0..<seeds {
                let mean = rows.map { $0.percent[policy]?[seed] ?? 0 }.reduce(0, +) / Double(rows.count)
                measurements.add("hit-ratio.mean.\(policy.rawValue)", mean, "%", peer: ("prototype", reference))
            }
        }
        Report.write(measurements, asJSON: true)
    }

    private func writeTable(_ rows: [HitRatioRow]) {
        let policies = PolicySimulation.Policy.allCases
        func line(_ name: String, _ cells: [String]) {
            print(
                name.padding(toLength: 30, withPad: " ", startingAt: 0)
                    + cells.map { String(repeating: " ", count: 17 - $0.count) + $0 }.joined())
        }
        func cell(_ value: Double, _ reference: Double) -> String { String(format: "%.2f (%+.2f)", value, value - reference) }
        print("Hit ratio in % of requests; in brackets the difference from the prototype's.")
        line("trace, capacity", policies.map(\.title))
        for row in rows {
            line("\(row.cell.trace) \(row.cell.capacity)", policies.map { cell(row.percent[$0]?.median ?? 0, row.cell.percent($0)) })
        }
        let count = Double(max(1, rows.count))
        line(
            "mean of \(rows.count)",
            policies.map { policy in
                cell(
                    rows.map { $0.percent[policy]?.median ?? 0 }.reduce(0, +) / count,
                    rows.map { $0.cell.percent(policy) }.reduce(0, +) / count)
            })
    }
}

/// One trace at one capacity: a hit ratio per policy and seed.
private struct HitRatioRow {
    var cell: HitRatioReference.Cell
    var percent: [PolicySimulation.Policy: [Double]] = [:]

    init(_ cell: HitRatioReference.Cell, _ trace: Trace, seeds: Int) {
        self.cell = cell
        for policy in PolicySimulation.Policy.allCases {
            percent[policy] = (1...seeds).map { seed in
                // How many entries there will be is known when the capacity is a number of them.
                let simulation = PolicySimulation(
                    policy, capacity: cell.capacity, entriesExpected: cell.isInBytes ? 0 : cell.capacity, seed: UInt64(seed))
                var hits = 0
                for request in trace.requests where simulation.request(id: request.id, size: cell.isInBytes ? request.size : 1) {
                    hits += 1
                }
                return 100 * Double(hits) / Double(max(1, trace.requests.count))
            }
        }
    }
}

extension HitRatioReference.Cell {
    fileprivate func percent(_ policy: PolicySimulation.Policy) -> Double {
        switch policy {
        case .exactLRU, .lru: lru
        case .tinyLFU: tinyLFU
        case .s3fifo: s3fifo
        }
    }
}

extension PolicySimulation.Policy {
    fileprivate var title: String {
        switch self {
        case .exactLRU: "exact LRU"
        case .lru: "LRU by era"
        case .tinyLFU: "W-TinyLFU"
        case .s3fifo: "S3-FIFO"
        }
    }
}

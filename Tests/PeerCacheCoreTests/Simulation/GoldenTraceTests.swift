import Foundation
import PeerCacheTesting
import Testing

/// The traces of 64 random scenarios, on every machine and compiler the same. A changed rule changes them: say why in the commit.
///
/// `PEERCACHE_GOLDEN=write swift test --filter GoldenTraceTests` writes the file of hashes anew.
@Suite struct GoldenTraceTests {
    private static let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("GoldenTraces.swift")

    private func trace(_ seed: UInt64) -> UInt64 {
        let cluster = SimulatedCluster(.random(seed: seed), seed: seed)
        _ = cluster.run()
        return cluster.trace
    }

    @Test func tracesAreThoseOfTheFile() throws {
        let seeds = Seeds.chosen(1...64), traces = seeds.map(trace)
        if ProcessInfo.processInfo.environment["PEERCACHE_GOLDEN"] == "write", seeds.count == 64 {
            let lines = traces.map { "    0x" + String($0, radix: 16) + "," }
            let text = "/// Written by `GoldenTraceTests`: the trace of seed 1, 2 …\nlet goldenTraces: [UInt64] = [\n"
            return try (text + lines.joined(separator: "\n") + "\n]\n").write(to: Self.file, atomically: true, encoding: .utf8)
        }
        for (seed, trace) in zip(seeds, traces) where seed >= 1 && seed <= goldenTraces.count {
            #expect(trace == goldenTraces[Int(seed) - 1], "PEERCACHE_SEED=\(seed)")
        }
    }
}

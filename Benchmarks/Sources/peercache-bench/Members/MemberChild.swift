import Foundation
import Synchronization

/// One member in a process of its own, ours or another system's, that prints who comes and goes.
final class MemberChild {
    private struct Line: Decodable, Sendable {
        var time: Double
        var kind: String
        var peer: String
        var detail: String
    }
    private final class Lines: Sendable {
        let all = Mutex<[Line]>([])
    }

    /// As the others call it.
    let name: String
    let address: String
    private let process: ChildProcess
    private let lines = Lines()

    /// Waits until the process listens.
    init(_ process: ChildProcess) throws {
        self.process = process
        var listens: Line?
        while listens == nil {
            let line = try JSONDecoder().decode(Line.self, from: Data(process.readLine().utf8))
            if line.kind == "listens" { listens = line }
        }
        name = listens?.peer ?? ""
        address = listens?.detail ?? ""
        process.forEachLine { [lines] text in
            guard let line = try? JSONDecoder().decode(Line.self, from: Data(text.utf8)) else { return }
            lines.all.withLock { $0.append(line) }
        }
    }

    static func ours(_ name: String, seeds: [String]) throws -> MemberChild {
        try MemberChild(ChildProcess.another(["member"] + seeds.flatMap { ["--seed", $0] }))
    }

    /// How many of these have joined.
    func known(_ children: [MemberChild]) -> Int {
        let names = Set(children.map(\.name)).subtracting([name])
        return lines.all.withLock { lines in Set(lines.filter { $0.kind == "joined" && names.contains($0.peer) }.map(\.peer)).count }
    }

    /// Seconds since 1970.
    func timeOfDeath(of peer: String) -> Double? {
        lines.all.withLock { lines in lines.first { $0.kind == "dead" && $0.peer == peer }?.time }
    }

    func kill() { process.kill() }
}

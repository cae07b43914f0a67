import Foundation

/// Notices whether other programs disturbed a measurement, and repeats it then.
struct Quiet {
    /// Cores that others may use meanwhile.
    static let othersMax = 0.1

    /// What others used during the measurements that counted, in cores.
    private(set) var others: [Double] = []

    /// The result of `body`, of its quietest run if all were disturbed.
    /// - Parameter process: does the work, besides this process.
    mutating func measure<Result>(
        process: Int32? = nil, attempts: Int = 4, _ body: () async throws -> Result
    ) async rethrows -> Result {
        var best: (result: Result, others: Double)?
        for _ in 0..<attempts {
            let before = CPUTime(process)
            let result = try await body()
            let others = before.others(until: CPUTime(process))
            if others < best?.others ?? .infinity || best == nil { best = (result, others) }
            if others <= Self.othersMax { break }
        }
        guard let best else { return try await body() }
        others.append(best.others)
        return best.result
    }

    /// How disturbed the run was: to be printed with the figures.
    func report(into measurements: inout Measurements) {
        for share in others { measurements.add("machine.others", share, "cores") }
    }
}

/// CPU time of everything and of the measured processes, in clock ticks.
private struct CPUTime {
    private var all = 0
    private var own = 0
    private let moment = DispatchTime.now().uptimeNanoseconds

    init(_ process: Int32?) {
        // user nice system idle iowait irq softirq steal guest guest_nice; guests are in user already.
        let line = Self.text("/proc/stat").prefix { $0 != "\n" }
        let times = line.split(separator: " ").dropFirst().prefix(8).map { Int($0) ?? 0 }
        for (index, time) in times.enumerated() where index != 3 && index != 4 { all += time }
        own = Self.used("self")
        if let process { own += Self.used("\(process)") }
    }

    /// Cores that other processes used since.
    func others(until end: CPUTime) -> Double {
        let seconds = Double(max(1, end.moment - moment)) / 1e9
        return max(0, Double((end.all - all) - (end.own - own)) / Double(sysconf(Int32(_SC_CLK_TCK))) / seconds)
    }

    private static func used(_ process: String) -> Int {
        // The name, in parentheses, may contain anything.
        let fields = text("/proc/\(process)/stat").split(separator: ")").last?.split(separator: " ") ?? []
        return fields.count > 12 ? (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0) : 0
    }

    private static func text(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }
}

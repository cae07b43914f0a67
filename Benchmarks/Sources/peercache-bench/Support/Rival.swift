import ArgumentParser

/// Another system under the same callers.
protocol Rival: AnyObject {
    /// What does the same; nil: it cannot.
    func name(of operation: RpcLoad.Operation) -> String?
    /// Repeats it on random keys. After removals the keys are filled again. Blocks.
    func run(_ operation: RpcLoad.Operation, callers: Int, seconds: Double) throws -> LoadResult
    func stop()
}

extension Rival {
    /// Name and result, of what it can do.
    func result(_ operation: RpcLoad.Operation, callers: Int, seconds: Double) throws -> RivalResult? {
        try name(of: operation).map { RivalResult(name: $0, load: try run(operation, callers: callers, seconds: seconds)) }
    }
}

struct RivalResult {
    var name: String
    var load: LoadResult
}

extension Measurements {
    /// Throughput and percentiles of one run, next to each rival's.
    mutating func add(_ name: String, _ ours: LoadResult, against rivals: [RivalResult]) {
        let figures: [(String, KeyPath<LoadResult, Double>, String)] = [
            ("throughput", \.throughput, "1/s"), ("p50", \.p50, "µs"), ("p95", \.p95, "µs"), ("p99", \.p99, "µs"),
        ]
        for (figure, path, unit) in figures { add("\(name).\(figure)", ours[keyPath: path], unit, against: rivals) { $0[keyPath: path] } }
    }

    /// One figure, next to each rival's.
    mutating func add(_ metric: String, _ value: Double, _ unit: String, against rivals: [RivalResult], _ figure: (LoadResult) -> Double) {
        if rivals.isEmpty { add(metric, value, unit) }
        for rival in rivals { add(metric, value, unit, peer: (rival.name, figure(rival.load))) }
    }
}

/// The numbers of a list in an option.
func positiveNumbers(_ text: String, _ option: String) throws -> [Int] {
    try list(text, option) { Int($0).flatMap { $0 > 0 ? $0 : nil } }
}

/// The elements of a list in an option, separated by commas.
func list<Element>(_ text: String, _ option: String, _ element: (String) -> Element?) throws -> [Element] {
    try text.split(separator: ",").map {
        guard let element = element(String($0)) else { throw ValidationError("\(option): \"\($0)\" is not allowed") }
        return element
    }
}

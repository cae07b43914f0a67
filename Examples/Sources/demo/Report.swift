import Synchronization

/// What one check found.
struct CheckResult: Encodable, Sendable {
    /// Letter of the check.
    var check: String
    var name: String
    var passed: Bool
    /// The figures in words, or why the check could not be made.
    var detail: String
    /// The same figures to read by machine; the unit ends the name.
    var figures: [String: Double]
}

/// The checks of a run, in order, as far as they have been made.
final class Report: Sendable {
    private let screen: Screen
    private let results = Mutex<[CheckResult]>([])

    init(screen: Screen) {
        self.screen = screen
    }

    func add(_ result: CheckResult) {
        results.withLock { $0.append(result) }
        screen.say(Self.line(result))
    }

    /// Marks every check that has no result as failed.
    func complete(_ checks: [any Check], why: String) {
        let made = Set(results.withLock { $0.map(\.check) })
        for check in checks where !made.contains(check.letter) {
            add(CheckResult(check: check.letter, name: check.name, passed: false, detail: why, figures: [:]))
        }
    }

    var hasFailures: Bool { results.withLock { $0.contains { !$0.passed } } }

    /// Prints the summary, or with `json` one object per check.
    func finish(json: Bool) {
        let results = results.withLock { $0 }
        if json {
            for result in results { screen.print(object: result) }
            return
        }
        let failed = results.filter { !$0.passed }.count
        screen.say("")
        screen.say("Summary: \(results.count - failed) of \(results.count) checks passed")
        for result in results { screen.say(Self.line(result)) }
    }

    private static func line(_ result: CheckResult) -> String {
        "\(result.passed ? "passed" : "FAILED") (\(result.check)) \(result.name): \(result.detail)"
    }
}

import Foundation

/// The seeds of a randomised test: all of a range, or the one that `PEERCACHE_SEED` names.
enum Seeds {
    static func chosen(_ seeds: ClosedRange<UInt64>) -> [UInt64] {
        if let text = ProcessInfo.processInfo.environment["PEERCACHE_SEED"], let seed = UInt64(text) { return [seed] }
        return Array(seeds)
    }
}

import Foundation

/// Seeds of randomised tests.
package enum Seeds {
    /// The given seeds, or `PEERCACHE_SEED` alone when it is set: what a failed run printed runs again.
    package static func chosen(_ seeds: some Sequence<UInt64>) -> [UInt64] {
        ProcessInfo.processInfo.environment["PEERCACHE_SEED"].flatMap { UInt64($0) }.map { [$0] } ?? Array(seeds)
    }
}

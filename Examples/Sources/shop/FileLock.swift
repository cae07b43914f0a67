import Foundation

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A lock between processes. The kernel releases it when its holder dies.
enum FileLock {
    struct TimedOut: Error, CustomStringConvertible {
        let path: String
        let timeout: Duration
        var description: String { "\(path) is still locked by another process after \(timeout)" }
    }

    /// Runs `body` while this process alone holds the lock file, which is created when missing and stays.
    static func with<Result>(path: String, timeout: Duration, _ body: () async throws -> Result) async throws -> Result {
        let descriptor = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw CocoaError(.fileWriteUnknown, userInfo: [NSFilePathErrorKey: path]) }
        defer { close(descriptor) }
        let deadline = ContinuousClock.now + timeout
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard ContinuousClock.now < deadline else { throw TimedOut(path: path, timeout: timeout) }
            try await Task.sleep(for: .milliseconds(20))
        }
        return try await body()
    }
}

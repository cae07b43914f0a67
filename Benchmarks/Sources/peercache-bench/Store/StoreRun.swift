import ArgumentParser
import Foundation
import PeerCacheBenchSupport

/// One byte store and what its threads need. `@unchecked Sendable` is safe: each thread uses its own element of `threads`.
final class StoreRun: @unchecked Sendable {
    let policy: StoreSubject.Policy
    private let store: StoreSubject
    private let workload: Workload
    private let keys: [KeyBytes]
    private let value: [UInt8]
    private let buffers: [UnsafeMutableRawBufferPointer]

    /// - Parameter keys: other keys than the workload's, by number.
    init(_ policy: StoreSubject.Policy, limit: Int, _ workload: Workload, valueBytes: Int, keys: [[UInt8]]? = nil) throws {
        self.policy = policy
        self.workload = workload
        store = try StoreSubject(limit: limit, policy: policy)
        self.keys = workload.threads.map { _ in
            keys.map { KeyBytes($0, count: workload.keyCount) } ?? KeyBytes(count: workload.keyCount)
        }
        value = Workload.value(bytes: valueBytes)
        buffers = workload.threads.map { _ in .allocate(byteCount: max(256, valueBytes), alignment: 128) }
    }

    deinit { for buffer in buffers { buffer.deallocate() } }

    var evictions: Int { store.usage.evictions }

    /// Writes every key once.
    func fill(mayEvict: Bool = false) throws {
        let failures = Array(0..<UInt32(workload.keyCount)).withUnsafeBufferPointer { numbers in
            value.withUnsafeBytes { store.set(numbers, of: keys[0].all, value: $0, milliseconds: Clock.milliseconds) }
        }
        guard failures == 0, mayEvict || store.usage.entries == workload.keyCount else {
            throw ValidationError("the store did not keep all keys")
        }
    }

    func get(work thread: Int) -> (operations: Int, misses: Int) {
        let milliseconds = Clock.milliseconds
        return workload.threads[thread].next { numbers in
            (numbers.count, store.copy(numbers, of: keys[thread].all, into: buffers[thread], milliseconds: milliseconds))
        }
    }

    func set(work thread: Int) -> (operations: Int, misses: Int) {
        let milliseconds = Clock.milliseconds
        return workload.threads[thread].next { numbers in
            value.withUnsafeBytes { (numbers.count, store.set(numbers, of: keys[thread].all, value: $0, milliseconds: milliseconds)) }
        }
    }
}

extension StoreSubject.Policy {
    /// Names separated by commas.
    static func list(_ text: String) throws -> [StoreSubject.Policy] {
        try text.split(separator: ",").map {
            guard let policy = StoreSubject.Policy(rawValue: String($0)) else {
                throw ValidationError("--policies: \"\($0)\" is not among \(allCases.map(\.rawValue))")
            }
            return policy
        }
    }
}

import Logging
import PeerCache
import ServiceLifecycle
import Testing

/// What a test waits for did not happen in time.
struct NotInTime: Error, CustomStringConvertible {
    let description: String
}

/// Polls until the condition holds, for at most `seconds`. The condition is the assertion; the time is only a bound.
func eventually(_ what: String, seconds: Int = 20, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(5))
    }
    throw NotInTime(description: "\(what): not within \(seconds) s")
}

/// Several peers in this process, on loopback ports that the kernel chose, joined to one cluster. All end before `body`'s caller goes on.
func withCluster<Result: Sendable>(
    of count: Int, configure: @escaping (inout CachePeerConfiguration) -> Void = { _ in },
    _ body: ([CachePeer]) async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Void.self) { group in
        var peers: [CachePeer] = []
        defer { group.cancelAll() }
        for _ in 0..<count {
            let peer = try CachePeer(configuration: testConfiguration(seeds: peers.first?.address.map { [$0] } ?? [], configure))
            group.addTask { try await peer.run() }
            try await eventually("peer listens") { peer.address != nil }
            peers.append(peer)
        }
        let started = peers
        try await eventually("all peers agree on \(count) members") {
            started.allSatisfy { $0.snapshot().memberCount == count && $0.readiness.isReady }
                && Set(started.map { $0.snapshot().placementDigest }).count == 1
        }
        return try await body(peers)
    }
}

/// Runs a peer until `body` ends, then shuts it down gracefully and waits for that.
func gracefully(_ peer: CachePeer, _ body: () async throws -> Void) async throws {
    let services = ServiceGroup(services: [peer], logger: testConfiguration().logger)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await services.run() }
        do { try await body() } catch {
            group.cancelAll()
            throw error
        }
        await services.triggerGracefulShutdown()
        try await group.waitForAll()
    }
}

func testConfiguration(
    seeds: [String] = [], cluster: String = "test", _ configure: (inout CachePeerConfiguration) -> Void = { _ in }
) -> CachePeerConfiguration {
    var configuration = CachePeerConfiguration(cluster: cluster)
    configuration.bind = .init(host: "127.0.0.1", port: 0)
    configuration.discovery = seeds.isEmpty ? .none : .peers(seeds)
    configuration.security = .sharedSecret("a secret of the tests, long enough")
    configuration.memory = .megabytes(16)
    configuration.leaveGrace = .milliseconds(20)
    configuration.logger.logLevel = .error
    configure(&configuration)
    return configuration
}

extension Cache where Value: Equatable {
    /// Reads a key and compares.
    func expect(_ key: Key, _ value: Value?, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let found = try await get(key)
        #expect(found == value, "key \(key)", sourceLocation: sourceLocation)
    }
}

/// Expects a `PeerCacheError` of this code, and returns it.
@discardableResult
func expectError(
    _ code: PeerCacheError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async throws -> PeerCacheError? {
    do {
        try await body()
        Issue.record("no error, expected \(code)", sourceLocation: sourceLocation)
    } catch let error as PeerCacheError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        return error
    }
    return nil
}

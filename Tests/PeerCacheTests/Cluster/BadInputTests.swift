import PeerCacheCore
import Logging
import NIOCore
import Testing

@testable import PeerCache

/// What users get wrong gets a clear error, and nothing is lost.
@Suite(.timeLimit(.minutes(2))) struct BadInputTests {
    @Test func keysHaveABound() async throws {
        try await withCluster(of: 2) { peers in
            let caches = peers.map { $0.cache("c", key: String.self, value: String.self) }
            let longest = String(repeating: "k", count: 1024)
            try await caches[0].set(longest, "v")
            try await caches[1].expect(longest, "v")
            let error = try await expectError(.keyTooLong) { try await caches[0].set(longest + "k", "v") }
            #expect(error?.message.contains("1025 bytes") == true)
            try await expectError(.keyTooLong) { _ = try await caches[1].get(longest + "k") }
            try await expectError(.keyTooLong) { _ = try await caches[1].getMany([longest + "k"]) }
            try await expectError(.keyTooLong) { try await caches[1].remove(longest + "k") }
        }
    }

    @Test func aPortInUseIsNamedWithTheSystemsError() async throws {
        try await withCluster(of: 1) { peers in
            let address = try #require(peers[0].address)
            let port = try #require(Int(address.split(separator: ":").last ?? ""))
            let second = try CachePeer(configuration: testConfiguration { $0.bind.port = port })
            let error = try await expectError(.addressUnavailable) { try await second.run() }
            #expect(error?.message.contains(address) == true)
            #expect("\(error.map { "\($0)" } ?? "")".contains("ddress already in use"))
        }
    }

    @Test func anotherSecretOrClusterIsRefusedAndGoesOnAlone() async throws {
        try await withCluster(of: 2) { peers in
            let address = try #require(peers[0].address)
            let wrongSecret = testConfiguration(seeds: [address]) { $0.security = .sharedSecret("not the secret of the others") }
            let wrongCluster = testConfiguration(seeds: [address], cluster: "another")
            let wrongHashKey = testConfiguration(seeds: [address]) { $0.hashKey = [UInt8](repeating: 7, count: 16) }
            let insecure = testConfiguration(seeds: [address]) { $0.security = .insecure }
            for (wrong, advice) in [
                (wrongSecret, "compare `security`"), (wrongCluster, "compare `cluster`"), (wrongHashKey, "compare `hashKey`"),
                (insecure, "compare `security`"),
            ] {
                let log = RecordedLog()
                var configuration = wrong
                configuration.logger = log.logger
                try await runAlone(configuration) { stranger in
                    try await eventually("the refusal is logged") { log.lines.contains { $0.contains(advice) } }
                    let cache = stranger.cache("c", key: Int.self, value: String.self) { "row \($0)" }
                    try await cache.expect(1, "row 1")
                    #expect(stranger.snapshot().memberCount == 1)
                    #expect(log.lines.filter { $0.contains(advice) }.count == 1)  // not once per attempt
                    let reasons = stranger.readiness.reasons.joined()
                    #expect(reasons.isEmpty == advice.contains("hashKey"), "\(reasons)")
                    #expect(reasons.contains(address) == reasons.contains(advice), "\(reasons)")
                    stranger.core.warnIfAlone()
                    #expect(log.lines.contains { $0.contains("warning no other peer was found") && $0.contains(address) })
                }
            }
            #expect(peers.allSatisfy { $0.snapshot().memberCount == 2 })
        }
    }

    @Test func aNameThatDoesNotExistIsLogged() async throws {
        let log = RecordedLog()
        let configuration = testConfiguration {
            $0.discovery = .dns("no.such.host.invalid", port: 7600)
            $0.logger = log.logger
        }
        try await runAlone(configuration) { peer in
            try await eventually("the failure is logged") { log.lines.contains { $0.contains("`discovery` found no addresses") } }
            peer.core.warnIfAlone()
            #expect(log.lines.contains { $0.contains("warning no other peer was found") && $0.contains("no.such.host.invalid") })
        }
    }

    @Test func theSameNameWithOtherTypesIsIncompatible() async throws {
        try await withCluster(of: 2) { peers in
            let texts = peers[0].cache("c", key: Int.self, value: String.self)
            let here = peers[0].cache("c", key: Int.self, value: Int.self)
            let there = peers[1].cache("c", key: Int.self, value: Int.self)
            for id in 0..<50 { try? await texts.set(id, "text") }
            try await expectError(.incompatibleCache) { _ = try await here.get(1) }
            var refused = 0
            for id in 0..<50 {
                do { #expect(try await value(there, id) == nil) } catch let error as PeerCacheError {
                    #expect(error.code == .incompatibleCache)
                    refused += 1
                }
                #expect(there.peek(id) == nil)
            }
            #expect(refused > 0)
        }
    }

    private func value(_ cache: Cache<Int, Int>, _ id: Int) async throws -> Int? { try await cache.get(id) }

    @Test func aStoredValueThatCannotBeDecodedIsLoadedAgain() async throws {
        struct Broken: Error {}
        let isBroken = Lock(true)
        let loads = Lock(0)
        let codec = ValueCodec<String>(
            name: "fragile", encode: { ByteBuffer(string: $0) },
            decode: { buffer in
                if isBroken.withLock({ $0 }) && buffer.readableBytes == 3 { throw Broken() }
                return String(buffer: buffer)
            })
        try await withCluster(of: 2) { peers in
            let caches = peers.map { peer in
                peer.cache("c", key: Int.self, value: String.self, codec: codec, options: .init(nearFor: .zero)) { id in
                    loads.withLock { $0 += 1 }
                    return "loaded \(id)"
                }
            }
            for id in 0..<20 { try await caches[0].set(id, "bad") }
            for id in 0..<20 { try await caches[id % 2].expect(id, "loaded \(id)") }
            for id in 0..<20 { try await caches[(id + 1) % 2].expect(id, "loaded \(id)") }
            #expect(loads.withLock { $0 } == 20)
        }
    }

    @Test func aLoadersErrorReachesEverybodyAndIsNotRepeated() async throws {
        struct NoDatabase: Error {}
        let loads = Lock(0)
        try await withCluster(of: 2) { peers in
            let caches = peers.map { peer in
                peer.cache("c", key: Int.self, value: String.self) { (_: Int) -> String? in
                    loads.withLock { $0 += 1 }
                    throw NoDatabase()
                }
            }
            var local = 0, remote = 0
            for id in 0..<20 {
                do {
                    _ = try await caches[0].get(id)
                    Issue.record("no error")
                } catch is NoDatabase { local += 1 } catch let error as PeerCacheError {
                    #expect(error.code == .loadFailed && error.message.contains("NoDatabase"))
                    remote += 1
                }
            }
            #expect(local > 0 && remote > 0)
            #expect(loads.withLock { $0 } == 20)
        }
    }

    /// The loader's own, as of a query that was cancelled. It is no time that was up, and the caller has not been cancelled.
    @Test func aLoadersCancellationIsAnErrorLikeOthers() async throws {
        try await withCluster(of: 2) { peers in
            let caches = peers.map { $0.cache("c", key: Int.self, value: String.self) { (_: Int) -> String? in throw CancellationError() } }
            var local = 0, remote = 0
            for id in 0..<20 {
                do {
                    _ = try await caches[0].get(id)
                    Issue.record("no error")
                } catch is CancellationError { local += 1 } catch let error as PeerCacheError {
                    #expect(error.code == .loadFailed && error.message.contains("CancellationError"))
                    remote += 1
                }
            }
            #expect(local > 0 && remote > 0)
        }
    }

    @Test(arguments: [1 << 20, 8 << 20]) func aLoadedValueThatIsTooLargeIsLogged(valueBytesMax: Int) async throws {
        let log = RecordedLog(), size = 3 << 20
        let configuration = testConfiguration {
            $0.limits.valueBytesMax = valueBytesMax
            $0.logger = log.logger
        }
        // With 16 MB an eighth of the store is 1.5 MB.
        let advice = valueBytesMax < 1_500_000 ? "raise `limits.valueBytesMax`" : "raise `memory`"
        try await runAlone(configuration) { peer in
            let cache = peer.cache("pages", key: Int.self, value: [UInt8].self) { _ in [UInt8](repeating: 7, count: size) }
            for _ in 0..<3 { #expect(try await cache.get(1)?.count == size) }
            #expect(log.lines.filter { $0.contains("warning") && $0.contains("pages") && $0.contains(advice) }.count == 1)
            #expect(cache.core.counters.value(.valuesTooLarge) == 3)
            let error = try await expectError(.valueTooLarge) { try await cache.set(1, [UInt8](repeating: 7, count: size)) }
            #expect(error?.message.contains(advice) == true)
        }
    }

    @Test func aForgottenRunFailsWithACode() async throws {
        let peer = try CachePeer(configuration: testConfiguration { $0.requestTimeout = .milliseconds(20) })
        let cache = peer.cache("c", key: Int.self, value: String.self) { "row \($0)" }
        try await expectError(.notRunning) { _ = try await cache.get(1) }
        #expect(cache.peek(1) == nil)
    }

    @Test func ttlsOfAnyLengthAreTaken() async throws {
        try await withCluster(of: 2) { peers in
            let caches = peers.map { $0.cache("c", key: Int.self, value: String.self) }
            let ttls: [Duration] = [.zero, .seconds(-5), .seconds(Int64.min), .nanoseconds(1)]
            for (id, ttl) in ttls.enumerated() {
                try await caches[0].set(id, "old")
                try await caches[id % 2].set(id, "new", ttl: ttl)
                for cache in caches { try await cache.expect(id, nil) }
            }
            try await caches[1].set(9, "long", ttl: .seconds(Int64.max))
            for cache in caches { try await cache.expect(9, "long") }
        }
    }
}

/// Runs one peer while `body` runs.
func runAlone(_ configuration: CachePeerConfiguration, _ body: (CachePeer) async throws -> Void) async throws {
    let peer = try CachePeer(configuration: configuration)
    try await withThrowingTaskGroup(of: Void.self) { group in
        defer { group.cancelAll() }
        group.addTask { try await peer.run() }
        try await eventually("peer listens") { peer.address != nil }
        try await body(peer)
    }
}

/// Keeps what is logged.
final class RecordedLog: Sendable {
    private let recorded = Lock<[String]>([])

    var lines: [String] { recorded.withLock { $0 } }

    var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

    private struct Handler: LogHandler {
        let log: RecordedLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            log.recorded.withLock { $0.append("\(event.level) \(event.message) \(event.metadata ?? [:])") }
        }
    }
}

import PeerCache
import Testing

/// Every impossible configuration throws with the property, its value and what to write instead.
@Suite struct ConfigurationTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let property: String
        let value: String
        let change: @Sendable (inout CachePeerConfiguration) -> Void

        var testDescription: String { "\(property) \(value)" }
    }

    static let impossible: [Case] = [
        Case(property: "cluster", value: "0 bytes") { $0.cluster = "" },
        Case(property: "cluster", value: "129 bytes") { $0.cluster = String(repeating: "x", count: 129) },
        Case(property: "bind.host", value: "empty") { $0.bind.host = "" },
        Case(property: "bind.host", value: "[::1]") { $0.bind.host = "[::1]" },
        Case(property: "bind.host", value: "127.0.0.1:7600") { $0.bind.host = "127.0.0.1:7600" },
        Case(property: "advertise.host", value: "pod 1") { $0.advertise = .init(host: "pod 1", port: 0) },
        Case(property: "bind.port", value: "65536") { $0.bind.port = 65_536 },
        Case(property: "bind.port", value: "-1") { $0.bind.port = -1 },
        Case(property: "advertise.port", value: "70000") { $0.advertise = .init(host: "10.0.0.1", port: 70_000) },
        Case(property: "memory", value: "1048576 bytes") { $0.memory = .megabytes(1) },
        Case(property: "memory", value: "-") { $0.memory = .gigabytes(.min) },
        Case(property: "limits.valueBytesMax", value: "0") { $0.limits.valueBytesMax = 0 },
        Case(property: "limits.requestsPerPeerMax", value: "0") { $0.limits.requestsPerPeerMax = 0 },
        Case(property: "limits.loadsMax", value: "-5") { $0.limits.loadsMax = -5 },
        Case(property: "identity.weight", value: "1001") { $0.identity.weight = 1001 },
        Case(property: "identity.zone", value: "65 bytes") { $0.identity.zone = String(repeating: "z", count: 65) },
        Case(property: "requestTimeout", value: "0.0 seconds") { $0.requestTimeout = .zero },
        Case(property: "leaveGrace", value: "301") { $0.leaveGrace = .seconds(301) },
        Case(property: "discovery", value: "10.0.0.1") { $0.discovery = .peers(["10.0.0.1"]) },
        Case(property: "discovery", value: " 10.0.0.2:7600") { $0.discovery = .peers(["10.0.0.1:7600", " 10.0.0.2:7600"]) },
        Case(property: "discovery", value: "::1:7600") { $0.discovery = .peers(["::1:7600"]) },
        Case(property: "discovery", value: "service: \"\"") { $0.discovery = .dns(service: "") },
        Case(property: "discovery", value: "port: 0") { $0.discovery = .dns("cache.local", port: 0) },
        Case(property: "discovery", value: "cache.local:7600") { $0.discovery = .dns("cache.local:7600", port: 7600) },
        Case(property: "security", value: "0.0.0.0") {
            $0.security = nil
            $0.bind.host = "0.0.0.0"
        },
        Case(property: "security", value: "5 bytes") { $0.security = .sharedSecret("short") },
        Case(property: "hashKey", value: "3 bytes") { $0.hashKey = [1, 2, 3] },
        Case(property: "hashKey", value: "not set") {
            $0.security = .sharedSecret("the first secret, long enough", accepting: ["another secret, long enough"])
        },
    ]

    @Test(arguments: impossible) func impossibleSettingsThrow(_ test: Case) throws {
        let configuration = testConfiguration { test.change(&$0) }
        let error = #expect(throws: PeerCacheError.self) { try CachePeer(configuration: configuration) }
        #expect(error?.code == .invalidConfiguration)
        let message = error?.message ?? ""
        #expect(message.contains(test.property) && message.contains(test.value), "\(message)")
        // SEC4: no message shows a secret.
        #expect(!message.contains("long enough") && !message.contains("short"))
    }

    static let impossibleOptions: [(String, CacheOptions)] = [
        ("copies is 0", CacheOptions(copies: 0)),
        ("copies is 8", CacheOptions(copies: 8)),
        ("memoryMax is 5 bytes", CacheOptions(memoryMax: .bytes(5))),
        ("readFrom is 3", CacheOptions(copies: 2, readFrom: 3)),
        ("ackedBy is 3", CacheOptions(copies: 2, ackedBy: 3)),
        ("ackedBy is 0", CacheOptions(copies: 2, ackedBy: 0)),
        ("minimumPeers is nil", CacheOptions(copies: 3, readFrom: 2, ackedBy: 2)),
        ("readFrom is 2", CacheOptions(copies: 3, readFrom: 2, ackedBy: 1)),
        ("nearFor is", CacheOptions(nearFor: .seconds(-1))),
        ("loadTimeout is", CacheOptions(loadTimeout: .zero)),
    ]

    @Test(arguments: impossibleOptions) func impossibleOptionsThrowAtTheStartAndAtEachUse(_ message: String, _ options: CacheOptions)
        async throws
    {
        let peer = try CachePeer(configuration: testConfiguration())
        let cache = peer.cache("c", key: Int.self, value: String.self, options: options)
        let atUse = try await expectError(.invalidConfiguration) { _ = try await cache.get(1) }
        #expect(atUse?.message.contains(message) == true, "\(atUse?.message ?? "")")
        try await expectError(.invalidConfiguration) { try await peer.run() }
    }

    /// Two of two, for example: one peer lost for good would keep its keys silent for ever.
    @Test func strictCachesThatBearNoLossNeedAReset() async throws {
        let options = CacheOptions(copies: 2, ackedBy: 2)
        let without = try CachePeer(configuration: testConfiguration { $0.minimumPeers = 2 })
        let cache = without.cache("c", key: Int.self, value: String.self, options: options)
        let error = try await expectError(.invalidConfiguration) { try await cache.set(1, "x") }
        #expect(error?.message.contains("strictResetAfter is nil") == true)
        let with = try CachePeer(
            configuration: testConfiguration {
                ($0.minimumPeers, $0.strictResetAfter, $0.requestTimeout) = (2, .seconds(5), .milliseconds(50))
            })
        try await expectError(.notRunning) {
            try await with.cache("c", key: Int.self, value: String.self, options: options).set(1, "x")
        }
    }

    @Test func aCacheNameHasBounds() async throws {
        let peer = try CachePeer(configuration: testConfiguration())
        for name in ["", String(repeating: "n", count: 129)] {
            let cache = peer.cache(name, key: Int.self, value: String.self)
            try await expectError(.invalidConfiguration) { try await cache.set(1, "x") }
        }
    }

    @Test func theDefaultsAreValid() throws {
        _ = try CachePeer(configuration: CachePeerConfiguration(cluster: "defaults"))
    }
}

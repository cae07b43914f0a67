// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "PeerCache",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "PeerCache", targets: ["PeerCache"]),
        .library(name: "PeerCacheTesting", targets: ["PeerCacheTesting"]),
        // Not API: the stores' internals, for the package in Benchmarks.
        .library(name: "PeerCacheBenchSupport", targets: ["PeerCacheBenchSupport"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-crypto.git", "3.12.0"..<"5.0.0"),
        .package(url: "https://github.com/apple/swift-collections.git", from: "1.1.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-metrics.git", from: "2.5.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.6.0"),
    ],
    targets: [
        // C libraries of the system. SwiftPM names the missing package when pkg-config does not find one.
        .systemLibrary(
            name: "CXXHash", pkgConfig: "libxxhash",
            providers: [.apt(["libxxhash-dev"]), .brew(["xxhash"])]),
        .systemLibrary(
            name: "CProtobufC", pkgConfig: "libprotobuf-c",
            providers: [.apt(["libprotobuf-c-dev"]), .brew(["protobuf-c"])]),

        // Generated from peer.proto, which names the command.
        .target(name: "CPeerWire", dependencies: ["CProtobufC"], exclude: ["peer.proto"]),

        // SRV records, which getaddrinfo does not know.
        .target(name: "CServiceRecords", linkerSettings: [.linkedLibrary("resolv")]),

        // A number for each thread, for lines that one thread alone writes.
        .target(name: "CThreadNumber"),

        // Pure cores: no NIO, no Foundation, no clock, no randomness.
        .target(name: "PeerCacheCore", dependencies: ["CPeerWire", "CProtobufC", "CXXHash"]),

        // Sockets: handshake, connections, the shell around the member list.
        .target(
            name: "PeerCacheTransport",
            dependencies: [
                "CServiceRecords", "PeerCacheCore",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
            ]),

        // The public API.
        .target(
            name: "PeerCache",
            dependencies: [
                "CThreadNumber", "PeerCacheCore", "PeerCacheTransport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOFoundationCompat", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]),

        // Clocks and seeded randomness for tests, ours and users'; the simulator of clusters.
        .target(name: "PeerCacheTesting", dependencies: ["PeerCacheCore"]),

        // Lets the package in Benchmarks drive what is `package` here.
        .target(name: "PeerCacheBenchSupport", dependencies: ["PeerCacheCore", "PeerCacheTesting"]),

        // Random messages and frames, for the tests of every layer and for fuzzing.
        .target(name: "WireSamples", dependencies: ["PeerCacheCore"], path: "Tests/WireSamples"),
        .testTarget(
            name: "PeerCacheCoreTests",
            dependencies: ["PeerCacheCore", "PeerCacheTesting", "WireSamples", "CPeerWire", "CProtobufC", "CAllocationCounter"]),
        // Counts allocations of a thread; replaces malloc in the test process.
        .target(name: "CAllocationCounter", path: "Tests/CAllocationCounter"),
        .testTarget(
            name: "PeerCacheTests",
            dependencies: [
                "PeerCache", "PeerCacheCore", "PeerCacheTransport", "PeerCacheTesting", "WireSamples", "CAllocationCounter",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]),
        // One peer in a process of its own, to be killed and stopped.
        .executableTarget(
            name: "peercache-member", dependencies: ["PeerCache", .product(name: "Logging", package: "swift-log")],
            path: "Tests/MemberProcess"),
        .testTarget(
            name: "PeerCacheProcessTests",
            dependencies: [
                "peercache-member", "PeerCache", "PeerCacheCore", "PeerCacheTesting", "WireSamples",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]),
        .testTarget(
            name: "PeerCacheTransportTests",
            dependencies: [
                "PeerCacheCore", "PeerCacheTransport", "PeerCacheTesting", "WireSamples",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ]),
    ],
    swiftLanguageModes: [.v6]
)

// `Tests/Fuzz/run` sets the variable; an ordinary build knows neither the target nor its flags. The C library of the system stays as it is.
if Context.environment["PEERCACHE_FUZZ"] == "1" {
    package.products.append(.library(name: "PeerCacheFuzz", type: .static, targets: ["PeerCacheFuzz"]))
    package.targets.append(
        .target(
            name: "PeerCacheFuzz",
            dependencies: [
                "PeerCacheCore", "PeerCacheTransport", "PeerCacheTesting", "WireSamples",
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            path: "Tests/Fuzz/Targets"))
    for target in package.targets {
        switch target.name {
        case "CPeerWire": target.cSettings = [.unsafeFlags(["-fsanitize=fuzzer-no-link,address"])]
        case "PeerCacheCore", "PeerCacheTransport", "PeerCacheFuzz":
            target.swiftSettings = (target.swiftSettings ?? []) + [.unsafeFlags(["-sanitize=fuzzer,address", "-parse-as-library"])]
        default: break
        }
    }
}

// One place, so that no target forgets one. `NonisolatedNonsendingByDefault` changes what an `async` function does: it stays on
// the caller's executor, which is what keeps a hit free of hops.
let features = ["ExistentialAny", "MemberImportVisibility", "InternalImportsByDefault", "NonisolatedNonsendingByDefault"]
for target in package.targets where target.type != .system && !target.name.hasPrefix("C") {
    target.swiftSettings = (target.swiftSettings ?? []) + features.map { .enableUpcomingFeature($0) }
    if Context.environment["PEERCACHE_CI"] != nil { target.swiftSettings?.append(.treatAllWarnings(as: .error)) }
}

// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "PeerCache",
    platforms: [.macOS(.v15)],
    products: [],
    dependencies: [
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2")
    ],
    targets: [
        // Debian's C libraries. SwiftPM names the missing package when pkg-config does not find one.
        .systemLibrary(
            name: "CXXHash", pkgConfig: "libxxhash",
            providers: [.apt(["libxxhash-dev"]), .brew(["xxhash"])]),

        // Pure cores: no NIO, no Foundation, no clock, no randomness.
        .target(name: "PeerCacheCore", dependencies: ["CXXHash"]),
        // Bytes between peers: the handshake as pure state machines.
        .target(
            name: "PeerCacheTransport",
            dependencies: ["PeerCacheCore", .product(name: "Crypto", package: "swift-crypto")]),
        // Clocks and seeded randomness for tests, ours and users'.
        .target(name: "PeerCacheTesting", dependencies: ["PeerCacheCore"]),

        .testTarget(name: "PeerCacheCoreTests", dependencies: ["PeerCacheCore", "PeerCacheTesting"]),
        .testTarget(
            name: "PeerCacheTransportTests",
            dependencies: ["PeerCacheTransport", "PeerCacheTesting", .product(name: "Crypto", package: "swift-crypto")]),
    ],
    swiftLanguageModes: [.v6]
)

// One place, so that no target forgets one. `NonisolatedNonsendingByDefault` changes what an `async` function does: it stays on
// the caller's executor, which is what keeps a hit free of hops.
let features = ["ExistentialAny", "MemberImportVisibility", "InternalImportsByDefault", "NonisolatedNonsendingByDefault"]
for target in package.targets where target.type != .system {
    target.swiftSettings = (target.swiftSettings ?? []) + features.map { .enableUpcomingFeature($0) }
}

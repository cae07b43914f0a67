import ArgumentParser
import Foundation
import NIOPosix
import PeerCache

/// The load of ``ClusterCommand`` on a cluster that runs elsewhere.
struct LoadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Puts a load of gets and sets on a running cluster, as an observer: a client that holds nothing.",
        discussion: """
            The cluster's peers must have registered a cache for it, of strings and byte buffers: \
            peer.cache("bench", key: String.self, value: ByteBuffer.self). Its keys are key:0000000000000 and so on; they are overwritten. \
            Without --no-fill all keys are set first. Nothing is loaded here: a key that the cluster neither has nor can load is absent.
            """)

    @Option(help: "A peer's address as host:port; several times for several. The others are found through it.") var target: [String] = []
    @Option(help: "The cluster's name.") var cluster: String
    @Option(help: "The cache's name.") var cache = "bench"
    @Option(help: "The cluster's shared secret; better in the environment variable \(BenchPeer.secretVariable). Neither: no security.")
    var secret: String?
    @Flag(help: "Do not set the keys first.") var noFill = false
    @OptionGroup var options: HarnessOptions

    /// How long a first answer may take.
    private static let patienceSeconds = 10

    func validate() throws {
        guard !target.isEmpty else { throw ValidationError("--target is missing: give the address of a peer as host:port") }
        for address in target {
            let port = address.split(separator: ":").last.flatMap { UInt16($0) }
            guard address.contains(":"), let port, port > 0 else {
                throw ValidationError("--target \(address) is not allowed: use host:port, an IPv6 address in brackets")
            }
        }
    }

    func run() async throws {
        Machine.write(asJSON: options.json)
        var settings = BenchPeer.Settings()
        (settings.cluster, settings.cache, settings.role, settings.seeds) = (cluster, cache, .observer, target)
        settings.secret = secret ?? ProcessInfo.processInfo.environment[BenchPeer.secretVariable]
        settings.memoryMegabytes = options.buffersMegabytes
        settings.options = CacheOptions(nearFor: options.near ? nil : .zero)
        let observer = try BenchPeer(settings, on: MultiThreadedEventLoopGroup(numberOfThreads: options.loops))
        let running = Task { try await observer.peer.run() }
        let outcome: Result<Void, any Error>
        do {
            try await reach(observer)
            outcome = .success(try await measure(observer))
        } catch { outcome = .failure(error) }
        running.cancel()
        _ = try? await running.value
        try outcome.get()
    }

    private func reach(_ observer: BenchPeer) async throws {
        do {
            try await waitUntil("", seconds: Self.patienceSeconds) {
                observer.peer.readiness.isReady && observer.peer.snapshot().memberCount > 0
            }
        } catch is ValidationError {
            throw ValidationError(
                "no peer of cluster \"\(cluster)\" answered at \(target.joined(separator: ", ")) within \(Self.patienceSeconds) s: "
                    + "are the address, --cluster and the secret right?")
        }
        try await Task.sleep(for: .seconds(1))  // until all peers are known
        // A get of a cache that the peers do not have finds nothing; a set says so.
        if options.readRatio < 1 || !noFill {
            do { try await observer.cache.set(Workload.key(0), options.value) } catch let error as PeerCacheError
                where error.code == .incompatibleCache
            { throw ValidationError("cache \"\(cache)\" cannot be used: \(error.message)") }
        }
        Report.progress("\(observer.peer.snapshot().memberCount) peers hold the keys; \(options.callers) callers")
    }

    private func measure(_ observer: BenchPeer) async throws {
        let load = try options.load([observer.cache])
        if !noFill { try await observer.cache.fill(load.keys, load.value) }
        if options.warmup > 0 { _ = await load.run(callers: options.callers, seconds: options.warmup, says: false) }
        let before = ReadShares([observer])
        let result = await load.run(callers: options.callers, seconds: options.seconds, says: true)
        var measurements = Measurements()
        measurements.add("load", result)
        ReadShares([observer]).add(since: before, "load", into: &measurements)
        Report.write(measurements, asJSON: options.json)
        if let failure = result.failure { Report.progress("\(result.failed) operations failed, one of them with: \(failure)") }
    }
}

internal import Logging
internal import NIOCore
internal import PeerCacheCore

/// Where the others are, and where they find this peer.
extension PeerTransport {
    /// Answers the machine's questions for addresses until cancelled.
    package func run() async {
        guard let discovery = configuration.discovery else { return }
        var hasFailed = false
        for await _ in resolutions {
            do {
                let found = try await withDeadline(configuration.discoveryMax, discovery)
                hasFailed = false
                membership?.handle(.discovered(found, failed: false))
            } catch {
                if Task.isCancelled { return }
                let resolution = error as? AddressResolutionError, found = resolution?.found ?? []
                // The first time of several in a row.
                configuration.logger.log(
                    level: hasFailed ? .debug : .warning,
                    found.isEmpty ? "`discovery` found no addresses" : "`discovery` did not find all addresses",
                    metadata: [LogKey.error.rawValue: "\(error)"])
                hasFailed = true
                membership?.handle(resolution?.isNameUnknown == true ? .nameUnknown : .discovered(found, failed: true))
            }
        }
    }

    /// Cancels what takes too long.
    private func withDeadline<Result: Sendable>(
        _ limit: Duration, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: limit)
                throw CancellationError()
            }
            defer { group.cancelAll() }
            guard let result = try await group.next() else { throw CancellationError() }
            return result
        }
    }

    /// `GOSSIP.md` §3: configured, else the address it listens at, else the one from which it reaches the others.
    func advertisedAddress(of listener: any Channel) async -> PeerAddress {
        let port = configuration.advertisedPort ?? UInt16(clamping: listener.localAddress?.port ?? 0)
        if let host = configuration.advertisedHost { return PeerAddress(host: host, port: port) }
        let bound = listener.localAddress?.ipAddress ?? configuration.bind.host
        guard bound == "0.0.0.0" || bound == "::" else { return PeerAddress(host: bound, port: port) }
        var seeds: [PeerAddress] = []
        if let discovery = configuration.discovery {
            do { seeds = try await withDeadline(configuration.discoveryMax, discovery) } catch {
                seeds = (error as? AddressResolutionError)?.found ?? []
            }
        }
        // 192.0.2.1 is reserved for documentation: the route to it is the default route.
        for seed in seeds.prefix(3) + [PeerAddress(host: "192.0.2.1", port: 9)] {
            if let host = await AddressResolver.localHost(towards: seed, group: configuration.group) {
                return PeerAddress(host: host, port: port)
            }
        }
        return PeerAddress(host: bound == "::" ? "::1" : "127.0.0.1", port: port)
    }
}

internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// The checked form of a configuration.
struct ValidatedConfiguration {
    var hashKey: HashKey
    var transport: TransportConfiguration
    var storeBytes: Int
    var nearBytes: Int
    /// For what is remembered of other peers' near copies.
    var sharerBytes: Int
    var valueBytesMax: Int
    var replica: ReplicaConfiguration
    var voters: VoterConfiguration
}

extension CachePeerConfiguration {
    /// Smallest ``memory``.
    static let memoryBytesMin = 2 * 1024 * 1024

    /// Checks everything once. The message names the property, its value and what to write instead.
    func validated(me: PeerID) throws(PeerCacheError) -> ValidatedConfiguration {
        let clusterBytes = cluster.utf8.count
        try check(1...128 ~= clusterBytes, "cluster", "\(clusterBytes) bytes long", "use a name of 1...128 bytes of UTF-8")
        try check(!bind.host.isEmpty, "bind.host", "empty", "use an IP address, for example \"0.0.0.0\"")
        try check(PeerAddress.isHost(bind.host), "bind.host", "\"\(bind.host)\"", "use a name or an IP address, without brackets or a port")
        try check(0...65_535 ~= bind.port, "bind.port", bind.port, "use 0 (the system chooses) or 1...65535")
        if let advertise {
            try check(!advertise.host.isEmpty, "advertise.host", "empty", "use the address that other peers dial, or leave `advertise` nil")
            try check(
                PeerAddress.isHost(advertise.host), "advertise.host", "\"\(advertise.host)\"",
                "use a name or an IP address, without brackets or a port")
            try check(0...65_535 ~= advertise.port, "advertise.port", advertise.port, "use 0 (as listened at) or 1...65535")
        }
        try check(
            memory.bytes >= Self.memoryBytesMin, "memory", "\(memory.bytes) bytes",
            "use at least \(Self.memoryBytesMin) bytes, for example .megabytes(2)")
        try check(
            1...WireLimits.valueBytesCeiling ~= limits.valueBytesMax, "limits.valueBytesMax", limits.valueBytesMax,
            "use 1...\(WireLimits.valueBytesCeiling)")
        try check(1...1_000_000 ~= limits.requestsPerPeerMax, "limits.requestsPerPeerMax", limits.requestsPerPeerMax, "use 1...1000000")
        try check(1...1_000_000 ~= limits.loadsMax, "limits.loadsMax", limits.loadsMax, "use 1...1000000")
        try check(0...4096 ~= limits.observersMax, "limits.observersMax", limits.observersMax, "use 0...4096")
        if role == .observer, case .none = discovery.kind {
            throw PeerCacheError(.invalidConfiguration, "discovery is .none; an observer, which nobody dials, must say how to find a peer")
        }
        try check(0...1000 ~= identity.weight, "identity.weight", identity.weight, "use 0...1000")
        for (name, text) in [("name", identity.name), ("zone", identity.zone), ("region", identity.region)] {
            try check(text.utf8.count <= 64, "identity.\(name)", "\(text.utf8.count) bytes long", "use at most 64 bytes of UTF-8")
        }
        try check(
            requestTimeout >= .milliseconds(10) && requestTimeout <= .seconds(60), "requestTimeout", requestTimeout, "use 10 ms...60 s")
        try check(leaveGrace >= .zero && leaveGrace <= .seconds(300), "leaveGrace", leaveGrace, "use 0...300 s")

        try check(
            handOverTimeout >= .zero && handOverTimeout <= .seconds(600), "handOverTimeout", handOverTimeout, "use 0...600 s")
        try check(
            (64 << 10)...(16 << 30) ~= transferRate.bytes, "transferRate", "\(transferRate.bytes) bytes",
            "use 65536 bytes...16 GiB, for example .megabytes(32)")

        if let minimumPeers { try check(1...65_535 ~= minimumPeers, "minimumPeers", minimumPeers, "use 1...65535, or nil") }
        if let strictResetAfter {
            try check(
                strictResetAfter >= .seconds(1) && strictResetAfter <= .seconds(86_400), "strictResetAfter", strictResetAfter,
                "use 1 s...24 h, or nil")
        }

        let discovery = try discovery.source()
        let security = try handshakeSecurity()
        do throws(SecurityConfigurationError) {
            let hashKey = try HashKey(hashKey, security: security, cluster: cluster)
            let handshake = try HandshakeConfiguration(
                cluster: cluster, security: security, me: me, role: role == .observer ? .observer : .peer)
            var record = MemberRecord(id: me, address: PeerAddress(host: bind.host, port: 0))
            record.name = identity.name
            record.zone = identity.zone
            record.region = identity.region
            record.weight = UInt16(identity.weight)
            var transport = TransportConfiguration(
                handshake: handshake,
                settings: SettingsFingerprint(hashKey: hashKey.fingerprint),
                bind: PeerAddress(host: bind.host, port: UInt16(bind.port)), record: record, group: eventLoopGroup, logger: logger)
            transport.advertisedHost = advertise?.host
            transport.advertisedPort = advertise.flatMap { $0.port == 0 ? nil : UInt16($0.port) }
            transport.discovery = discovery
            transport.gossip = GossipConfiguration(profile: failureDetection.profile)
            transport.gossip.isObserver = role == .observer
            transport.observersMax = limits.observersMax
            // A call needs a connection to the owner, whoever that is: every pair keeps one, as far as clusters are tested.
            transport.gossip.fullMeshMax = 1_000
            // One eighth for both; an entry of 32 bytes in the one is for a copy of some hundred and more in the others.
            let sharerBytes = memory.bytes / 64, nearBytes = memory.bytes / 8 - sharerBytes
            let storeBytes = memory.bytes - memory.bytes / 8 - memory.bytes / 8  // the last eighth is for buffers (SECURITY.md §4)
            let valueBytesMax = min(limits.valueBytesMax, storeBytes / 8)
            transport.limits.valueBytesMax = valueBytesMax
            // Of each connection; two of the largest values fit.
            transport.limits.outboundBytesMax = max(memory.bytes / 16, 2 * valueBytesMax)
            transport.limits.assemblyBytesMax = max(memory.bytes / 16, 2 * valueBytesMax)
            transport.limits.requestsMax = limits.requestsPerPeerMax
            var replica = ReplicaConfiguration()
            replica.transferBytesPerSecond = transferRate.bytes
            // Without a number nobody begins a cluster; strict caches are refused then.
            var voters = VoterConfiguration(minimumPeers: minimumPeers ?? .max)
            voters.resetAfter = strictResetAfter
            return ValidatedConfiguration(
                hashKey: hashKey, transport: transport, storeBytes: storeBytes, nearBytes: nearBytes, sharerBytes: sharerBytes,
                valueBytesMax: valueBytesMax, replica: replica, voters: voters)
        } catch { throw PeerCacheError(.invalidConfiguration, error.message) }
    }

    private func handshakeSecurity() throws(PeerCacheError) -> HandshakeSecurity {
        switch security?.kind {
        case .insecure: return .insecure
        case .sharedSecret(let secret, let accepting):
            do {
                var others: [ClusterSecret] = []
                for text in accepting { others.append(try ClusterSecret(text)) }
                return .sharedSecret(try KeyRing(current: ClusterSecret(secret), accepting: others))
            } catch { throw PeerCacheError(.invalidConfiguration, error.message) }
        case nil:
            // A name like "127.example.com" is none.
            let isIPv4 = (try? SocketAddress(ipAddress: bind.host, port: 0)) != nil && bind.host.hasPrefix("127.")
            let isLoopback = bind.host == "localhost" || bind.host == "::1" || isIPv4
            try check(
                isLoopback, "security", "not set, while bind.host \"\(bind.host)\" is not a loopback address",
                "use .sharedSecret(…) with 32 random bytes that all peers share, or .insecure if the network itself keeps others out")
            return .insecure
        }
    }

    private func check(_ isValid: Bool, _ property: String, _ value: Any, _ allowed: String) throws(PeerCacheError) {
        if !isValid { throw PeerCacheError(.invalidConfiguration, "\(property) is \(value); \(allowed)") }
    }
}

extension CachePeerConfiguration.Discovery {
    /// A function that finds addresses, or nil for `.none`.
    fileprivate func source() throws(PeerCacheError) -> DiscoverySource? {
        switch kind {
        case .none: return nil
        case .peers(let texts):
            let addresses = try Self.parse(texts)
            return { try await AddressResolver.addresses(of: addresses) }
        case .dns(let name, let port):
            // With one colon it is no IPv6 address, but has a port of its own.
            guard !name.isEmpty, name.count(where: { $0 == ":" }) != 1, let port = UInt16(exactly: port), port > 0 else {
                throw PeerCacheError(
                    .invalidConfiguration,
                    "discovery is .dns(\"\(name)\", port: \(port)); use a host name without a port, and a port of 1...65535")
            }
            return { try await AddressResolver.addresses(of: name, port: port) }
        case .services(let name):
            guard !name.isEmpty, name.utf8.count <= 253 else {
                throw PeerCacheError(
                    .invalidConfiguration,
                    "discovery is .dns(service: \"\(name)\"); use a name of 1...253 bytes, for example \"_cache._tcp.shop\"")
            }
            return { try await AddressResolver.services(of: name) }
        case .custom(let source):
            return {
                let texts = try await source.peers(), addresses = texts.compactMap { PeerAddress($0) }
                let found = try await AddressResolver.addresses(of: addresses)
                guard let text = texts.first(where: { PeerAddress($0) == nil }) else { return found }
                var error = AddressResolutionError(host: text, reason: "use \"host:port\"", isNameUnknown: false)
                error.found = found
                throw error
            }
        }
    }

    private static func parse(_ texts: [String]) throws(PeerCacheError) -> [PeerAddress] {
        var addresses: [PeerAddress] = []
        for text in texts {
            guard let address = PeerAddress(text) else {
                throw PeerCacheError(
                    .invalidConfiguration,
                    "discovery has the address \"\(text)\"; use \"host:port\" with a port of 1...65535, an IPv6 address in brackets, no white space"
                )
            }
            addresses.append(address)
        }
        return addresses
    }
}

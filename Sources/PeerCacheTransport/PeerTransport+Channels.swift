internal import Logging
internal import NIOCore
internal import NIOPosix
internal import PeerCacheCore

/// Listening, dialling, and what channels tell.
extension PeerTransport {
    func bind() async throws -> any Channel {
        do {
            return try await ServerBootstrap(group: configuration.group)
                .serverChannelOption(.backlog, value: 256)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .serverChannelOption(.autoRead, value: false)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelOption(.writeBufferWaterMark, value: Self.waterMark)
                .childChannelOption(.maxMessagesPerRead, value: 4)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        guard let id = self.admit(channel) else { throw ChannelError.ioOnClosedChannel }
                        let handler = PeerChannelHandler(
                            id: id, owner: self,
                            phase: .listening(ListenerHandshake(self.configuration.handshake), hasAnswered: false))
                        try channel.pipeline.syncOperations.addHandler(handler)
                        Self.setLimits(channel)
                    }
                }
                .bind(host: configuration.bind.host, port: Int(configuration.bind.port)).get()
        } catch { throw BindError(address: configuration.bind, underlying: error) }
    }

    /// What was handed to a channel can be overtaken no more.
    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 64 * 1024, high: 128 * 1024)
    /// Nor can what the kernel holds: by itself it takes megabytes that it cannot send yet.
    private static let unsentBytesMax: ChannelOptions.Types.SocketOption.Value = 128 * 1024

    /// Nothing else ends a connection on which what is sent gets lost, but the system after a quarter of an hour.
    private static let unansweredMax: ChannelOptions.Types.SocketOption.Value = 10_000

    /// A system without the options makes gossip slower, and notices a cut link later.
    private static func setLimits(_ channel: any Channel) {
        #if canImport(Darwin)
        let name: CInt = 0x201
        #else
        let name: CInt = 25
        let timeout = ChannelOptions.tcpOption(NIOBSDSocket.Option(rawValue: 18))  // TCP_USER_TIMEOUT, milliseconds
        try? channel.syncOptions?.setOption(timeout, value: unansweredMax)
        #endif
        let option = ChannelOptions.tcpOption(NIOBSDSocket.Option(rawValue: name))  // TCP_NOTSENT_LOWAT
        try? channel.syncOptions?.setOption(option, value: unsentBytesMax)
    }

    func dial(_ id: ConnectionID, _ address: PeerAddress, _ expected: PeerID?, _ limit: Duration) {
        let handshake = DialerHandshake(configuration.handshake, expecting: expected)
        state.withLock { $0.hellos[id] = OwnHello(bytes: handshake.hello) }
        // Connecting alone has the limit; a handshake of two more round trips over a long way may take longer than the shortest one.
        let deadline = NIODeadline.now() + max(.nanoseconds(limit.nanosecondsSaturating), .seconds(1))
        ClientBootstrap(group: configuration.group)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.writeBufferWaterMark, value: Self.waterMark)
            .channelOption(.maxMessagesPerRead, value: 4)
            .connectTimeout(.nanoseconds(limit.nanosecondsSaturating))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard self.keep(channel) else { throw ChannelError.ioOnClosedChannel }
                    try channel.pipeline.syncOperations.addHandler(
                        PeerChannelHandler(id: id, owner: self, phase: .dialing(handshake), deadline: deadline))
                    Self.setLimits(channel)
                }
            }
            .connect(host: address.host, port: Int(address.port))
            .whenFailure { error in
                // The handler saw no open channel, so it reports nothing.
                let evidence = Evidence(error)
                self.report(id, evidence == .resetByPeer ? .refused : evidence)
            }
    }

    private func report(_ id: ConnectionID, _ evidence: Evidence) {
        state.withLock { $0.hellos[id] = nil }
        onEvidence(id, evidence)
        membership?.handle(.connection(id, evidence))
    }

    /// Counts a channel that was accepted; nil: there are too many.
    private func admit(_ channel: any Channel) -> ConnectionID? {
        guard let (id, displaced) = admission.begin(channel) else {
            countsState.withLock { $0.handshakesRefused += 1 }
            return nil
        }
        if let displaced {
            countsState.withLock { $0.handshakesRefused += 1 }
            displaced.close(promise: nil)
        }
        channel.closeFuture.whenComplete { _ in self.admission.ended(id) }
        return keep(channel) ? id : nil
    }

    private func keep(_ channel: any Channel) -> Bool {
        let key = ObjectIdentifier(channel)
        let isKept = state.withLock { state in
            guard !state.isStopped else { return false }
            state.children[key] = channel
            return true
        }
        if isKept { channel.closeFuture.whenComplete { _ in self.state.withLock { $0.children[key] = nil } } }
        return isKept
    }
}

extension PeerTransport: PeerChannelOwner {
    var limits: ConnectionLimits { configuration.limits }

    /// The newest record of this peer: a refutation raises its incarnation.
    var localHello: WireHello {
        let (membership, hello) = state.withLock { ($0.membership, $0.hello) }
        var current = hello ?? WireHello(record: configuration.record, settings: configuration.settings)
        if let membership { current.record = membership.myRecord }
        return current
    }

    func mayAgree() -> Bool { admission.mayAgree(nowNanoseconds: ClusterClock.monotonicNanoseconds) }

    func answering(_ hello: [UInt8]) {
        state.withLock { state in
            guard let own = state.hellos.first(where: { $0.value.bytes == hello }) else { return }
            state.hellos[own.key]?.isHeard = true
        }
    }

    /// A process knows what it said itself. A copy of this process has the same memory, but what it draws at random differs from then on.
    func hasMetItself(_ dial: ConnectionID, _ peer: PeerID) -> Bool {
        peer == configuration.handshake.me && state.withLock { $0.hellos[dial]?.isHeard ?? false }
    }

    func admitObserver() -> Bool {
        state.withLock { state in
            guard state.observers < configuration.observersMax else { return false }
            state.observers += 1
            return true
        }
    }

    func established(_ connection: PeerConnection) {
        admission.finished(connection.id)
        countsState.withLock { $0.connectionsOpened += 1 }
        directory.add(connection)
        if connection.role == .observer { return }
        report(connection.id, .established(connection.record))
    }

    func received(_ gossip: GossipMessage, on connection: PeerConnection) {
        guard let membership, connection.mayQueueGossip() else { return }
        let input: GossipMachine.Input =
            connection.role == .observer
            ? .observer(connection.peer, gossip, on: connection.id) : .message(gossip, from: connection.peer, on: connection.id)
        membership.handle(input) { connection.gossipHandled() }
    }

    func ending(_ connection: PeerConnection) { directory.retire(connection.id) }

    func ended(_ id: ConnectionID, _ connection: PeerConnection?, _ evidence: Evidence) {
        if let connection { directory.remove(connection) }
        if connection?.role == .observer { return state.withLock { $0.observers -= 1 } }
        if connection != nil || !GossipMachine.isInbound(id) { report(id, evidence) }
    }

    func clockSkewed(_ address: PeerAddress) { membership?.handle(.clockSkew(address)) }

    func refusedFrame(_ error: WireError, from connection: PeerConnection?) {
        countsState.withLock { $0.framesRefused += 1 }
        configuration.logger.debug(
            "frame refused",
            metadata: [LogKey.peer.rawValue: "\(connection.map { $0.peer.description } ?? "unknown")", LogKey.error.rawValue: "\(error)"])
    }
}

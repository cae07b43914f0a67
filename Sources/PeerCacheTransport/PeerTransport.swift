internal import Logging
internal import NIOCore
internal import NIOPosix
package import PeerCacheCore

/// The address to listen at is taken or not ours.
package struct BindError: Error, Sendable {
    package let address: PeerAddress
    package let underlying: any Error
}

/// Everything between this peer and the others: the listener, the connections, the handshakes, and the member list over them.
///
/// Lifetime: ``start()``, then ``run()`` until it is cancelled, then ``stop()``. ``leave()`` before `stop` makes it a graceful departure.
package final class PeerTransport: Sendable {
    let configuration: TransportConfiguration
    package let clock: ClusterClock
    package let directory: ConnectionDirectory
    let requestHandler: any PeerRequestHandler

    /// Member lists, newest only: the placement is built from the last one.
    package let views: AsyncStream<MembershipView>
    private let viewsContinuation: AsyncStream<MembershipView>.Continuation
    private let onEvent: EventHandler
    private let onEvidence: EvidenceHandler
    private let resolutions: AsyncStream<Void>
    private let resolutionsContinuation: AsyncStream<Void>.Continuation

    /// Hears of every event, in order, on the event loop of the membership, with no lock held: it must not wait. The second argument gives the
    /// member list after the event.
    package typealias EventHandler = @Sendable (MembershipEvent, _ view: () -> MembershipView?) -> Void

    /// Hears what the membership is told of a dial or a connection. For tests.
    package typealias EvidenceHandler = @Sendable (ConnectionID, GossipMachine.Evidence) -> Void

    private struct State {
        var membership: MembershipShell?
        var listener: (any Channel)?
        var children: [ObjectIdentifier: any Channel] = [:]
        var hello: WireHello?
        /// Of the dials in flight.
        var hellos: [ConnectionID: OwnHello] = [:]
        /// Connections of observers.
        var observers = 0
        var isStopped = false
    }
    /// What one of our dials said first.
    private struct OwnHello {
        var bytes: [UInt8]
        /// Our own listener has heard it.
        var isHeard = false
    }
    private let state = Lock(State())
    private let admission: HandshakeAdmission
    private let countsState = Lock(TransportCounts())

    package init(
        _ configuration: TransportConfiguration, clock: ClusterClock, directory: ConnectionDirectory,
        requestHandler: any PeerRequestHandler, onEvent: @escaping EventHandler = { _, _ in },
        onEvidence: @escaping EvidenceHandler = { _, _ in }
    ) {
        self.configuration = configuration
        self.clock = clock
        self.directory = directory
        self.requestHandler = requestHandler
        self.onEvent = onEvent
        self.onEvidence = onEvidence
        admission = HandshakeAdmission()
        (views, viewsContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        (resolutions, resolutionsContinuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    package var counts: TransportCounts { countsState.withLock { $0 } }

    /// The member list now, or nil before ``start()``.
    package var view: MembershipView? { state.withLock { $0.membership }?.view }

    /// Why this peer, which knows no other, may not be meant to be alone; nil: it is not alone, or may well be.
    package var solitude: Solitude? { configuration.discovery == nil ? nil : state.withLock { $0.membership }?.solitude }

    // MARK: Lifetime

    /// Listens, and joins the cluster in the background.
    /// - Throws: ``BindError``, or what makes the membership settings impossible.
    /// - Returns: the address that other peers dial; nobody dials an observer, which does not listen.
    package func start() async throws -> PeerAddress {
        let listener = isObserver ? nil : try await bind()
        // The wire wants an address of everybody; an observer's is not looked at.
        var address = PeerAddress(host: configuration.bind.host, port: 1)
        if let listener { address = await advertisedAddress(of: listener) }
        var record = configuration.record
        record.address = address
        record.hlc = clock.reading()
        record.started = record.hlc
        let machine: GossipMachine
        do { machine = try GossipMachine(configuration.gossip, me: record, seed: .random(in: .min ... .max)) } catch {
            try? await listener?.close()
            throw error
        }
        let membership = MembershipShell(machine: machine, loop: configuration.group.next(), clock: clock, actions: actions)
        state.withLock { state in
            state.membership = membership
            state.listener = listener
            state.hello = WireHello(record: record, settings: configuration.settings)
        }
        // Only now may connections find a member list.
        try await listener?.setOption(.autoRead, value: true).get()
        membership.handle(.command(.join))
        return address
    }

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

    /// Tells the others that this peer goes: they stop placing slots here, and it still answers.
    package func leave() { membership?.handle(.command(.leave)) }

    /// Says goodbye and closes everything. Calls in flight end with `.closed`.
    /// - Parameter isLeaving: tells the others that this peer has left, for good. Otherwise they only see these connections end.
    package func stop(isLeaving: Bool = true) async {
        let membership = membership
        // What it sends is then in the queues of the connections, which close behind it.
        await membership?.finish(isLeaving: isLeaving)
        let (listener, children) = state.withLock { state in
            state.isStopped = true
            return (state.listener, state.children.values.map { $0 })
        }
        try? await listener?.close()
        for connection in directory.takeAll() { connection.close(isLeaving ? .leaving : .idle) }
        let deadline = ClusterClock.monotonicNanoseconds + 500_000_000
        while ClusterClock.monotonicNanoseconds < deadline, state.withLock({ !$0.children.isEmpty }) {
            try? await Task.sleep(for: .milliseconds(5))
        }
        for channel in children { channel.close(promise: nil) }
        // The shell's actions hold the transport: without this, what ran would never be freed.
        state.withLock { ($0.membership, $0.listener, $0.children) = (nil, nil, [:]) }
        viewsContinuation.finish()
        resolutionsContinuation.finish()
    }

    private var isObserver: Bool { configuration.handshake.role == .observer }

    /// A call waits for a connection to this member. Peers keep one to each; an observer dials those whom it needs.
    package func connect(to peer: PeerID) { if isObserver { membership?.handle(.command(.connect(to: peer))) } }

    /// Asks a peer for its member list: it placed a key elsewhere than this peer.
    package func synchronize(with peer: PeerID) { membership?.handle(.command(.sync(with: peer))) }

    private var membership: MembershipShell? { state.withLock { $0.membership } }
}

// MARK: Listening and dialling

extension PeerTransport {
    private func bind() async throws -> any Channel {
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

    private func dial(_ id: ConnectionID, _ address: PeerAddress, _ expected: PeerID?, _ limit: Duration) {
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

    /// `GOSSIP.md` §3: configured, else the address it listens at, else the one from which it reaches the others.
    private func advertisedAddress(of listener: any Channel) async -> PeerAddress {
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

    /// Members in one message: with the largest records it stays below the limit of a frame.
    private static let membersPerMessage = 256

    /// A long list goes in several messages, as merging them one by one comes to the same; the last one asks for the answer.
    static func parts(of message: GossipMessage) -> [GossipMessage] {
        guard case .sync(let members, let wantsReply) = message, members.count > membersPerMessage else { return [message] }
        return stride(from: 0, to: members.count, by: membersPerMessage).map { start in
            let end = min(start + membersPerMessage, members.count)
            return .sync(members: Array(members[start..<end]), wantsReply: wantsReply && end == members.count)
        }
    }

    private var actions: MembershipShell.Actions {
        MembershipShell.Actions(
            dial: { self.dial($0, $1, $2, $3) },
            send: { message, peer, id in
                let connection = id.flatMap { self.directory.connection($0) } ?? self.directory.connection(to: peer)
                guard let connection else { return }
                let dropped = Self.parts(of: message).reduce(0) { $0 + connection.post($1) }
                if dropped > 0 { self.countsState.withLock { $0.gossipDropped += UInt64(dropped) } }
            },
            close: { id, goodbye in
                guard let connection = self.directory.connection(id) else { return }
                self.directory.retire(id)
                connection.close(goodbye)
            },
            resolve: { self.resolutionsContinuation.yield() },
            event: { self.onEvent($0) { self.view } },
            trace: { self.configuration.logger.debug("gossip", metadata: [LogKey.reason.rawValue: "\($0)"]) },
            changed: { self.viewsContinuation.yield($0) })
    }
}

// MARK: What channels tell

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

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
    let onEvidence: EvidenceHandler
    let resolutions: AsyncStream<Void>
    private let resolutionsContinuation: AsyncStream<Void>.Continuation

    /// Hears of every event, in order, on the event loop of the membership, with no lock held: it must not wait. The second argument gives the
    /// member list after the event.
    package typealias EventHandler = @Sendable (MembershipEvent, _ view: () -> MembershipView?) -> Void

    /// Hears what the membership is told of a dial or a connection. For tests.
    package typealias EvidenceHandler = @Sendable (ConnectionID, GossipMachine.Evidence) -> Void

    struct State {
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
    struct OwnHello {
        var bytes: [UInt8]
        /// Our own listener has heard it.
        var isHeard = false
    }
    let state = Lock(State())
    let admission: HandshakeAdmission
    let countsState = Lock(TransportCounts())

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

    var isObserver: Bool { configuration.handshake.role == .observer }

    /// A call waits for a connection to this member. Peers keep one to each; an observer dials those whom it needs.
    package func connect(to peer: PeerID) { if isObserver { membership?.handle(.command(.connect(to: peer))) } }

    /// Asks a peer for its member list: it placed a key elsewhere than this peer.
    package func synchronize(with peer: PeerID) { membership?.handle(.command(.sync(with: peer))) }

    var membership: MembershipShell? { state.withLock { $0.membership } }
}

// MARK: What the membership wants done

extension PeerTransport {
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

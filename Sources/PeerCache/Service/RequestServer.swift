internal import Logging
internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// Answers the requests of other peers on their connection's event loop. A store hit needs neither task nor copy: the value goes from the
/// store into the outgoing frame. What may take long is done in a task: loads, acks, large values, and what asks the replicator's machines.
final class RequestServer: PeerRequestHandler {
    let peer: PeerCore
    /// Requests of one connection that wait for acks, each in a task.
    private static let tasksPerPeerMax = 4096

    /// Keys of one connection's requests that wait for loads.
    private static let waitersPerPeerMax = 65_536

    /// Requests of one connection that are answered in a task because they take long, not because they wait.
    private static let besidePerPeerMax = 256

    private struct Load {
        let cache: CacheCore
        var waiter: WaiterID
    }
    /// What waits on behalf of one connection.
    private struct Caller {
        var taskCount = 0
        var besideCount = 0
        var waiterCount = 0
        /// Loads by request and ticket, so that giving up can release them. A batch waits for many; so does an id that is used twice.
        var loads: [UInt64: [UInt64: Load]] = [:]
        var lastTicket: UInt64 = 0

        mutating func enter(_ load: Load, _ request: UInt64) -> UInt64? {
            guard waiterCount < RequestServer.waitersPerPeerMax else { return nil }
            waiterCount += 1
            lastTicket += 1
            loads[request, default: [:]][lastTicket] = load
            return lastTicket
        }

        mutating func leave(_ request: UInt64, _ ticket: UInt64) {
            waiterCount -= 1
            loads[request]?[ticket] = nil
            if loads[request]?.isEmpty == true { loads[request] = nil }
        }
    }
    private let callers = Lock<[ConnectionID: Caller]>([:])
    /// Caches of others that are unknown or different here and have been logged.
    private let named = Lock<Set<String>>([])
    private static let namedMax = 64

    init(peer: PeerCore) { self.peer = peer }

    // MARK: PeerRequestHandler

    func handle(_ request: WireRequest, on connection: PeerConnection) {
        if case .readClock = request.kind {
            var response = WireResponse(id: request.id, status: .ok)
            response.copiedThrough = peer.safety.copiedThrough
            return connection.respond(response)
        }
        if case .clearCache = request.kind { return clear(request, connection) }
        if request.kind.isAboutSlots { return handleSlots(request, connection) }
        if request.kind == .read || request.kind == .store { return handleVote(request, connection) }
        guard let cache = peer.cache(named: request.cache) else {
            warn(of: request, "another peer uses a cache that is not registered here; register the same caches on all peers")
            return refuse(request, .noLoader, connection)
        }
        guard request.type == 0 || request.type == cache.typeFingerprint else {
            warn(of: request, "another peer uses other types for a cache; give one of them another name or codec name")
            return refuse(request, .incompatible, connection)
        }
        let hash = cache.secret.hash(request.key)
        switch request.kind {
        case .get: get(cache, request, hash, connection)
        case .getMany: getMany(cache, request, connection)
        case .set: write(cache, request, hash, connection)
        case .remove: write(cache, request, hash, connection)
        case .apply: apply(cache, request, hash, connection)
        case .inspect: inspect(cache, request, hash, connection)
        case .removeOlder: removeOlder(cache, request, hash, connection)
        case .readClock, .clearCache, .claim, .pull, .compare, .seal, .read, .store: break
        }
    }

    func cancelled(requestID: UInt64, on connection: PeerConnection) {
        abandon(callers.withLock { $0[connection.id]?.loads.removeValue(forKey: requestID) })
    }

    func invalidated(_ invalidation: WireInvalidation, by other: PeerID) { peer.coherence.received(invalidation, from: other) }

    func closed(_ connection: PeerConnection) {
        let caller = callers.withLock { $0.removeValue(forKey: connection.id) }
        for (_, loads) in caller?.loads.sorted(by: { $0.key < $1.key }) ?? [] { abandon(loads) }
        guard !connection.hasEndedInOrder else { return }
        peer.coherence.closed(to: connection.peer)
        peer.safety.lost(to: connection.peer, peer)
    }

    // MARK: Loads

    /// Joins a load on behalf of a remote caller. On the connection's event loop, so that nobody gives up meanwhile.
    /// - Parameter stamp: the highest stamp that the caller knows of.
    func load(
        _ cache: CacheCore, _ key: [UInt8], _ hash: UInt64, guard stamp: Stamp = .zero, _ connection: PeerConnection, _ request: UInt64,
        _ answer: @escaping @Sendable (Result<LoadOutcome, any Error>) -> Void
    ) {
        let entered = callers.withLock { $0[connection.id, default: Caller()].enter(Load(cache: cache, waiter: 0), request) }
        guard let ticket = entered else {
            cache.counters.add(.loadsRefused)
            return answer(.failure(PeerCacheError(.overloaded, "too many requests of one peer wait")))
        }
        let waiter = cache.load(key, hash, guard: stamp) { result in
            self.callers.withLock { $0[connection.id]?.leave(request, ticket) }
            answer(result)
        }
        // Gone again when the answer has come already.
        callers.withLock { $0[connection.id]?.loads[request]?[ticket]?.waiter = waiter }
    }

    private func abandon(_ loads: [UInt64: Load]?) {
        for (_, load) in loads?.sorted(by: { $0.key < $1.key }) ?? [] { load.cache.abandon(load.waiter) }
    }

    // MARK: Bounds and refusals

    /// Whether the caller keeps a near copy and can be told of changes: nobody calls observers.
    func mayKeep(_ request: WireRequest, _ connection: PeerConnection) -> Bool {
        request.flags.contains(.near) && connection.role == .peer
    }

    /// Once for each name, and for so many names: during a deploy that adds a cache it is no wonder.
    private func warn(of request: WireRequest, _ message: Logger.Message) {
        let name = String(decoding: request.cache, as: UTF8.self)
        guard named.withLock({ $0.count < Self.namedMax && $0.insert(name).inserted }) else { return }
        peer.logger.warning(message, metadata: [LogKey.cache.rawValue: "\(name)"])
    }

    func refuse(_ request: WireRequest, _ status: ResponseStatus, _ connection: PeerConnection, digest: UInt64 = 0) {
        refuse(request.id, status, connection, digest: digest)
    }

    func refuse(_ id: UInt64, _ status: ResponseStatus, _ connection: PeerConnection, digest: UInt64 = 0) {
        guard id != 0 else { return }
        var response = WireResponse(id: id, status: status)
        response.placement = digest
        connection.respond(response)
    }

    /// Answers a request in a task, as it may wait; refused when too much waits already.
    func start(_ request: WireRequest, _ connection: PeerConnection, _ body: @escaping @Sendable () async -> Void) {
        guard enter(connection) else { return refuse(request, .overloaded, connection) }
        let started = peer.tasks.start {
            await body()
            self.leave(connection)
        }
        if started == nil {
            leave(connection)
            refuse(request, peer.tasks.isStopped ? .shuttingDown : .overloaded, connection)
        }
    }

    /// Does something in a task that takes long; here and now, when too many do already: neither loads that wait nor a busy connection
    /// may keep a peer from claims and seals.
    func beside(_ connection: PeerConnection, _ body: @escaping @Sendable () -> Void) {
        let isEntered = callers.withLock { callers in
            guard callers[connection.id, default: Caller()].besideCount < Self.besidePerPeerMax else { return false }
            callers[connection.id, default: Caller()].besideCount += 1
            return true
        }
        guard isEntered else { return body() }
        let started = peer.tasks.start {
            body()
            self.callers.withLock { $0[connection.id]?.besideCount -= 1 }
        }
        if started != nil { return }
        callers.withLock { $0[connection.id]?.besideCount -= 1 }
        body()
    }

    private func enter(_ connection: PeerConnection) -> Bool {
        callers.withLock { callers in
            guard callers[connection.id, default: Caller()].taskCount < Self.tasksPerPeerMax else { return false }
            callers[connection.id, default: Caller()].taskCount += 1
            return true
        }
    }

    /// Nobody to be found: the connection is closed.
    private func leave(_ connection: PeerConnection) { callers.withLock { $0[connection.id]?.taskCount -= 1 } }
}

extension Duration {
    /// Saturates.
    init(milliseconds: UInt64) { self = .milliseconds(Int64(clamping: milliseconds)) }
}

extension ResponseStatus {
    init(_ result: WriteResult) {
        self =
            switch result {
            case .stored: .ok
            case .superseded: .superseded
            case .forgotten: .forgotten
            case .notHolder: .notHolder
            case .refused: .tooLate
            }
    }
}

extension PeerCore {
    func isOver(_ expiry: Tick?) -> Bool { expiry.map { clock.tick().isAtOrAfter($0) } ?? false }
}

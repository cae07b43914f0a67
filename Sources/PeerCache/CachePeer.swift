internal import Logging
public import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport
public import ServiceLifecycle

/// One peer of the cluster: this process's part of every cache.
///
/// Give it to a `ServiceGroup`, before the servers that use its caches, or call ``run()`` in a task of your own. Several peers can live in one
/// process.
public final class CachePeer: Service, Sendable {
    let core: PeerCore
    /// Replaced with the peer's id.
    private let identity: Lock<Identity>
    private let updater = PlacementUpdater()
    private let draw: @Sendable () -> PeerID

    /// What there is as long as the peer has one id. Streams: twice before it has been dealt with is once.
    private struct Identity: Sendable {
        let transport: PeerTransport
        /// That others held this peer for dead and it refuted.
        let returns: AsyncStream<Void>
        /// That another process has this peer's id.
        let losses: AsyncStream<Void>
    }

    /// New ids that a peer draws before it gives up.
    private static let drawsMax = 3

    /// Checks the configuration; opens nothing.
    /// - Throws: `.invalidConfiguration`, with the property, its value and what to write instead.
    public convenience init(configuration: CachePeerConfiguration) throws { try self.init(configuration: configuration, me: .random()) }

    init(configuration: CachePeerConfiguration, me: PeerID, draw: @escaping @Sendable () -> PeerID = { .random() }) throws {
        let validated = try configuration.validated(me: me)
        core = try PeerCore(configuration: configuration, validated: validated, me: me)
        identity = Lock(Self.identity(validated.transport, core))
        self.draw = draw
    }

    private static func identity(_ configuration: TransportConfiguration, _ core: PeerCore) -> Identity {
        let (returns, hasReturned) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let (losses, isLost) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let transport = PeerTransport(
            configuration, clock: core.clock, directory: core.directory, requestHandler: RequestServer(peer: core),
            onEvent: { event, view in
                switch event {
                case .selfRefuted: hasReturned.yield()
                case .duplicateIdentity: isLost.yield()
                default: break
                }
                MembershipLog.write(event, to: core.logger)
                guard let event = PeerEvent(event) else { return }
                core.events.send(event) {
                    (view()?.members ?? []).filter(\.status.isPresent).map { PeerEvent.Member($0.record) }
                }
            })
        return Identity(transport: transport, returns: returns, losses: losses)
    }

    // Caches and core hold each other; handles that the application still has keep theirs alive.
    deinit { core.releaseCaches() }

    /// This peer's id: 32 hexadecimal digits, new at every start; another one after ``PeerEvent/duplicateIdentity(old:new:)``.
    public var id: String { core.me.description }

    /// The address that other peers dial, as `host:port`; nil until the peer listens, and of an observer. With `bind.port` 0 a new id has a new port.
    public var address: String? { transport.view.flatMap { $0.member(core.me)?.record.address.description } }

    var transport: PeerTransport { identity.withLock { $0.transport } }

    /// A cache by its name: a typed handle, the same one for the same name and types. The loader runs on the peer that owns the key; nil from
    /// it means that the key does not exist. Without a loader a miss is nil.
    ///
    /// Register the same caches on all peers. Impossible options make ``run()`` and every operation of the cache that can throw do so with
    /// `.invalidConfiguration`; a name that is taken by other types, `.incompatibleCache`. The first registration's options and loader stay.
    ///
    /// - Parameters:
    ///   - name: 1...128 bytes of UTF-8.
    ///   - codec: how values travel and are stored.
    public func cache<Key: CacheKey, Value: Sendable>(
        _ name: String, key: Key.Type, value: Value.Type, codec: ValueCodec<Value>, options: CacheOptions = .init(),
        loader: (@Sendable (Key) async throws -> Value?)? = nil
    ) -> Cache<Key, Value> {
        let types = CacheTypes(
            key: String(reflecting: Key.self), value: String(reflecting: Value.self), codec: codec.name,
            isVersioned: codec.isVersioned, local: [ObjectIdentifier(Key.self), ObjectIdentifier(Value.self)])
        let erased = loader.map { Self.erase($0, cache: name, codec: codec) }
        return Cache(core: core.register(name, options: options, types: types, loader: erased), codec: codec)
    }

    private static func erase<Key: CacheKey, Value: Sendable>(
        _ loader: @escaping @Sendable (Key) async throws -> Value?, cache name: String, codec: ValueCodec<Value>
    ) -> CacheCore.ErasedLoader {
        { bytes in
            guard let key = bytes.withUnsafeBytes({ Key(keyBytes: $0) }) else { return nil }  // no such key, so no value
            guard let value = try await loader(key) else { return nil }
            do { return (try codec.encode(value), NearBox(value)) } catch {
                throw PeerCacheError(
                    .encodingFailed, "cache \"\(name)\": the codec \"\(codec.name)\" cannot encode what the loader brought",
                    underlying: error)
            }
        }
    }

    /// Runs the peer: listens, joins the cluster, answers. Returns after graceful shutdown, during which it tells the others that it leaves,
    /// still answers for `leaveGrace`, and waits for at most `handOverTimeout` until its successors have what only it holds, or three
    /// seconds when all others leave, too; a cancelled task makes it leave at once. A peer runs once.
    ///
    /// - Throws: `.addressUnavailable` with the system's error; `.invalidConfiguration` of a cache registered before; `.alreadyRunning`;
    ///   `.duplicateIdentity` when other processes have taken its ids again and again.
    public func run() async throws {
        guard core.beginStarting() else {
            throw PeerCacheError(.alreadyRunning, "run() was called before; make a new CachePeer to run again")
        }
        defer { end() }
        if let problem = core.problem { throw problem }
        if case .insecure? = core.configuration.security?.kind {
            core.logger.warning(
                "security is off: everybody who reaches the port can read and write the caches",
                metadata: [LogKey.cluster.rawValue: "\(core.configuration.cluster)"])
        }
        var drawn = 0
        while try await live() == .lost {
            guard drawn < Self.drawsMax else {
                throw PeerCacheError(
                    .duplicateIdentity, "other processes had the ids of this peer, \(drawn + 1) times: are machines copied that run?")
            }
            drawn += 1
            try startOver()
        }
    }

    private func end() {
        core.setPhase(.stopped)
        core.loaders.stop()
        core.tasks.stop()
        core.events.finish()
        for cache in core.caches { cache.stop() }
    }

    /// How a life under one id ends.
    private enum Ending: Sendable { case asked, lost }

    private func live() async throws -> Ending {
        let identity = identity.withLock { $0 }
        let address = try await start(identity.transport)
        core.logger.info(
            "cache peer runs",
            metadata: [
                LogKey.cluster.rawValue: "\(core.configuration.cluster)", LogKey.peer.rawValue: "\(core.me)",
                LogKey.address.rawValue: core.isObserver ? "none, an observer" : "\(address)",
            ])
        return await withTaskGroup(of: Ending?.self) { group in
            group.addTask {
                await identity.transport.run()
                return nil
            }
            group.addTask {
                await self.followMembers(identity.transport)
                return nil
            }
            group.addTask {
                for await _ in identity.returns { self.updater.returned(self.core) }
                return nil
            }
            group.addTask {
                await self.core.replicator.run(self.core)
                return nil
            }
            group.addTask {
                var housekeeping = Housekeeping(core: self.core)
                await housekeeping.run()
                return nil
            }
            group.addTask {
                for await _ in identity.losses { return .lost }
                return nil
            }
            group.addTask {
                try? await gracefulShutdown()  // or cancellation
                return .asked
            }
            core.setPhase(.running)
            var ending = Ending.asked
            for await ended in group {
                guard let ended else { continue }
                ending = ended
                break
            }
            switch ending {
            case .asked: await leave(identity.transport)
            case .lost:
                // Operations wait from here on. Never `left`: that is final, and would take the other process out.
                core.setPhase(.starting)
                await identity.transport.stop(isLeaving: false)
                core.connect(synchronize: nil, dial: nil, cachesChanged: nil)
            }
            group.cancelAll()
            return ending
        }
    }

    /// Draws a new id. What was stored under the old one may be the other process's; operations under way find that they own nothing here.
    private func startOver() throws {
        let old = core.me, new = draw()
        let validated = try core.configuration.validated(me: new)
        updater.startOver(as: new, core)
        identity.withLock { $0 = Self.identity(validated.transport, core) }
        core.logger.warning("cache peer has a new id", metadata: [LogKey.peer.rawValue: "\(new)"])
        core.events.send(.duplicateIdentity(old: old.description, new: new.description)) { [] }
    }

    private func start(_ transport: PeerTransport) async throws -> PeerAddress {
        core.connect(
            synchronize: { [transport] in transport.synchronize(with: $0) }, dial: { [transport] in transport.connect(to: $0) },
            cachesChanged: { [updater, core] in updater.cachesChanged(core) },
            isSearching: { [transport, core] in
                transport.solitude == .searching || transport.view?.digest != core.table.routing.view?.digest
            })
        do {
            let address = try await transport.start()
            if let view = transport.view { updater.update(core, view: view) }
            return address
        } catch let error as BindError {
            core.connect(synchronize: nil, dial: nil, cachesChanged: nil)
            throw PeerCacheError(.addressUnavailable, "bind: cannot listen at \(error.address)", underlying: error.underlying)
        } catch {
            core.connect(synchronize: nil, dial: nil, cachesChanged: nil)
            await transport.stop()
            throw PeerCacheError(.invalidConfiguration, "\(error)", underlying: error)
        }
    }

    /// So long nobody must be left to hand over to before a leaving peer gives up: others may be about to start.
    private static let nobodyLeftNanoseconds: Int64 = 3_000_000_000

    /// The others stop placing keys here and fetch what they lack, requests under way are answered, then everything ends.
    private func leave(_ transport: PeerTransport) async {
        core.setPhase(.stopping)
        let others = transport.view?.placed.map(\.id).filter { $0 != core.me } ?? []
        transport.leave()
        let began = ClusterClock.monotonicNanoseconds
        let deadline = began &+ core.configuration.handOverTimeout.nanosecondsSaturating
        var successorSeen = began
        try? await Task.sleep(for: core.configuration.leaveGrace)
        // Nothing is owed before the leaving has its placement.
        while core.table.routing.myIndex != nil || core.replicator.owedToOthers > 0, ClusterClock.monotonicNanoseconds < deadline,
            !Task.isCancelled
        {
            let now = ClusterClock.monotonicNanoseconds
            if Self.mayHaveSuccessor(transport.view, others) { successorSeen = now }
            if now &- successorSeen > Self.nobodyLeftNanoseconds { break }
            try? await Task.sleep(for: .milliseconds(10))
        }
        core.loaders.stop()
        core.tasks.stop()
        await transport.stop()
        core.connect(synchronize: nil, dial: nil, cachesChanged: nil)
        core.logger.info("cache peer has left", metadata: [LogKey.peer.rawValue: "\(core.me)"])
    }

    /// Whether somebody may still fetch what a leaving peer has. Not where all others left on purpose, too; one that is held for dead may
    /// come back and ask.
    /// - Parameter others: who was placed beside it when it began to leave.
    static func mayHaveSuccessor(_ view: MembershipView?, _ others: [PeerID]) -> Bool {
        guard let view, !view.placed.contains(where: { $0.id != view.me }) else { return true }
        return others.contains { view.member($0)?.status.isPresent != true && view.member($0)?.status != .left }
    }

    private func followMembers(_ transport: PeerTransport) async {
        for await view in transport.views {
            // In a large cluster a placement takes long to build, and a rolling deploy changes the list all the time: at most a tenth of a
            // core for it. But keys that move wait until their peers agree, so not later than that.
            let began = ClusterClock.monotonicNanoseconds
            guard updater.update(core, view: view) else { continue }
            let took = ClusterClock.monotonicNanoseconds - began
            try? await Task.sleep(for: .nanoseconds(min(9 * took, 100_000_000)))
        }
    }
}

extension CachePeer {
    /// A cache of any `Codable` value, as JSON. Raw bytes, strings and buffers have overloads of their own, without a codec.
    public func cache<Key: CacheKey, Value: Codable & Sendable>(
        _ name: String, key: Key.Type, value: Value.Type, options: CacheOptions = .init(),
        loader: (@Sendable (Key) async throws -> Value?)? = nil
    ) -> Cache<Key, Value> {
        cache(name, key: key, value: value, codec: .json, options: options, loader: loader)
    }

    /// A cache of raw bytes.
    public func cache<Key: CacheKey>(
        _ name: String, key: Key.Type, value: [UInt8].Type, options: CacheOptions = .init(),
        loader: (@Sendable (Key) async throws -> [UInt8]?)? = nil
    ) -> Cache<Key, [UInt8]> {
        cache(name, key: key, value: value, codec: .bytes, options: options, loader: loader)
    }

    /// A cache of text, kept as UTF-8.
    public func cache<Key: CacheKey>(
        _ name: String, key: Key.Type, value: String.Type, options: CacheOptions = .init(),
        loader: (@Sendable (Key) async throws -> String?)? = nil
    ) -> Cache<Key, String> {
        cache(name, key: key, value: value, codec: .utf8, options: options, loader: loader)
    }

    /// A cache of buffers.
    public func cache<Key: CacheKey>(
        _ name: String, key: Key.Type, value: ByteBuffer.Type, options: CacheOptions = .init(),
        loader: (@Sendable (Key) async throws -> ByteBuffer?)? = nil
    ) -> Cache<Key, ByteBuffer> {
        cache(name, key: key, value: value, codec: .buffer, options: options, loader: loader)
    }
}

extension PeerID {
    /// 128 random bits.
    static func random() -> PeerID {
        PeerID(high: .random(in: 1 ... .max), low: .random(in: .min ... .max))
    }
}

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
    private let transport: PeerTransport
    private let updater = PlacementUpdater()
    /// That others held this peer for dead and it refuted: twice before it has been dealt with is once.
    private let returns: AsyncStream<Void>

    /// Checks the configuration; opens nothing.
    /// - Throws: `.invalidConfiguration`, with the property, its value and what to write instead.
    public convenience init(configuration: CachePeerConfiguration) throws { try self.init(configuration: configuration, me: .random()) }

    init(configuration: CachePeerConfiguration, me: PeerID) throws {
        let validated = try configuration.validated(me: me)
        core = try PeerCore(configuration: configuration, validated: validated, me: me)
        let (returns, hasReturned) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.returns = returns
        transport = PeerTransport(
            validated.transport, clock: core.clock, directory: core.directory, requestHandler: RequestServer(peer: core),
            onEvent: { [core] event, view in
                if case .selfRefuted = event { hasReturned.yield() }
                MembershipLog.write(event, to: core.logger)
                guard let event = PeerEvent(event) else { return }
                core.events.send(event) {
                    (view()?.members ?? []).filter(\.status.isPresent).map { PeerEvent.Member($0.record) }
                }
            })
    }

    // Caches and core hold each other; handles that the application still has keep theirs alive.
    deinit { core.releaseCaches() }

    /// This peer's id: 32 hexadecimal digits, new at every start.
    public var id: String { core.me.description }

    /// The address that other peers dial, as `host:port`; nil until the peer listens.
    public var address: String? { transport.view.flatMap { $0.member(core.me)?.record.address.description } }

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
            local: [ObjectIdentifier(Key.self), ObjectIdentifier(Value.self)])
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
    /// still answers for `leaveGrace`, and waits for at most `handOverTimeout` until its successors have what only it holds; a cancelled task
    /// makes it leave at once. A peer runs once.
    ///
    /// - Throws: `.addressUnavailable` with the system's error; `.invalidConfiguration` of a cache registered before; `.alreadyRunning`.
    public func run() async throws {
        guard core.beginStarting() else {
            throw PeerCacheError(.alreadyRunning, "run() was called before; make a new CachePeer to run again")
        }
        defer { core.setPhase(.stopped) }
        for cache in core.caches { if let failure = cache.failure, failure.code == .invalidConfiguration { throw failure } }
        if case .insecure? = core.configuration.security?.kind {
            core.logger.warning(
                "security is off: everybody who reaches the port can read and write the caches",
                metadata: [LogKey.cluster.rawValue: "\(core.configuration.cluster)"])
        }
        let address = try await start()
        core.logger.info(
            "cache peer runs",
            metadata: [
                LogKey.cluster.rawValue: "\(core.configuration.cluster)", LogKey.peer.rawValue: "\(core.me)",
                LogKey.address.rawValue: "\(address)",
            ])
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.transport.run() }
            group.addTask { await self.followMembers() }
            group.addTask { for await _ in self.returns { self.updater.returned(self.core) } }
            group.addTask { await self.core.replicator.run(self.core) }
            group.addTask {
                var housekeeping = Housekeeping(core: self.core)
                await housekeeping.run()
            }
            core.setPhase(.running)
            try? await gracefulShutdown()  // or cancellation
            await leave()
            group.cancelAll()
        }
        core.events.finish()
        for cache in core.caches { cache.stop() }
    }

    private func start() async throws -> PeerAddress {
        core.connect(
            synchronize: { [transport] in transport.synchronize(with: $0) },
            cachesChanged: { [updater, core] in updater.cachesChanged(core) })
        do {
            let address = try await transport.start()
            if let view = transport.view { updater.update(core, view: view) }
            return address
        } catch let error as BindError {
            core.connect(synchronize: nil, cachesChanged: nil)
            throw PeerCacheError(.addressUnavailable, "bind: cannot listen at \(error.address)", underlying: error.underlying)
        } catch {
            core.connect(synchronize: nil, cachesChanged: nil)
            await transport.stop()
            throw PeerCacheError(.invalidConfiguration, "\(error)", underlying: error)
        }
    }

    /// The others stop placing keys here and fetch what they lack, requests under way are answered, then everything ends.
    private func leave() async {
        core.setPhase(.stopping)
        transport.leave()
        let deadline = ClusterClock.monotonicNanoseconds &+ core.configuration.handOverTimeout.nanosecondsSaturating
        try? await Task.sleep(for: core.configuration.leaveGrace)
        while core.replicator.counts.owed + core.replicator.heldForOthers > 0, ClusterClock.monotonicNanoseconds < deadline, !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(10))
        }
        core.loaders.stop()
        core.tasks.stop()
        await transport.stop()
        core.connect(synchronize: nil, cachesChanged: nil)
        core.logger.info("cache peer has left", metadata: [LogKey.peer.rawValue: "\(core.me)"])
    }

    private func followMembers() async {
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

internal import PeerCacheCore
internal import PeerCacheTransport

/// A decoded value in the near store.
@usableFromInline
final class NearBox<Value: Sendable>: Sendable {
    @usableFromInline let value: Value

    init(_ value: Value) { self.value = value }
}

/// One cache's way to its near copies: plain pointers, so that a hit touches no reference count that threads share. Whoever uses it holds
/// the `CacheCore` that owns what they point at.
///
/// `@unchecked Sendable` is safe: what the pointers lead to may be used from every thread and lives as long as the core.
@usableFromInline
struct NearReader: @unchecked Sendable {  // unchecked: see above
    private let store: Unmanaged<NearStore>
    private let counters: Unmanaged<StripedCounters<CacheCounter>.Storage>
    private let secret: UnsafeRawPointer
    private let cache: UInt16
    private let sampler: Unmanaged<NearSampler>
    /// A hit is a sample when the count of its stripe has none of these bits.
    private let sampleMask: UInt64
    /// Near copies are made at all.
    @usableFromInline let isOn: Bool

    init(_ core: CacheCore) {
        store = .passUnretained(core.peer.near)
        counters = .passUnretained(core.counters.storage)
        secret = core.secret.address
        cache = core.index.value
        isOn = core.keepsNear
        sampler = .passUnretained(core.sampler)
        let sampling = UInt64(clamping: core.options.nearSampling)
        sampleMask = sampling == 0 ? .max : sampling == 1 ? 0 : UInt64.max >> UInt64((sampling - 1).leadingZeroBitCount)
    }

    /// A copy that stays in place until it is given back.
    @usableFromInline
    struct Hit {
        @usableFromInline let object: UnsafeRawPointer
        fileprivate let line: NearReaders.Line?
    }

    /// The near copy of a key, or nil. Give a hit back by ``leave(_:)`` at once: no suspension and no user code in between, but for copying
    /// the value.
    @usableFromInline
    func enter(_ key: UnsafeRawBufferPointer) -> Hit? {
        store._withUnsafeGuaranteedRef { store in
            // The coarse clock is behind by a timer tick of the system, some milliseconds, or more when the machine was held up; near the end
            // the exact one decides.
            let now = ClusterClock.coarseWallMilliseconds
            guard let hit = store.enter(hash: HashSecret.hash(key, secretAt: secret), cache: cache, key: key, nowMilliseconds: now) else {
                return nil
            }
            if hit.expires <= now &+ 250, hit.expires <= ClusterClock.wallMilliseconds {
                store.leave(hit)
                return nil
            }
            let count = counters._withUnsafeGuaranteedRef { $0.add(.nearHits, 1) }
            if count & sampleMask == 0 { sampler._withUnsafeGuaranteedRef { $0.note(key, clock: hit.clock) } }
            return Hit(object: hit.object, line: hit.line)
        }
    }

    @usableFromInline
    @inline(never)
    func leave(_ hit: Hit) {
        store._withUnsafeGuaranteedRef { $0.leave(NearStore.Hit(object: hit.object, expires: 0, clock: 0, line: hit.line)) }
    }
}

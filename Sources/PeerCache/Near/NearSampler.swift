internal import PeerCacheCore
internal import PeerCacheTransport

/// Measures how often near hits are stale: one hit in so many is noted with the stamp of its copy, and within 100 ms or so the key's owner is
/// asked for the stamp that it holds. The hit was stale if that one is newer than the copy's and not newer than the hit, by the hybrid clock.
///
/// Hits whose owner does not answer or holds nothing do not count. Clocks that differ can make a hit of the last moment before a write count
/// as stale, and a key that is written again before the owner is asked hides a stale hit.
final class NearSampler: Sendable {
    /// Samples that wait; more are dropped.
    private static let waitingMax = 64

    struct Sample: Sendable {
        var key: [UInt8]
        /// Clocks of the copy's stamp and of the hit.
        var clock: UInt64
        var hit: UInt64
    }
    private let waiting = Lock<[Sample]>([])
    private let hybrid: ClusterClock

    init(clock: ClusterClock) { hybrid = clock }

    /// Allocates: for one hit in many.
    func note(_ key: UnsafeRawBufferPointer, clock: UInt64) {
        let sample = Sample(key: Array(key), clock: clock, hit: hybrid.reading())
        _ = waiting.withLockIfAvailable { if $0.count < Self.waitingMax { $0.append(sample) } }
    }

    func take() -> [Sample] {
        waiting.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
    }
}

extension CacheCore {
    /// Compares the near hits that were noted. Called every 100 ms.
    func compareSamples() {
        let samples = sampler.take()
        if samples.isEmpty { return }
        peer.tasks.start {
            for sample in samples {
                guard let held = await self.heldByOwner(sample.key) else { continue }
                self.counters.add(.nearSamples)
                if held > sample.clock, held <= sample.hit { self.counters.add(.nearStale) }
            }
        }
    }

    /// Clock of the value or removal that the owner holds; nil: it does not answer, or holds nothing.
    private func heldByOwner(_ key: [UInt8]) async -> UInt64? {
        let hash = hash(key)
        guard let owner = peer.table.routing.owner(hash) else { return nil }
        if owner == peer.me { return key.withUnsafeBytes { peer.store.held(id(hash), $0.bytes) }?.stamp.clock }
        guard case .success(let response) = await answer(of: owner, key, hash, kind: .inspect), response.stamp > .zero else { return nil }
        return response.stamp.clock
    }
}

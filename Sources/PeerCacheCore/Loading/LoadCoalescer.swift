/// A key of a cache, in memory of its own.
package struct LoadKey: Hashable, Sendable {
    package var cache: UInt16
    package var bytes: [UInt8]
    /// The placement's digest: a load is not shared across a change of owners (`CONTRACT.md` §7).
    package var placement: UInt64

    package init(cache: UInt16, bytes: [UInt8], placement: UInt64 = 0) {
        self.cache = cache
        self.bytes = bytes
        self.placement = placement
    }
}

package typealias WaiterID = UInt64

/// Coalesces misses: one loader call per key, any number of waiters. Says what to start; starts nothing.
///
/// A caller joins a running load only if that began after the key last changed (`CONTRACT.md` I32); otherwise a new one starts, and the old
/// one goes on for its own waiters. Its result cannot be stored, because its lease is below the key's guard by then.
package struct LoadCoalescer: Sendable {
    package enum Input: Sendable {
        /// Nothing is held for the key. `lease` is a fresh stamp, used if a load starts; `guard` is the key's guard.
        case miss(LoadKey, waiter: WaiterID, lease: Stamp, guard: Stamp)
        /// The loader ended. Said once or more, also after the deadline.
        case finished(lease: Stamp)
        /// The caller was cancelled or has gone.
        case abandoned(waiter: WaiterID)
        /// Time has passed.
        case tick
    }

    package enum Effect: Sendable, Equatable {
        case startLoader(LoadKey, lease: Stamp)
        /// Give these waiters the result of the load.
        case resume([WaiterID], lease: Stamp)
        /// The loader did not end in time: fail these waiters and cancel it.
        case timeOut([WaiterID], lease: Stamp)
        /// Nobody waits any more.
        case cancelLoader(lease: Stamp)
        /// Too many loads run, or too many wait for this one.
        case refuse(WaiterID)
    }

    private struct Load: Sendable {
        let key: LoadKey
        let deadline: Instant
        /// A set: thousands may give up at once. In their order when they are resumed, as ids rise.
        var waiters: Set<WaiterID>
    }

    /// The load of a key that later callers may join.
    private var newest: [LoadKey: Stamp] = [:]
    private var loads: [Stamp: Load] = [:]
    private var leases: [WaiterID: Stamp] = [:]
    private let timeout: Duration
    private let loadsMax: Int
    private let waitersMax: Int

    /// - Parameters:
    ///   - timeout: a load that takes longer frees its key and fails its waiters.
    ///   - loadsMax: running loads. What is above is refused and not queued: loaders that read other caches would wait for each other.
    ///   - waitersMax: waiters of one load.
    package init(timeout: Duration, loadsMax: Int, waitersMax: Int = 65_536) {
        self.timeout = timeout
        self.loadsMax = loadsMax
        self.waitersMax = waitersMax
    }

    /// Loads that run.
    package var count: Int { loads.count }

    /// O(1), but O(loads) for `.tick` and O(n log n) for n waiters that are resumed.
    package mutating func handle(_ input: Input, now: Instant, into effects: inout [Effect]) {
        switch input {
        case .miss(let key, let waiter, let lease, let guardStamp): miss(key, waiter, lease, guardStamp, now, &effects)
        case .finished(let lease):
            // A loader that timed out reports too: its lease is unknown by then. Not an error.
            guard let load = remove(lease) else { return }
            effects.append(.resume(load.waiters.sorted(), lease: lease))
        case .abandoned(let waiter):
            guard let lease = leases.removeValue(forKey: waiter) else { return }
            loads[lease]?.waiters.remove(waiter)
            guard loads[lease]?.waiters.isEmpty == true else { return }
            _ = remove(lease)
            effects.append(.cancelLoader(lease: lease))
        case .tick:
            // Sorted: the order must not come from the dictionary.
            for lease in loads.filter({ $0.value.deadline <= now }).keys.sorted() {
                guard let load = remove(lease) else { continue }
                effects.append(.timeOut(load.waiters.sorted(), lease: lease))
            }
        }
    }

    private mutating func miss(
        _ key: LoadKey, _ waiter: WaiterID, _ lease: Stamp, _ guardStamp: Stamp, _ now: Instant, _ effects: inout [Effect]
    ) {
        if let running = newest[key], running > guardStamp, let waiting = loads[running]?.waiters.count {
            guard waiting < waitersMax else { return effects.append(.refuse(waiter)) }
            loads[running]?.waiters.insert(waiter)
            leases[waiter] = running
            return
        }
        guard loads.count < loadsMax else { return effects.append(.refuse(waiter)) }
        newest[key] = lease
        loads[lease] = Load(key: key, deadline: now + timeout, waiters: [waiter])
        leases[waiter] = lease
        effects.append(.startLoader(key, lease: lease))
    }

    private mutating func remove(_ lease: Stamp) -> Load? {
        guard let load = loads.removeValue(forKey: lease) else { return nil }
        if newest[load.key] == lease { newest[load.key] = nil }
        for waiter in load.waiters { leases[waiter] = nil }
        return load
    }
}

internal import PeerCacheCore
internal import PeerCacheTransport

/// What a peer knows and counts at one moment.
public struct PeerSnapshot: Sendable, Hashable, Codable {
    /// One entry of the member list.
    public struct Member: Sendable, Hashable, Codable {
        /// 32 hexadecimal digits.
        public var id: String
        /// As others dial it.
        public var address: String
        /// The pod's or host's name, as configured there.
        public var name: String
        /// alive, suspect, leaving, left or dead.
        public var status: String
        /// Slots it answers for, 0...16,384.
        public var ownedSlots: Int
    }

    /// The counters of one cache, totals since the start on this peer.
    public struct Cache: Sendable, Hashable, Codable {
        /// Reads answered by a near copy in this process.
        public var nearHits: UInt64
        /// Near hits that were compared with what the key's owner held (``CacheOptions/nearSampling``).
        public var nearSamples: UInt64
        /// Those whose owner held something newer at the time of the hit, or a removal.
        public var nearStale: UInt64
        /// Stale near hits in a million, as far as sampled; nil: none was.
        public var nearStalePPM: Double? { nearSamples == 0 ? nil : Double(nearStale) * 1_000_000 / Double(nearSamples) }
        /// Reads answered by this peer's store.
        public var ownHits: UInt64
        /// Reads answered by another peer, which may have loaded the value for that. The share of reads that loaded is ``loads`` of all peers
        /// by the reads of all.
        public var peerHits: UInt64
        /// Reads that were loaded here or had no value. Those that threw are counted nowhere.
        public var misses: UInt64
        /// Loader calls on this peer.
        public var loads: UInt64
        /// Loader calls that threw.
        public var loadErrors: UInt64
        /// Callers that shared another's load.
        public var coalescedWaits: UInt64
        /// Loads here because no holder answered; not stored.
        public var fallbackLoads: UInt64
        /// Reads that failed with `.overloaded`, as `limits.loadsMax` loaders ran on this peer or 65,536 callers waited for the same.
        public var loadsRefused: UInt64
        /// Loads that run now and whose callers have not given up.
        public var loadsRunning: Int
        /// Reads of other peers that this peer answered.
        public var served: UInt64
        /// Calls of `set`.
        public var sets: UInt64
        /// Calls of `remove`.
        public var removes: UInt64
        /// Entries in this peer's store.
        public var entries: Int
        /// Their bytes, overhead included.
        public var bytes: Int
    }

    /// This peer's id.
    public var id: String
    /// The cluster's name.
    public var cluster: String
    /// The member list, in id order, departed members included.
    public var members: [Member]
    /// Members that hold slots, this one included.
    public var memberCount: Int
    /// The placement's digest: equal on peers that agree.
    public var placementDigest: UInt64
    /// The caches by name.
    public var caches: [String: Cache]
    /// Bytes the store holds, overhead included.
    public var storeBytes: Int
    /// The store's limit in bytes.
    public var storeBytesMax: Int
    /// Entries in the store, all caches.
    public var entries: Int
    /// Entries dropped for room.
    public var evictions: UInt64
    /// Entries dropped because their time was over.
    public var expiries: UInt64
    /// Near copies.
    public var nearEntries: Int
    /// What this peer told others about their near copies of its keys: it is told to those who have copies.
    public var invalidationsSent: UInt64
    /// What this peer was told about its near copies.
    public var invalidationsReceived: UInt64
    /// How often it noticed that it had not been told all; near copies of that owner were misses from then on.
    public var invalidationGaps: UInt64
    /// Keys whose near copies elsewhere were dropped because this peer had no room to remember who has them.
    public var sharersDisplaced: UInt64
    /// Acknowledged writes of this process whose owner, another peer, does not have copies yet.
    public var journalEntries: Int
    /// Acknowledged writes that were not noted for want of room, or that no next owner could be told of: an older value may come back.
    public var journalOverflows: UInt64
    /// Slots this peer gains and has not gathered yet.
    public var slotsUnsettled: Int
    /// Slots it lost and keeps until the new owner has fetched them.
    public var slotsOwed: Int
    /// Slots of which another holder missed a write and has not been told yet; then it counts them as unsettled until it has fetched them.
    public var slotsDirty: Int
    /// Slots of strict caches on which this peer does not vote yet.
    public var slotsSilent: Int
    /// Loaders that run now, of all caches and those included whose callers have given up: at most `limits.loadsMax`.
    public var loadersRunning: Int
    /// Calls to other peers.
    public var peerRequests: UInt64
    /// Calls to other peers without an answer.
    public var peerErrors: UInt64
}

/// Whether this peer takes part in its cluster, as far as it knows that.
///
/// A peer that has tried the addresses of its discovery (for at most ten seconds) and found nobody is ready, alone; after ten seconds also one
/// whose names DNS does not know. But not as long as discovery fails in another way, nor as long as a peer at one of the addresses is of
/// another `cluster`, has another `security`, or a clock far off. Deploys wait for it before the
/// next peer goes: then no keys are lost. One that has lost the connection to a placed member is not ready, until it is back or the member is
/// dropped (ten seconds for a vanished host): do not let a load balancer take all instances out for that.
public struct PeerReadiness: Sendable, Hashable, Codable {
    /// Nothing stands against it.
    public var isReady: Bool
    /// What stands against it, for people.
    public var reasons: [String]
}

extension CachePeer {
    /// What this peer knows and counts now. O(members + slots); for dashboards and tests.
    public func snapshot() -> PeerSnapshot {
        let routing = core.table.routing, memory = core.store.memory, view = routing.view
        let owned = routing.placement.slotCounts(rank: 0), slots = core.replicator.counts
        return PeerSnapshot(
            id: core.me.description, cluster: core.configuration.cluster,
            members: (view?.members ?? []).map { member in
                PeerSnapshot.Member(
                    id: member.record.id.description, address: member.record.address.description, name: member.record.name,
                    status: "\(member.status)", ownedSlots: routing.placement.index(of: member.record.id).map { owned[$0] } ?? 0)
            },
            memberCount: view?.placed.count ?? 0, placementDigest: routing.digest,
            caches: Dictionary(uniqueKeysWithValues: core.caches.map { ($0.name, PeerSnapshot.Cache($0)) }),
            storeBytes: memory.counted, storeBytesMax: memory.limit,
            entries: memory.entries, evictions: UInt64(memory.evictions), expiries: UInt64(memory.expiries),
            nearEntries: core.near.usage.entries,
            invalidationsSent: core.counters.value(.invalidationsSent), invalidationsReceived: core.counters.value(.invalidationsReceived),
            invalidationGaps: core.counters.value(.invalidationGaps), sharersDisplaced: core.counters.value(.sharersDisplaced),
            journalEntries: core.safety.journalCount, journalOverflows: core.counters.value(.journalOverflows),
            slotsUnsettled: slots.unsettled, slotsOwed: slots.owed, slotsDirty: slots.dirty,
            slotsSilent: core.replicator.silentCount, loadersRunning: core.loaders.count,
            peerRequests: core.counters.value(.peerRequests),
            peerErrors: core.counters.value(.peerErrors))
    }

    /// Whether this peer takes part: it runs, it is connected to every placed member, and it has gathered what it holds.
    public var readiness: PeerReadiness {
        var reasons: [String] = []
        if core.phase != .running { reasons.append("the peer is \(core.phase)") }
        let routing = core.table.routing
        if routing.view == nil { reasons.append("no member list yet") }
        if core.isObserver {
            if core.directory.all().isEmpty { reasons.append("no connection to any peer") }
            if routing.placement.isEmpty { reasons.append("no peer that holds slots is known") }
            return PeerReadiness(isReady: reasons.isEmpty, reasons: reasons)
        }
        if routing.view != nil, routing.placement.isEmpty { reasons.append("no peer holds slots: all have weight 0 or are leaving") }
        for member in routing.view?.placed ?? [] where member.id != core.me && core.directory.connection(to: member.id) == nil {
            reasons.append("no connection to peer \(member.id)")
        }
        switch transport.solitude {
        case .searching: reasons.append("the addresses that `discovery` names are being tried")
        case .undiscovered: reasons.append("`discovery` has not answered yet: the log says why")
        case nil where core.phase == .running && !core.hasSearched: reasons.append("other peers have been found and are being placed")
        case .foreign(let address, let reason): reasons.append("no other peer was found, and \(address) answers: \(reason.advice)")
        case nil: break
        }
        let slots = core.replicator.counts
        if slots.unsettled > 0 { reasons.append("\(slots.unsettled) slots are being gathered") }
        let silent = core.replicator.silentCount
        if silent > 0 { reasons.append("\(silent) slots of strict caches have no vote of this peer yet") }
        if slots.dirty > 0 { reasons.append("\(slots.dirty) slots have a copy that missed a write") }
        return PeerReadiness(isReady: reasons.isEmpty, reasons: reasons)
    }
}

extension PeerSnapshot.Cache {
    init(_ cache: CacheCore) {
        let counters = cache.counters, usage = cache.peer.store.usage(of: cache.index)
        self.init(
            nearHits: counters.value(.nearHits), nearSamples: counters.value(.nearSamples), nearStale: counters.value(.nearStale),
            ownHits: counters.value(.ownHits), peerHits: counters.value(.peerHits),
            misses: counters.value(.misses), loads: counters.value(.loads),
            loadErrors: counters.value(.loadErrors), coalescedWaits: counters.value(.coalescedWaits),
            fallbackLoads: counters.value(.fallbackLoads), loadsRefused: counters.value(.loadsRefused),
            loadsRunning: cache.loadsRunning, served: counters.value(.served),
            sets: counters.value(.sets), removes: counters.value(.removes), entries: usage.entries, bytes: usage.bytes)
    }
}

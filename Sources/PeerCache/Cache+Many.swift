internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

extension Cache {
    private struct Wanted: Sendable {
        let key: Key
        let bytes: [UInt8]
        let hash: UInt64
        /// Of the near store, from before the search.
        let token: NearStore.Token?
    }

    /// Loads and single requests that one `getMany` has under way at a time.
    private static var singlesMax: Int { 8 }
    /// Bytes of keys in one request, which has to fit a frame.
    private static var batchBytesMax: Int { 128 * 1024 }

    /// Own keys from the own store, others in one request per owner; what that leaves open is asked for one by one.
    func findMany(_ keys: [Key]) async throws -> [(Key, Value)] {
        var values: [(Key, Value)] = []
        var single: [Wanted] = []
        var byOwner: [PeerID: [Wanted]] = [:]
        let routing = core.peer.table.routing
        for key in keys {
            let bytes = key.keyBytes
            guard bytes.count <= WireLimits.keyBytesMax else { try await prepare(bytes); continue }
            let hash = core.hash(bytes)
            let wanted = Wanted(key: key, bytes: bytes, hash: hash, token: core.nearToken(hash))
            if core.scheme != nil {
                single.append(wanted)
            } else if let owner = routing.owner(wanted.hash), owner != core.peer.me {
                byOwner[owner, default: []].append(wanted)
            } else if core.isServing(hash), let found = core.heldForReader(bytes, hash),
                let value = value(of: found, bytes, hash, token: wanted.token)
            {
                core.counters.add(.ownHits)
                values.append((key, value))
            } else {
                single.append(wanted)
            }
        }
        var batches: [(PeerID, [Wanted])] = []
        for (owner, wanted) in byOwner.sorted(by: { $0.key < $1.key }) {
            for batch in Self.batches(of: wanted) { batches.append((owner, batch)) }
        }
        if batches.count == 1, single.isEmpty {
            let (found, open) = try await ask(batches[0].0, batches[0].1)
            return values + found + (try await findSingly(open))
        }
        return try await withThrowingTaskGroup(of: [(Key, Value)].self) { group in
            for (owner, wanted) in batches {
                group.addTask {
                    let (found, open) = try await ask(owner, wanted)
                    return found + (try await findSingly(open))
                }
            }
            let rest = single
            if !rest.isEmpty { group.addTask { try await findSingly(rest) } }
            for try await found in group { values += found }
            return values
        }
    }

    private static func batches(of wanted: [Wanted]) -> [[Wanted]] {
        var batches: [[Wanted]] = [], bytes = 0
        for wanted in wanted {
            bytes += wanted.bytes.count + 8
            if batches.isEmpty || bytes > batchBytesMax || (batches.last?.count ?? 0) >= WireLimits.keysMax {
                batches.append([])
                bytes = wanted.bytes.count + 8
            }
            batches[batches.count - 1].append(wanted)
        }
        return batches
    }

    /// One request. Returns what was answered and what must be asked for alone.
    private func ask(_ owner: PeerID, _ wanted: [Wanted]) async throws -> (found: [(Key, Value)], open: [Wanted]) {
        let answer = await core.peer.call(owner, patience: core.loadPatience) { id, milliseconds, frames in
            core.withRequest(.getMany, []) { request in
                request.id = id
                request.deadlineMilliseconds = milliseconds
                if core.keepsNear { request.flags = .near }
                Self.withPointers(to: wanted) { keys in
                    request.keys = keys
                    frames.append(request)
                }
            }
        }
        if case .failure(.cancelled) = answer { throw CancellationError() }
        guard case .success(let response) = answer, response.status == .ok, response.items.count == wanted.count else {
            return ([], wanted)
        }
        let isCacheable = core.keepsNear && core.peer.coherence.mayKeep(response.near, from: owner)
        var found: [(Key, Value)] = []
        var open: [Wanted] = []
        for (wanted, item) in zip(wanted, response.items) {
            switch item.status {
            case .ok:
                let answer = Found(
                    bytes: item.value, object: nil, stamp: item.stamp, ttlMilliseconds: item.ttlMilliseconds, source: .peer,
                    isCacheable: isCacheable)
                if let value = value(of: answer, wanted.bytes, wanted.hash, token: wanted.token) {
                    core.counters.add(.peerHits)
                    found.append((wanted.key, value))
                } else {
                    open.append(wanted)
                }
            case .absent: core.counters.add(.misses)
            default: open.append(wanted)
            }
        }
        return (found, open)
    }

    private func findSingly(_ wanted: [Wanted]) async throws -> [(Key, Value)] {
        if wanted.isEmpty { return [] }
        return try await withThrowingTaskGroup(of: (Key, Value)?.self) { group in
            var values: [(Key, Value)] = []
            for (index, wanted) in wanted.enumerated() {
                if index >= Self.singlesMax, let found = try await group.next() ?? nil { values.append(found) }
                group.addTask { try await get(wanted.key).map { (wanted.key, $0) } }
            }
            for try await found in group { if let found { values.append(found) } }
            return values
        }
    }

    /// Pointers to all keys, valid during `body`: they lie in one block.
    private static func withPointers(to wanted: [Wanted], _ body: ([UnsafeRawBufferPointer]) -> Void) {
        var block: [UInt8] = []
        block.reserveCapacity(wanted.reduce(0) { $0 + $1.bytes.count })
        for wanted in wanted { block += wanted.bytes }
        block.withUnsafeBytes { bytes in
            var offset = 0
            body(
                wanted.map { wanted in
                    defer { offset += wanted.bytes.count }
                    return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + wanted.bytes.count])
                })
        }
    }
}

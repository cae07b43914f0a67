internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

extension Cache {
    /// Keys of one request, their bytes one after another.
    private struct Batch: Sendable {
        struct Entry: Sendable {
            let key: Key
            /// Of its bytes, which begin where those of the entry before end.
            let end: Int
            let hash: UInt64
            /// Of the near store, from before the search.
            let token: NearStore.Token?
        }
        let owner: PeerID
        var entries: [Entry] = []
        var bytes: [UInt8] = []

        func bytes(_ index: Int) -> Range<Int> { (index == 0 ? 0 : entries[index - 1].end)..<entries[index].end }
    }

    /// Loads and single requests that one `getMany` has under way at a time.
    private static var singlesMax: Int { 8 }
    /// Bytes of keys in one request, which has to fit a frame.
    private static var batchBytesMax: Int { 128 * 1024 }

    /// Own keys from the own store, others in one request per owner; what that leaves open is asked for one by one.
    func findMany(_ keys: [Key]) async throws -> [(Key, Value)] {
        var values: [(Key, Value)] = []
        var single: [Key] = []
        var batches: [Batch] = []
        var lastBatch: [PeerID: Int] = [:]  // looked up, never iterated
        let routing = core.peer.table.routing
        for key in keys {
            let (bytesCount, hash) = key.withKeyBytes { ($0.count, core.secret.hash($0)) }
            guard bytesCount <= WireLimits.keyBytesMax else { try await prepare(key.keyBytes); continue }
            if core.scheme != nil {
                single.append(key)
            } else if let owner = routing.owner(hash), owner != core.peer.me {
                if let last = lastBatch[owner], batches[last].entries.count < WireLimits.keysMax,
                    batches[last].bytes.count + 8 * batches[last].entries.count + bytesCount <= Self.batchBytesMax
                {
                    add(key, hash, to: &batches[last])
                } else {
                    lastBatch[owner] = batches.count
                    batches.append(Batch(owner: owner))
                    add(key, hash, to: &batches[batches.count - 1])
                }
            } else {
                let bytes = key.keyBytes, token = core.nearToken(hash)
                if core.isServing(hash), let found = core.heldForReader(bytes, hash),
                    let value = value(of: found, bytes, hash, token: token)
                {
                    core.counters.add(.ownHits)
                    values.append((key, value))
                } else {
                    single.append(key)
                }
            }
        }
        if batches.count == 1, single.isEmpty {
            let (found, open) = try await ask(batches[0])
            return values + found + (try await findSingly(open))
        }
        return try await withThrowingTaskGroup(of: [(Key, Value)].self) { group in
            for batch in batches {
                group.addTask {
                    let (found, open) = try await ask(batch)
                    return found + (try await findSingly(open))
                }
            }
            let rest = single
            if !rest.isEmpty { group.addTask { try await findSingly(rest) } }
            for try await found in group { values += found }
            return values
        }
    }

    private func add(_ key: Key, _ hash: UInt64, to batch: inout Batch) {
        let start = batch.bytes.count
        key.withKeyBytes { bytes in
            batch.bytes.removeLast(batch.bytes.count - start)  // a key type of the user may call this twice
            batch.bytes.append(contentsOf: bytes)
        }
        batch.entries.append(.init(key: key, end: batch.bytes.count, hash: hash, token: core.nearToken(hash)))
    }

    /// One request. Returns what was answered and what must be asked for alone.
    private func ask(_ batch: Batch) async throws -> (found: [(Key, Value)], open: [Key]) {
        let answer = await core.peer.call(batch.owner, patience: core.loadPatience) { id, milliseconds, frames in
            core.withRequest(.getMany, []) { request in
                request.id = id
                request.deadlineMilliseconds = milliseconds
                if core.keepsNear { request.flags = .near }
                batch.bytes.withUnsafeBytes { bytes in
                    request.keys = batch.entries.indices.map { UnsafeRawBufferPointer(rebasing: bytes[batch.bytes($0)]) }
                    frames.append(request)
                }
            }
        }
        if case .failure(.cancelled) = answer { throw CancellationError() }
        guard case .success(let response) = answer, response.status == .ok, response.items.count == batch.entries.count else {
            return ([], batch.entries.map(\.key))
        }
        let isCacheable = core.keepsNear && core.peer.coherence.mayKeep(response.near, from: batch.owner)
        var found: [(Key, Value)] = []
        found.reserveCapacity(batch.entries.count)
        var open: [Key] = []
        var hits: UInt64 = 0, misses: UInt64 = 0
        for (index, item) in response.items.enumerated() {
            let entry = batch.entries[index]
            switch item.status {
            case .ok:
                let answer = Found(
                    bytes: item.value, object: nil, stamp: item.stamp, ttlMilliseconds: item.ttlMilliseconds, source: .peer,
                    isCacheable: isCacheable)
                let bytes = isCacheable ? Array(batch.bytes[batch.bytes(index)]) : []
                if let value = value(of: answer, bytes, entry.hash, token: entry.token) {
                    hits += 1
                    found.append((entry.key, value))
                } else {
                    open.append(entry.key)
                }
            case .absent: misses += 1
            default: open.append(entry.key)
            }
        }
        core.counters.add(.peerHits, hits)
        core.counters.add(.misses, misses)
        return (found, open)
    }

    private func findSingly(_ keys: [Key]) async throws -> [(Key, Value)] {
        if keys.isEmpty { return [] }
        return try await withThrowingTaskGroup(of: (Key, Value)?.self) { group in
            var values: [(Key, Value)] = []
            for (index, key) in keys.enumerated() {
                if index >= Self.singlesMax, let found = try await group.next() ?? nil { values.append(found) }
                group.addTask { try await get(key).map { (key, $0) } }
            }
            for try await found in group { if let found { values.append(found) } }
            return values
        }
    }
}

internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

/// Many keys at once: own ones from the own store, others in one request per owner.
extension CacheCore {
    /// Bytes of keys in one request, which has to fit a frame.
    private static let batchBytesMax = 128 * 1024

    private struct Batch: Sendable {
        let owner: PeerID
        /// Of the keys, as the caller counts them.
        var indices: [Int] = []
        var bytes = 0
    }

    /// What is known of each of the keys; those that are left open are to be asked for alone.
    func findMany(_ keys: KeyList) async throws -> [ManyAnswer] {
        var answers = [ManyAnswer](repeating: .open, count: keys.count)
        if scheme != nil { return answers }
        var batches: [Batch] = []
        // Of the placement's members; the batch under way of each owner is looked up, never iterated.
        var last: [Int: Int] = [:]
        var (lastOwner, lastBatch) = (-1, 0)
        var hashes = [UInt64](repeating: 0, count: keys.count)
        var tokens = [NearStore.Token?](repeating: nil, count: keepsNear ? keys.count : 0)
        let routing = peer.table.routing
        for index in 0..<keys.count {
            let range = keys[index]
            guard range.count <= WireLimits.keyBytesMax else { continue }  // it throws when it is asked for alone
            let hash = keys.bytes.withUnsafeBytes { secret.hash(UnsafeRawBufferPointer(rebasing: $0[range])) }
            hashes[index] = hash
            if keepsNear { tokens[index] = nearToken(hash) }
            guard let owner = routing.placement.ownerIndex(hash: hash), owner != routing.myIndex else {
                let key = Array(keys.bytes[range])
                if isServing(hash), let found = heldForReader(key, hash) {
                    counters.add(.ownHits)
                    answers[index] =
                        keepsNear ? .other(ManyFound(found: found, key: key, hash: hash, token: tokens[index])) : .bytes(found.bytes)
                }
                continue
            }
            if owner != lastOwner { (lastOwner, lastBatch) = (owner, last[owner] ?? batches.count) }
            if lastBatch < batches.count,
                batches[lastBatch].indices.count >= WireLimits.keysMax
                    || batches[lastBatch].bytes + range.count > Self.batchBytesMax
            {
                lastBatch = batches.count
            }
            if lastBatch == batches.count {
                batches.append(Batch(owner: routing.placement.members[owner].id))
                last[owner] = lastBatch
            }
            batches[lastBatch].indices.append(index)
            batches[lastBatch].bytes += range.count + 8
        }
        if batches.isEmpty { return answers }
        let (allHashes, allTokens) = (hashes, tokens)
        if batches.count == 1 {
            for (index, answer) in zip(batches[0].indices, try await ask(batches[0], keys, allHashes, allTokens)) {
                answers[index] = answer
            }
            return answers
        }
        return try await withThrowingTaskGroup(of: (Batch, [ManyAnswer]).self) { group in
            for batch in batches { group.addTask { (batch, try await self.ask(batch, keys, allHashes, allTokens)) } }
            for try await (batch, found) in group { for (index, answer) in zip(batch.indices, found) { answers[index] = answer } }
            return answers
        }
    }

    /// One request; an answer for each of its keys.
    private func ask(_ batch: Batch, _ keys: KeyList, _ hashes: [UInt64], _ tokens: [NearStore.Token?]) async throws -> [ManyAnswer] {
        let answer = await peer.call(batch.owner, patience: loadPatience) { id, milliseconds, frames in
            withRequest(.getMany, []) { request in
                request.id = id
                request.deadlineMilliseconds = milliseconds
                if keepsNear { request.flags = .near }
                keys.bytes.withUnsafeBytes { bytes in
                    request.keys = batch.indices.map { UnsafeRawBufferPointer(rebasing: bytes[keys[$0]]) }
                    frames.append(request)
                }
            }
        }
        if case .failure(.cancelled) = answer { throw CancellationError() }
        guard case .success(let response) = answer, response.status == .ok, response.items.count == batch.indices.count else {
            return [ManyAnswer](repeating: .open, count: batch.indices.count)
        }
        let isCacheable = keepsNear && peer.coherence.mayKeep(response.near, from: batch.owner)
        var hits: UInt64 = 0, misses: UInt64 = 0
        defer {
            counters.add(.peerHits, hits)
            counters.add(.misses, misses)
        }
        return zip(batch.indices, response.items).map { index, item in
            switch item.status {
            case .ok:
                hits += 1
                guard isCacheable else { return .bytes(item.value) }
                let found = Found(
                    bytes: item.value, object: nil, stamp: item.stamp, ttlMilliseconds: item.ttlMilliseconds, source: .peer)
                return .other(ManyFound(found: found, key: Array(keys.bytes[keys[index]]), hash: hashes[index], token: tokens[index]))
            case .absent:
                misses += 1
                return .absent
            default: return .open
            }
        }
    }
}

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
        /// As the request has them.
        var keys: [UInt8] = []
    }

    /// What a near copy of a key needs to know.
    private struct NearPlace {
        var hash: UInt64
        /// From before the search.
        var token: NearStore.Token?
    }

    /// A key that this peer owns and does not hold.
    private struct Missing: Sendable {
        let index: Int
        let key: [UInt8]
        let hash: UInt64
    }

    private enum Part: Sendable {
        case batch(Batch, PeerResponse?)
        case own(Missing, Found?)
    }

    /// Own keys that one call loads at a time; other owners load what is missing there meanwhile.
    private static let ownLoadsMax = 64

    /// What is known of each of the keys; those that are left open are to be asked for alone.
    func findMany(_ keys: KeyList) async throws -> [ManyAnswer] {
        var answers = [ManyAnswer](repeating: .open, count: keys.count)
        if scheme != nil { return answers }
        var places: [NearPlace] = []
        let (batches, missing) = findOwn(keys, &answers, &places)
        if batches.count == 1, missing.isEmpty {
            take(try await ask(batches[0]), batches[0], keys, places, &answers)
        } else if !batches.isEmpty || !missing.isEmpty {
            try await withThrowingTaskGroup(of: Part.self) { group in
                for batch in batches { group.addTask { .batch(batch, try await self.ask(batch)) } }
                var rest = missing.makeIterator()
                func findNext(_ group: inout ThrowingTaskGroup<Part, any Error>) {
                    guard let next = rest.next() else { return }
                    group.addTask { .own(next, try await self.find(next.key, next.hash)) }
                }
                for _ in 0..<Self.ownLoadsMax { findNext(&group) }
                while let part = try await group.next() {
                    switch part {
                    case .batch(let batch, let response): take(response, batch, keys, places, &answers)
                    case .own(let own, let found):
                        let token = keepsNear ? places[own.index].token : nil
                        answers[own.index] = found.map { .other(ManyFound($0, own.key, own.hash, token)) } ?? .absent
                        findNext(&group)
                    }
                }
            }
        }
        return answers
    }

    /// Takes what the own store holds of the keys that this peer owns.
    /// - Parameter places: of all keys, if near copies are kept.
    /// - Returns: the others: what other owners are to be asked for, and own keys that are not held.
    private func findOwn(
        _ keys: KeyList, _ answers: inout [ManyAnswer], _ places: inout [NearPlace]
    ) -> (batches: [Batch], missing: [Missing]) {
        var batches: [Batch] = [], missing: [Missing] = []
        // Of the placement's members; the batch under way of each owner is looked up, never iterated.
        var last: [Int: Int] = [:]
        var (lastOwner, lastBatch) = (-1, 0)
        if keepsNear { places = Array(repeating: NearPlace(hash: 0), count: keys.count) }
        let routing = peer.table.routing, placement = routing.placement, me = routing.myIndex
        keys.bytes.withUnsafeBytes { bytes in
            for index in 0..<keys.count {
                let range = keys[index]
                guard range.count <= WireLimits.keyBytesMax else { continue }  // it throws when it is asked for alone
                let key = UnsafeRawBufferPointer(rebasing: bytes[range]), hash = secret.hash(key)
                if keepsNear { places[index] = NearPlace(hash: hash, token: nearToken(hash)) }
                guard let owner = placement.ownerIndex(hash: hash), owner != me else {
                    let key = Array(key)
                    if isServing(hash), let found = heldForReader(key, hash) {
                        counters.add(.ownHits)
                        answers[index] = keepsNear ? .other(ManyFound(found, key, hash, places[index].token)) : .bytes(found.bytes)
                    } else {
                        missing.append(Missing(index: index, key: key, hash: hash))
                    }
                    continue
                }
                if owner != lastOwner { (lastOwner, lastBatch) = (owner, last[owner] ?? batches.count) }
                if lastBatch < batches.count,
                    batches[lastBatch].indices.count >= WireLimits.keysMax
                        || batches[lastBatch].keys.count + range.count > Self.batchBytesMax
                {
                    lastBatch = batches.count
                }
                if lastBatch == batches.count {
                    batches.append(Batch(owner: placement.members[owner].id))
                    last[owner] = lastBatch
                }
                batches[lastBatch].indices.append(index)
                WireKeys.append(key, to: &batches[lastBatch].keys)
            }
        }
        return (batches, missing)
    }

    /// One request. Nil: its keys are to be asked for alone.
    /// - Throws: when the loader did, there.
    private func ask(_ batch: Batch) async throws -> PeerResponse? {
        let answer = await peer.call(batch.owner, patience: loadPatience) { id, milliseconds, frames in
            withRequest(.getMany, []) { request in
                request.id = id
                request.deadlineMilliseconds = milliseconds
                if keepsNear { request.flags = .near }
                batch.keys.withUnsafeBytes { keys in
                    request.value = keys
                    frames.append(request)
                }
            }
        }
        if case .failure(.cancelled) = answer { throw CancellationError() }
        guard case .success(let response) = answer else { return nil }
        switch response.status {
        case .ok: return response
        case .loadFailed, .timedOut: throw error(of: response, from: batch.owner)
        default: return nil
        }
    }

    private func take(
        _ response: PeerResponse?, _ batch: Batch, _ keys: KeyList, _ places: [NearPlace], _ answers: inout [ManyAnswer]
    ) {
        guard let response else { return }
        let isCacheable = keepsNear && peer.coherence.mayKeep(response.near, from: batch.owner)
        let block = response.value
        var hits: UInt64 = 0, misses: UInt64 = 0
        block.withUnsafeReadableBytes { bytes in
            for item in WireItems(bytes) where batch.indices.indices.contains(item.index) {
                let index = batch.indices[item.index]
                guard let range = item.value else {
                    if item.isUnloaded, loader != nil { continue }
                    misses += 1
                    answers[index] = .absent
                    continue
                }
                guard let value = block.getSlice(at: block.readerIndex + range.lowerBound, length: range.count) else { continue }
                hits += 1
                guard isCacheable, let life = item.life else {
                    answers[index] = .bytes(value)
                    continue
                }
                // In memory of its own: a near copy must not keep the other values.
                let copy = ByteBuffer(bytes: value.readableBytesView)
                let found = Found(
                    bytes: copy, object: nil, stamp: life.stamp, ttlMilliseconds: life.ttlMilliseconds, source: .peer)
                answers[index] = .other(ManyFound(found, Array(keys.bytes[keys[index]]), places[index].hash, places[index].token))
            }
        }
        counters.add(.peerHits, hits)
        counters.add(.misses, misses)
    }
}

internal import NIOCore
internal import PeerCacheCore
internal import PeerCacheTransport

extension CacheCore {
    /// `removeAll` (`CONTRACT.md` §4): round 1 gathers the clocks of all members, so that round 2's stamp is above everything written before.
    /// A change of members repeats round 2 with the same stamp.
    func removeAll() async throws {
        let deadline = ClusterClock.monotonicNanoseconds &+ peer.configuration.requestTimeout.nanosecondsSaturating
        _ = await askMembers(.readClock, stamp: .zero)  // whoever does not answer is found by round 2
        let stamp = peer.mint(above: .zero)
        while true {
            let digest = peer.table.routing.digest
            clearHere(upTo: stamp)
            let isComplete = await askMembers(.clearCache, stamp: stamp)
            if isComplete, peer.table.routing.digest == digest { return }
            try Task.checkCancellation()
            guard ClusterClock.monotonicNanoseconds < deadline else {
                throw PeerCacheError(
                    .indeterminate, "cache \"\(name)\": not every member has confirmed; entries there may be served until they expire")
            }
            _ = await peer.table.waitForChange(
                of: digest, deadlineNanoseconds: min(deadline, ClusterClock.monotonicNanoseconds &+ 100_000_000))
        }
    }

    /// Entries and near copies at or below the stamp are misses from now on; loads with a lease below it are not stored.
    func clearHere(upTo stamp: Stamp) {
        peer.store.raiseCacheFloor(index, to: stamp)
        peer.near.raiseCacheFloor(index.value, to: stamp)
    }

    /// Asks all placed members but this peer. True: all have confirmed.
    private func askMembers(_ kind: RequestKind, stamp: Stamp) async -> Bool {
        let members = peer.table.routing.view?.members.filter { $0.status.isPlaced && $0.record.id != peer.me } ?? []
        return await withTaskGroup(of: Bool.self) { group in
            for member in members {
                group.addTask {
                    let answer = await self.peer.call(member.record.id, patience: self.peer.requestPatience) { id, milliseconds, frames in
                        self.withRequest(kind, []) { request in
                            request.id = id
                            request.stamp = stamp
                            request.deadlineMilliseconds = milliseconds
                            frames.append(request)
                        }
                    }
                    if case .success(let response) = answer { return response.status == .ok }
                    return false
                }
            }
            return await group.allSatisfy { $0 }
        }
    }

    /// What was found cannot be decoded: it goes, and the key is loaded again.
    func replace(undecodable found: Found, _ key: [UInt8], _ hash: UInt64) async throws -> Found? {
        // Removing writes a tombstone above the entry, on all holders; the load that follows is newer still.
        _ = try await write(key, hash, .tombstone())
        return try await find(key, hash)
    }
}

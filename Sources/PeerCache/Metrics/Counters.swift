/// What one cache counts on this peer.
enum CacheCounter: Int, CaseIterable, Sendable {
    /// Reads answered by a near copy, by the own store, by another peer.
    case nearHits, ownHits, peerHits
    /// Reads that no copy answered: loaded, or absent.
    case misses
    /// Loader calls on this peer, those that threw or timed out, and callers that shared another's call.
    case loads, loadErrors, coalescedWaits
    /// Reads that found too many loaders running, or too many waiting for the same.
    case loadsRefused
    /// Loads at the caller because no holder answered; not stored.
    case fallbackLoads
    /// Requests of other peers for this cache.
    case served
    case sets, removes
    /// Stored bytes that the codec could not decode.
    case decodeFailures
    /// Fills that lost against a newer write, removal or floor.
    case fillsForgotten
    /// Loaded values that are too large to be stored.
    case valuesTooLarge
    /// Near hits that were compared with what the owner held, and those that were older.
    case nearSamples, nearStale
}

/// What the peer counts as a whole.
enum PeerCounter: Int, CaseIterable, Sendable {
    /// Calls to other peers, and those without an answer.
    case peerRequests, peerErrors
    /// Copies sent, and those that a full queue or a missing connection dropped.
    case copiesSent, copiesDropped
    /// Invalidations of near copies told and heard, losses of them noticed here, and keys whose sharers lost their copies for want of room.
    case invalidationsSent, invalidationsReceived, invalidationGaps, sharersDisplaced
    /// Acknowledged writes that the journal had no room for or no next owner could be told of, and those that one was told of.
    case journalOverflows, journalReplays
    /// Writes refused because their stamp was too far ahead.
    case clockSkew
    /// Buckets of slots that were made equal with another holder's, and entries shipped for that.
    case bucketsRepaired, entriesShipped
    /// Reads that another holder answered while a slot was being gathered.
    case warmHits
    /// Bytes of pages taken in.
    case bytesPulled
    /// Voters of strict caches that a read brought up to the value it found.
    case writeBacks
}

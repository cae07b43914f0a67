/// What a request asks for. Numbers are on the wire: added, never changed.
package enum RequestKind: UInt32, Sendable {
    /// The value of one key: held, or loaded by the owner.
    case get = 1
    /// Values of many keys of one owner; the value is a ``WireKeys``, the answer's value a ``WireItems``, without large values.
    case getMany = 2
    /// Store a value; the owner mints the stamp.
    case set = 3
    /// Remove a key; the owner mints the stamp.
    case remove = 4
    /// A copy from the owner: value or tombstone with its stamp.
    case apply = 5
    /// First round of `removeAll`: answers only, so that the caller merges every member's clock.
    case readClock = 6
    /// Second round of `removeAll`: raise the floor of the cache to the stamp.
    case clearCache = 7
    /// What the peer holds for a key, without value and without loading.
    case inspect = 8
    /// The sender owns or gains slots under `placement`, or has lost them; the value is a `Claim`, the answer's value a `ClaimAnswer`.
    case claim = 9
    /// What is held of some slots; the value is a `Pull`, the answer's value a `Page`.
    case pull = 10
    /// Which buckets differ; the value is a `Compare`, the answer's value `Differences`.
    case compare = 11
    /// Strict caches: leave the placements of before; the value is a `Seal`, the answer's value a `SealAnswer`.
    case seal = 12
    /// Strict caches: what a voter knows of a key under `placement`.
    case read = 13
    /// Strict caches: take the content in with its stamp, and count as a voter under `placement`.
    case store = 14
    /// Remove a key if what is held is older than the stamp: its former owner had acknowledged that and may have died before it had a copy.
    case removeOlder = 20

    /// The request's value is one of the application's.
    package var bringsValue: Bool { self == .set || self == .apply || self == .store }
}

/// Bits of `Request.flags`.
package struct RequestFlags: OptionSet, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// No bit. Cheaper than the literal `[]`, which calls an unspecialised initialiser at every use.
    package static var none: RequestFlags { RequestFlags(rawValue: 0) }
    /// The owner does not answer: a holder answers what it holds and never loads.
    package static let fallback = RequestFlags(rawValue: 1)
    /// `apply`: the content is a tombstone.
    package static let tombstone = RequestFlags(rawValue: 2)
    /// `apply`: the content came from a loader and competes for admission.
    package static let fill = RequestFlags(rawValue: 4)
    /// With `fallback`: the asker gathers the slot, so whatever is held is of use, and so is the stamp of what was dropped or removed. `pull`:
    /// for fast caches; slots that are held for strict ones alone are not held.
    package static let gathering = RequestFlags(rawValue: 8)
    /// `read`: the value itself is wanted.
    package static let value = RequestFlags(rawValue: 16)
    /// `get`, `getMany`, `set`: the caller keeps a near copy, if it will be told of changes.
    package static let near = RequestFlags(rawValue: 1 << 16)
    /// Every bit this version knows.
    package static let all: RequestFlags = [.fallback, .tombstone, .fill, .gathering, .value, .near]
}

/// How a request ended. Numbers are on the wire: added, never changed.
package enum ResponseStatus: UInt32, Sendable {
    /// A value, or: stored.
    case ok = 1
    /// The key has no value: the loader says that it does not exist, or nothing is held and nothing can load.
    case absent = 2
    /// The receiver is not the owner in its own placement, whose digest is `placement`, or with the same digest not yet.
    case notOwner = 3
    /// The owner has no loader for this cache.
    case noLoader = 4
    /// The owner's loader threw; `message` describes the error.
    case loadFailed = 5
    case overloaded = 6
    /// Key type, value type or codec differ under one cache name.
    case incompatible = 7
    /// A kind this version does not know.
    case unsupported = 8
    case keyTooLong = 9
    case valueTooLarge = 10
    /// `apply`: something newer is held, or only a floor stands against it.
    case superseded = 12
    case forgotten = 13
    /// `apply`: the slot is not held here.
    case notHolder = 14
    case clockSkew = 15
    case shuttingDown = 16
    /// The deadline passed at the receiver.
    case timedOut = 17
    case malformed = 18
    /// `read` and `store`: the receiver does not vote on the slot yet.
    case abstained = 19
    /// `read`: a value is held, and not sent; or a tombstone, or an entry that has expired.
    case held = 20
    case removed = 21
    /// `set` and `remove`: its turn came after its deadline, so it was not done. Whoever still waits asks again.
    case tooLate = 22
}

/// Sizes that both sides must agree on, checked before anything is allocated (`SECURITY.md` §4).
package enum WireLimits {
    /// Payload of one frame.
    package static let frameBytesMax = 320 * 1024
    /// A value above this travels in chunks of this size.
    package static let chunkBytes = 256 * 1024
    package static let keyBytesMax = 1024
    /// A peer that says nothing for so long is waited for no more, whatever the deadline.
    package static let silentMilliseconds: UInt64 = 2_500
    package static let cacheNameBytesMax = 128
    package static let messageBytesMax = 1024
    /// Items of one repeated field.
    package static let itemsMax = 4096
    /// Keys of one `getMany`.
    package static let keysMax = 1024
    package static let membersMax = 4096
    /// Upper bound of the value limit that can be configured.
    package static let valueBytesCeiling = 64 * 1024 * 1024
    /// A frame whose items have reached this size is closed and the next item begins a new one.
    package static let frameBytesTarget = 64 * 1024
    /// As ``frameBytesTarget``, for small items: a receiver refuses frames of more than ``itemsMax``, and of such that decode into too much.
    package static let frameItemsTarget = 1024
}

/// A request as it is on the wire. The pointers are borrowed: valid during the call that got the value, never stored.
package struct WireRequest {
    package var id: UInt64 = 0
    package var kind: RequestKind
    package var deadlineMilliseconds: UInt32 = 0
    package var cache: UnsafeRawBufferPointer
    package var type: UInt32 = 0
    package var key = UnsafeRawBufferPointer(start: nil, count: 0)
    package var value = UnsafeRawBufferPointer(start: nil, count: 0)
    /// Nil: the entry does not expire.
    package var ttlMilliseconds: UInt64?
    /// Of `set` and `remove`: the caller's clock when it asked.
    package var stamp = Stamp.zero
    package var flags = RequestFlags.none
    /// Bytes of the value that follows in chunks; 0: the value is here.
    package var chunkedBytes: UInt64 = 0
    package var placement: UInt64 = 0
    /// N, R and W of a strict cache (``QuorumScheme/code``); 0: none.
    package var scheme: UInt32 = 0

    /// Until when its caller waits, by the caller's clock: milliseconds since 1970. The highest: for ever.
    ///
    /// For an owner that says nothing it waits less than its deadline, and soon writes elsewhere; only long values take their time.
    package var limitMilliseconds: UInt64 {
        guard deadlineMilliseconds > 0, stamp.clock > 0 else { return .max }
        let deadline = UInt64(deadlineMilliseconds)
        return stamp.milliseconds + (value.count > WireLimits.chunkBytes ? deadline : min(deadline, WireLimits.silentMilliseconds))
    }

    package init(kind: RequestKind, cache: UnsafeRawBufferPointer) {
        self.kind = kind
        self.cache = cache
    }
}

/// A response as it is on the wire. The pointers are borrowed like those of ``WireRequest``.
package struct WireResponse {
    package var id: UInt64
    package var status: ResponseStatus
    package var value = UnsafeRawBufferPointer(start: nil, count: 0)
    package var ttlMilliseconds: UInt64?
    package var stamp = Stamp.zero
    package var chunkedBytes: UInt64 = 0
    package var message = UnsafeRawBufferPointer(start: nil, count: 0)
    package var placement: UInt64 = 0
    /// Number of the last invalidation before this answer; 0: no near copy may be kept.
    package var near: UInt64 = 0
    /// All writes of the answering peer up to this clock have a copy.
    package var copiedThrough: UInt64 = 0
    /// Of what is held, in caches that have versions of their source.
    package var sourceVersion: UInt64 = 0

    package init(id: UInt64, status: ResponseStatus) {
        self.id = id
        self.status = status
    }
}

/// The owner's word that near copies are outdated.
package struct WireInvalidation: Hashable, Sendable {
    package enum Subject: Hashable, Sendable {
        /// Copies of the key with this hash, below the stamp.
        case key(hash: UInt64, below: Stamp)
        /// All copies that the sender answered with.
        case everything
    }
    package var subject: Subject
    /// Of this sender's invalidations to this receiver, without gaps.
    package var number: UInt64

    package init(_ subject: Subject, number: UInt64) {
        self.subject = subject
        self.number = number
    }
}

/// The first frame of either side.
package struct WireHello: Sendable {
    package var record: MemberRecord
    package var settings: SettingsFingerprint

    package init(record: MemberRecord, settings: SettingsFingerprint) {
        self.record = record
        self.settings = settings
    }
}

/// What must be equal on all peers for keys to land on the same owner.
package struct SettingsFingerprint: Hashable, Sendable {
    package var hashKey: UInt64
    /// Version of the rule that places slots (``Placement``): raised when its result changes.
    package var placementRule: UInt32 = 1
    package var slots = UInt32(Slot.count)
    package var bucketsPerSlot = UInt32(BucketIndex.perSlot)

    package init(hashKey: UInt64) { self.hashKey = hashKey }
}

/// One thing a frame carries.
package enum WireMessage {
    case hello(WireHello)
    case request(WireRequest)
    /// A request of a kind this version does not know: to be answered `unsupported`.
    case unknownRequest(id: UInt64)
    case response(WireResponse)
    case chunk(id: UInt64, isResponse: Bool, bytes: UnsafeRawBufferPointer)
    /// The sender has taken in so many chunks.
    case taken(chunks: Int)
    case cancel(id: UInt64)
    case invalidation(WireInvalidation)
    case gossip(GossipMessage)
    case goodbye(Goodbye)
}

/// Why a frame was refused. The connection that sent it is closed.
package enum WireError: Error, Hashable, Sendable {
    case frameTooLong, undecodable, tooManyItems, keyTooLong, nameTooLong, badMember, misplacedHello, badChunk
    /// An observer said what only a peer may say.
    case forbidden
}

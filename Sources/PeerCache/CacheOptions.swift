internal import PeerCacheCore

/// How one cache behaves. Equal on all peers; what differs (`copies`) follows the key's owner.
public struct CacheOptions: Sendable, Hashable {
    /// Time to live of an entry, from its write, for loads from the load's start; nil: until evicted. Default nil. Zero or less: every
    /// entry is expired at once. Above four years it counts as four years.
    public var ttl: Duration?
    /// Peers that hold each entry (N), 1...7. Default 2: a killed peer's keys are answered from their copies.
    public var copies: Int
    /// Holders asked by a read (R). More than 1 only in strict caches: `readFrom` + `ackedBy` above `copies`. Then no read returns what a
    /// completed write has replaced or removed, whatever crashes or is cut off; in return reads and writes need that many holders, and such
    /// a cache keeps no near copies unless ``nearFor`` says so. Recommended: 3 copies, 2, 2. Default 1.
    public var readFrom: Int
    /// Holders that have stored a write before it returns (W), the owner among them; with fewer holders in the cluster, all of them. In
    /// strict caches fewer holders are an error. Default 1.
    public var ackedBy: Int
    /// How long a decoded object of any key may be used in this process without asking the owner; zero: no near copies. Default nil: 1 s, but
    /// none when `readFrom` + `ackedBy` > `copies`, as a near hit asks nobody.
    ///
    /// Owners tell who has near copies of what is written, removed or loaded again, within milliseconds; a reader that may have missed
    /// something uses no copy of that owner. This is the bound on staleness for what is left: an owner that is cut off and does not know it.
    public var nearFor: Duration?
    /// One near hit in so many (rounded up to a power of two) is compared with what the key's owner holds, 0...1,000,000,000; 0: none. The
    /// snapshot tells how many were older. Default 4,096; at most 640 requests per second.
    public var nearSampling: Int
    /// The most memory that this peer's store gives to the cache's values, 56 bytes and some rounding for each included, at least 1 MiB; nil:
    /// as much as the other caches leave. A ceiling and not a reserve. Values larger than it are not stored; near copies do not count. A peer
    /// has it for 64 caches at most: the next fails with `.invalidConfiguration`. Need not be equal on all peers. Default nil.
    public var memoryMax: CachePeerConfiguration.ByteCount?
    /// A loader that takes longer is cancelled, fails its waiters and frees the key, 1 ms...10 min. One that does not heed the cancellation
    /// counts for ``CachePeerConfiguration/Limits/loadsMax`` until it ends, and with as many of those no cache loads anything
    /// (`loaders_running`, `loads_refused_total` and a warning tell): give calls inside a loader a timeout of their own. Default 10 s.
    public var loadTimeout: Duration

    /// Options; each has a default.
    public init(
        ttl: Duration? = nil, copies: Int = 2, readFrom: Int = 1, ackedBy: Int = 1, nearFor: Duration? = nil,
        nearSampling: Int = 4096, memoryMax: CachePeerConfiguration.ByteCount? = nil, loadTimeout: Duration = .seconds(10)
    ) {
        self.ttl = ttl
        self.copies = copies
        self.readFrom = readFrom
        self.ackedBy = ackedBy
        self.nearFor = nearFor
        self.nearSampling = nearSampling
        self.memoryMax = memoryMax
        self.loadTimeout = loadTimeout
    }

    /// The numbers of a strict cache: `readFrom` + `ackedBy` above `copies`. Nil: the cache is a fast one, as is every cache of one copy.
    var scheme: QuorumScheme? { copies > 1 ? QuorumScheme(copies: copies, readFrom: readFrom, ackedBy: ackedBy) : nil }

    /// ``nearFor``, or its default.
    var nearLife: Duration { nearFor ?? (scheme != nil ? .zero : .seconds(1)) }

    /// The most holders an entry can have.
    static let copiesMax = 7

    func validate(cache: String) throws(PeerCacheError) {
        func check(_ isValid: Bool, _ property: String, _ value: Any, _ allowed: String) throws(PeerCacheError) {
            if !isValid { throw PeerCacheError(.invalidConfiguration, "cache \"\(cache)\": \(property) is \(value); \(allowed)") }
        }
        let nameBytes = cache.utf8.count
        try check(1...128 ~= nameBytes, "the name's length", "\(nameBytes) bytes", "use a name of 1...128 bytes of UTF-8")
        try check(1...Self.copiesMax ~= copies, "copies", copies, "use 1...\(Self.copiesMax)")
        try check(1...copies ~= readFrom, "readFrom", readFrom, "use 1...\(copies): not more holders than `copies`")
        try check(1...copies ~= ackedBy, "ackedBy", ackedBy, "use 1...\(copies): not more holders than `copies`")
        try check(
            readFrom == 1 || scheme != nil, "readFrom", readFrom,
            "reads from several holders want readFrom + ackedBy above `copies` (\(copies)); raise `ackedBy`, or use 1")
        if let memoryMax {
            try check(
                memoryMax.bytes >= ByteStore.quotaMin, "memoryMax", "\(memoryMax.bytes) bytes",
                "use at least \(ByteStore.quotaMin) bytes, for example .megabytes(1), or nil")
        }
        try check(nearLife >= .zero, "nearFor", nearLife, "use zero (no near copies) or more")
        try check(0...1_000_000_000 ~= nearSampling, "nearSampling", nearSampling, "use 0 (none) or one hit in up to 1000000000")
        try check(
            loadTimeout >= .milliseconds(1) && loadTimeout <= .seconds(600), "loadTimeout", loadTimeout, "use 1 ms...600 s")
    }
}

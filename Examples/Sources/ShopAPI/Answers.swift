/// What `GET /stats` answers: one instance's view of the cluster and its counters since it started.
public struct ShopStatistics: Codable, Sendable {
    /// How reads of the product cache were answered, on this instance.
    public struct Cache: Codable, Sendable {
        /// From the decoded copy in this process.
        public var nearHits = 0
        /// From this process's own store.
        public var ownHits = 0
        /// From another peer's store.
        public var peerHits = 0
        /// From no store.
        public var misses = 0
        /// Loader calls made here.
        public var loads = 0
        /// Loader calls that threw.
        public var loadErrors = 0
        /// Reads that waited for a load that another read had begun.
        public var coalescedWaits = 0

        /// Reads that a store or a near copy answered.
        public var hits: Int { nearHits + ownHits + peerHits }

        /// All zero.
        public init() {}
    }

    /// Addresses of the members that hold a part of the cache, as this instance knows them, itself included; sorted.
    public var members: [String]
    /// Members that hold a part of the cache.
    public var memberCount: Int
    /// Whether the cache peer says it is ready.
    public var isReady: Bool
    /// The product cache.
    public var cache: Cache
    /// Reads of the database by this instance.
    public var databaseQueries: Int
    /// Products the database was created with; their ids are `1...productCount`.
    public var productCount: Int

    /// A value with these fields.
    public init(members: [String], memberCount: Int, isReady: Bool, cache: Cache, databaseQueries: Int, productCount: Int) {
        self.members = members
        self.memberCount = memberCount
        self.isReady = isReady
        self.cache = cache
        self.databaseQueries = databaseQueries
        self.productCount = productCount
    }
}

/// What `GET /stats/queries?first=&last=` answers: which products this instance read from the database, and how often.
public struct ShopQueries: Codable, Sendable {
    /// Product id → number of reads; ids that were never read are absent.
    public var byProduct: [Int: Int]

    /// A value with this field.
    public init(byProduct: [Int: Int]) {
        self.byProduct = byProduct
    }
}

/// What `GET /cache/:id` answers: where a product lives in the cluster, and since when.
public struct ShopExplanation: Codable, Sendable {
    /// Address of the peer that answers for the product.
    public var owner: String?
    /// Addresses of the peers that hold copies, the owner first.
    public var replicas: [String]
    /// Whether the owner holds it.
    public var isHeld: Bool
    /// Version of the entry.
    public var stamp: String?
    /// Seconds since the entry was written.
    public var ageSeconds: Double?
    /// Seconds until the entry expires.
    public var timeToLiveSeconds: Double?
    /// Where the last read by this instance was answered.
    public var lastRead: String?

    /// A value with these fields.
    public init(
        owner: String?, replicas: [String], isHeld: Bool, stamp: String?, ageSeconds: Double?, timeToLiveSeconds: Double?, lastRead: String?
    ) {
        self.owner = owner
        self.replicas = replicas
        self.isHeld = isHeld
        self.stamp = stamp
        self.ageSeconds = ageSeconds
        self.timeToLiveSeconds = timeToLiveSeconds
        self.lastRead = lastRead
    }
}

public import Logging
public import CoreMetrics
public import NIOCore
internal import NIOPosix
internal import PeerCacheCore
internal import PeerCacheTransport

/// Settings of a ``CachePeer``. Every property has a default; `CachePeer.init` throws for what is impossible, with the reason.
public struct CachePeerConfiguration: Sendable {
    /// Name of the cluster, 1...128 bytes of UTF-8. Peers of other clusters are refused.
    public var cluster: String

    /// What this process is to the cluster. Default: a peer.
    public var role = Role.peer

    /// Where to listen. Default: 127.0.0.1, port 7600. Port 0 lets the system choose.
    public var bind = Endpoint(host: "127.0.0.1", port: 7600)

    /// How other peers reach this one; nil: the address it listens at, and for a wildcard address the one from which it reaches the others.
    /// A port of 0 stands for the port listened at.
    public var advertise: Endpoint?

    /// How to find the first peers. Default `.none`: alone until another peer dials this one.
    public var discovery = Discovery.none

    /// Who may join. No default beyond loopback: a peer that listens elsewhere must say `.sharedSecret` or `.insecure`.
    public var security: Security?

    /// Decides, with the cache's name, which peer holds which key. 16 bytes or more, equal on all peers. Nil: the secret's
    /// UTF-8. Must be set once several secrets are accepted, because placement must not change with the secret: to the UTF-8 of the first one
    /// that the cluster used. With any other value all keys have other places; peers that differ in it refuse each other, are ready all the
    /// same, and do not hear of each other's writes.
    public var hashKey: [UInt8]?

    /// What the library holds: the store, overhead included (three quarters), and near copies, with
    /// what is remembered of other peers' (an eighth, by their encoded size). The rest is
    /// for the buffers of connections. Those are bounded one by one, each way a sixteenth of this or two of the largest values, so many peers
    /// that do not read can take more than the rest. At least 2 MiB. Default 64 MiB.
    public var memory = ByteCount.megabytes(64)

    /// What gives way when the memory is full. Need not be equal on all peers. Default `.lru`.
    public var eviction = EvictionPolicy.lru

    /// Bounds that protect this peer.
    public var limits = Limits()

    /// How this peer introduces itself.
    public var identity = Identity()

    /// A call to another peer that has no answer by then counts as unanswered, 10 ms...60 s; loads have their own, longer, deadline
    /// (`CacheOptions.loadTimeout`). Default 2 s.
    public var requestTimeout: Duration = .seconds(2)

    /// How soon a peer that vanished without a word is given up. Killed processes are noticed within a second either way. Default `.standard`.
    public var failureDetection = FailureDetection.standard

    /// How long a graceful shutdown goes on answering after it has told the others that it leaves, 0...5 min. Default 500 ms.
    public var leaveGrace: Duration = .milliseconds(500)

    /// How long a graceful shutdown waits at most until the peers that take over its keys have fetched them, 0...10 min; zero: they start
    /// without what only this peer holds. Keep it, with `leaveGrace`, below the time after which the system kills the process. Default 20 s.
    public var handOverTimeout: Duration = .seconds(20)

    /// What this peer may fetch from others in a second when it takes over keys, 64 KiB...16 GiB. More is faster and disturbs requests more.
    /// Default 32 MiB.
    public var transferRate = ByteCount.megabytes(32)

    /// For strict caches (`CacheOptions.readFrom`), which need it: a new cluster begins to vote when so many peers see each other, 1...65,535.
    /// More than half of the peers that are started first, so that no part of them takes itself for a new cluster. Equal on all peers.
    public var minimumPeers: Int?

    /// A strict cache's keys whose voters are lost for ever, more than the cache's numbers allow, stay silent: reads and writes of them throw.
    /// After so long they begin anew, empty, 1 s...24 h. If the lost voters live on behind a partition, reads may then be stale. Default nil:
    /// never.
    public var strictResetAfter: Duration?

    /// Event loops for the peer connections. Default: NIO's shared group.
    public var eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton

    /// Info: members come and go. Debug: the rest. Keys are cut to 64 bytes; secrets and values never appear.
    public var logger = Logger(label: "peercache")

    /// Where metrics go; nil: swift-metrics' global factory.
    public var metricsFactory: (any MetricsFactory)?

    /// Settings with their defaults.
    public init(cluster: String) { self.cluster = cluster }
}

extension CachePeerConfiguration {
    /// What a process is to the cluster.
    public enum Role: Sendable, Hashable {
        /// Holds its share of the keys and answers for them.
        case peer
        /// Gets, sets and removes what the peers hold, and follows who they are: a tool, an admin page, another service. It holds nothing for
        /// others, is no member, and does not listen; its loaders run only when no peer answers. It must find a peer: set `discovery`. Who
        /// joins, leaves or dies reaches its ``CachePeer/events`` a second or two later than those of peers; suspicions do not.
        case observer
    }

    /// A host (IP address or name) and a TCP port.
    public struct Endpoint: Sendable, Hashable {
        /// IP address or name, without brackets.
        public var host: String
        /// 0...65,535; an `Int`, so that a wrong one gets an error and no trap.
        public var port: Int

        /// A host and a port.
        public init(host: String, port: Int) {
            self.host = host
            self.port = port
        }
    }

    /// An amount of memory.
    public struct ByteCount: Sendable, Hashable {
        /// Bytes.
        public var bytes: Int

        /// That many bytes.
        public static func bytes(_ count: Int) -> ByteCount { ByteCount(bytes: count) }
        /// Multiples of 1,048,576 bytes; saturates.
        public static func megabytes(_ count: Int) -> ByteCount { multiple(of: 1 << 20, count) }
        /// Multiples of 1,073,741,824 bytes; saturates.
        public static func gigabytes(_ count: Int) -> ByteCount { multiple(of: 1 << 30, count) }

        private static func multiple(of unit: Int, _ count: Int) -> ByteCount {
            let (bytes, overflow) = count.multipliedReportingOverflow(by: unit)
            return ByteCount(bytes: overflow ? (count < 0 ? .min : .max) : bytes)
        }
    }

    /// How soon silence means death (SWIM: Das et al., "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol",
    /// DSN 2002, with suspicion, and what Dadgar et al., "Lifeguard", 2018, added).
    public struct FailureDetection: Sendable, Hashable {
        let profile: GossipProfile

        /// After 5 to 6 s in small clusters, 9 s with a hundred peers; about 200 bytes/s per peer.
        public static let standard = FailureDetection(profile: .p)
        /// After about 3 s, 5 s with a hundred peers; twice the messages.
        public static let fast = FailureDetection(profile: .f)
    }

    /// How a full store chooses what to evict. Expired entries always go first.
    public struct EvictionPolicy: Sendable, Hashable {
        let kind: PolicyKind

        /// Least recently used first, to a sixteenth of a turnover. The cheapest, and predictable.
        public static let lru = EvictionPolicy(kind: .lru)
        /// Adaptive W-TinyLFU (Einziger et al., "TinyLFU", ACM TOS 2017): what was loaded competes by frequency of use with what it would
        /// push out, so scans do not flush the store; what was set explicitly does not compete. 8 bytes more per entry, and slower hits.
        public static let tinyLFU = EvictionPolicy(kind: .tinyLFU)
        /// S3-FIFO (Yang et al., "FIFO Queues are All You Need for Cache Eviction", SOSP 2023): scans pass through a small queue. About 4
        /// bytes more per entry.
        public static let s3fifo = EvictionPolicy(kind: .s3fifo)
    }

    /// Where the first addresses come from. Asked at the start, often until the first contact, then once a minute.
    public struct Discovery: Sendable {
        enum Kind: Sendable {
            case none
            case peers([String])
            case dns(String, port: Int)
            case services(String)
            case custom(any PeerDiscovery)
        }
        let kind: Kind

        /// Nobody: this peer waits to be dialled.
        public static let none = Discovery(kind: .none)
        /// Addresses as `host:port`, an IPv6 address in brackets; may contain this peer's own.
        public static func peers(_ addresses: [String]) -> Discovery { Discovery(kind: .peers(addresses)) }
        /// Every A and AAAA address of a name, for example of a headless service; resolved again each time.
        public static func dns(_ name: String, port: Int) -> Discovery { Discovery(kind: .dns(name, port: port)) }
        /// Every target of the SRV records of a name such as `_cache._tcp.shop.default.svc.cluster.local`, with their ports; resolved again
        /// each time.
        public static func dns(service name: String) -> Discovery { Discovery(kind: .services(name)) }
        /// A source of the application's own.
        public static func custom(_ source: any PeerDiscovery) -> Discovery { Discovery(kind: .custom(source)) }
    }

    /// Who may join.
    public struct Security: Sendable {
        enum Kind: Sendable {
            case sharedSecret(String, accepting: [String])
            case insecure
        }
        let kind: Kind

        /// Peers prove to each other that they know the secret; it is never sent. At least 16 bytes; use 32 random ones.
        /// - Parameter accepting: up to three further secrets that dialling peers may use, for a rotation.
        public static func sharedSecret(_ secret: String, accepting: [String] = []) -> Security {
            Security(kind: .sharedSecret(secret, accepting: accepting))
        }
        /// Everybody who reaches the port may read and write the caches. Logs a warning at every start.
        public static let insecure = Security(kind: .insecure)
    }

    /// Bounds that protect this peer.
    public struct Limits: Sendable {
        /// The longest value, 1 byte...64 MiB, and never above an eighth of the store, which is 6 MiB with the default memory. Default 8 MiB.
        public var valueBytesMax = 8 * 1024 * 1024
        /// Calls to one peer that wait for an answer, 1...1,000,000; further ones fail with `.overloaded`. Default 8,192.
        public var requestsPerPeerMax = 8192
        /// Loaders that run at a time, 1...1,000,000; reads that need a further one fail with `.overloaded`, as do those that find 65,536
        /// callers waiting for the same load. Default 8,192: what the data source can bear is for its own pool to say.
        public var loadsMax = 8192
        /// Observers that may be connected to this peer, 0...4,096; further ones are refused. Default 256.
        public var observersMax = 256

        /// The defaults.
        public init() {}
    }

    /// How this peer introduces itself.
    public struct Identity: Sendable {
        /// For people, for example the pod's name; at most 64 bytes. Identifies nothing.
        public var name = ""
        /// Failure domain: copies go to distinct zones first. At most 64 bytes.
        public var zone = ""
        /// At most 64 bytes.
        public var region = ""
        /// Share of the keys relative to the other peers, 0...1,000; 0: holds none. Default 1.
        public var weight = 1

        /// The defaults.
        public init() {}
    }
}

/// A source of peer addresses.
public protocol PeerDiscovery: Sendable {
    /// Addresses as `host:port`; may contain this peer's own. A throw or an empty answer keeps the last one. What is no address is left out, and
    /// a warning says so. A peer alone that has never had an answer without a throw or such a fault is not ready, as there may be others; an
    /// empty answer says that there are none.
    func peers() async throws -> [String]
}

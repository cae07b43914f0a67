import PeerCache
import PeerCacheCore
import Synchronization

/// A cached object that counts the living.
final class Tracked: Sendable {
    final class Count: Sendable {
        let living = Atomic<Int>(0)
        var value: Int { living.load(ordering: .relaxed) }
    }

    let value: Int
    private let count: Count?

    init(_ value: Int, _ count: Count? = nil) {
        self.value = value
        self.count = count
        count?.living.add(1, ordering: .relaxed)
    }

    deinit { count?.living.subtract(1, ordering: .relaxed) }
}

/// The store under short calls: string keys, stamps and times as plain numbers.
struct Near {
    let store: NearStore
    var cache: UInt16 = 1

    init(entries: Int = 1000, cost: Int = 1 << 20, shards: Int = 16) {
        store = NearStore(limits: .init(entriesMax: entries, costMax: cost), shards: shards)
    }

    static func hash(_ key: String) -> UInt64 { publicHash(key, seed: 7) }

    @discardableResult
    func insert(
        _ key: String, _ value: Int = 0, stamp: UInt64 = 1, bytes: Int = 10, expires: UInt64 = .max, now: UInt64 = 0,
        count: Tracked.Count? = nil, hash: UInt64? = nil, token: NearStore.Token? = nil, isWrite: Bool = false
    ) -> NearStore.Insertion {
        Array(key.utf8).withUnsafeBytes {
            store.insert(
                Tracked(value, count), hash: hash ?? Self.hash(key), cache: cache, key: $0, encodedBytes: bytes,
                stamp: Stamp(clock: stamp, origin: 1), expires: expires, nowMilliseconds: now, token: token, isWrite: isWrite)
        }
    }

    func get(_ key: String, now: UInt64 = 0, hash: UInt64? = nil) -> Int? {
        let object = Array(key.utf8).withUnsafeBytes {
            store.object(hash: hash ?? Self.hash(key), cache: cache, key: $0, nowMilliseconds: now)
        }
        return (object as? Tracked)?.value
    }

    @discardableResult
    func invalidate(_ key: String, upTo stamp: UInt64, hash: UInt64? = nil) -> Bool {
        Array(key.utf8).withUnsafeBytes {
            store.invalidate(hash: hash ?? Self.hash(key), cache: cache, key: $0, upTo: Stamp(clock: stamp, origin: 1))
        }
    }
}

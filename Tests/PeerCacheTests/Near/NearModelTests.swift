import PeerCache
import PeerCacheCore
import PeerCacheTesting
import Testing

/// Random operations against a dictionary that never forgets. A miss is always allowed when there is an eviction to explain it, a wrong hit never.
@Suite struct NearModelTests {
    struct Held {
        var value: Int, stamp: UInt64, expires: UInt64
    }

    /// The floors are the store's own: by the top 12 bits of the hash.
    struct Model {
        var held: [String: Held] = [:]
        var floors: [UInt64: UInt64] = [:]
        var cacheFloor: UInt64 = 0

        func current(_ key: String, now: UInt64) -> Int? {
            guard let held = held[key], held.expires > now, held.stamp > cacheFloor else { return nil }
            return held.value
        }

        mutating func insert(_ key: String, _ value: Int, stamp: UInt64, expires: UInt64, now: UInt64) -> NearStore.Insertion {
            guard stamp >= floors[Near.hash(key) >> 52, default: 0], stamp > cacheFloor else { return .superseded }
            if let held = held[key], held.stamp > stamp { return .superseded }
            held[key] = expires > now ? Held(value: value, stamp: stamp, expires: expires) : nil
            return expires > now ? .stored : .notStored
        }

        mutating func invalidate(_ key: String, upTo stamp: UInt64) {
            floors[Near.hash(key) >> 52, default: 0] = max(stamp, floors[Near.hash(key) >> 52, default: 0])
            if let held = held[key], held.stamp < stamp { self.held[key] = nil }
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func withRoomTheStoreEqualsTheModel(seed: UInt64) {
        run(seed: seed, near: Near(entries: 10_000, cost: 1 << 30, shards: 1 << (seed % 5)), isRoomy: true)
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func underPressureEveryHitIsTheModelsAndTheBoundsHold(seed: UInt64) {
        run(seed: seed, near: Near(entries: 60, cost: 20_000, shards: 1 << (seed % 5)), isRoomy: false)
    }

    private func run(seed: UInt64, near: Near, isRoomy: Bool) {
        var random = SeededRandom(seed: seed), model = Model(), now: UInt64 = 0
        let count = Tracked.Count()
        var entriesMax = isRoomy ? 10_000 : 60, costMax = isRoomy ? 1 << 30 : 20_000
        for step in 0..<3000 {
            now += UInt64.random(in: 0...3, using: &random)
            // Short keys lie in the record, long ones elsewhere.
            let number = Int.random(in: 0..<200, using: &random),
                key = number % 2 == 0 ? "k\(number)" : "a key of more than 16 bytes \(number)"
            let stamp = now + UInt64.random(in: 0...20, using: &random)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<45:
                let found = near.get(key, now: now), expected = model.current(key, now: now)
                #expect(found == expected || (!isRoomy && found == nil), "seed \(seed) step \(step)")
            case 45..<85:
                let expires = now + UInt64.random(in: 0...400, using: &random), bytes = Int.random(in: 0...900, using: &random)
                let expected = model.insert(key, step, stamp: stamp, expires: expires, now: now)
                let result = near.insert(key, step, stamp: stamp, bytes: bytes, expires: expires, now: now, count: count)
                // Under pressure the store may have forgotten the newer copy that the model holds, so this one is let in.
                if isRoomy { #expect(result == expected, "seed \(seed) step \(step)") }
                if !isRoomy, result == .stored, expected == .superseded {
                    model.held[key] = Held(value: step, stamp: stamp, expires: expires)
                }
            case 85..<93:
                near.invalidate(key, upTo: stamp)
                model.invalidate(key, upTo: stamp)
            case 93..<97: near.store.sweep(nowMilliseconds: now, entriesMax: 50)
            case 97:
                near.store.raiseCacheFloor(1, to: Stamp(clock: now / 2, origin: 1))
                model.cacheFloor = max(model.cacheFloor, now / 2)
            case 98 where !isRoomy:
                (entriesMax, costMax) = (Int.random(in: 1...80, using: &random), Int.random(in: 8_000...30_000, using: &random))
                near.store.setLimits(.init(entriesMax: entriesMax, costMax: costMax), nowMilliseconds: now)
            case 99 where step % 5 == 0:
                near.store.removeAll()
                model.held = [:]
            default: break
            }
            let usage = near.store.usage
            #expect(usage.entries <= entriesMax && usage.cost <= costMax && usage.entries == count.value, "seed \(seed) step \(step)")
        }
        near.store.removeAll()
        #expect(near.store.usage.entries == 0 && near.store.usage.cost == 0 && count.value == 0, "seed \(seed)")
    }
}

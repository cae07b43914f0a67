import PeerCache
import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct NearStoreTests {
    @Test func aStoredCopyIsFoundWithItsStampUntilItExpires() {
        let near = Near()
        #expect(near.insert("k", 5, stamp: 3, expires: 100) == .stored)
        #expect(near.get("k", now: 99) == 5 && near.get("k", now: 100) == nil && near.get("other") == nil)
        #expect(near.insert("late", expires: 7, now: 7) == .notStored)
        let usage = near.store.usage
        #expect(usage.entries == 1 && usage.cost == 10 + 1 + NearStore.overheadBytes)
    }

    @Test func equalKeysInTwoCachesAreTwoKeys() {
        var near = Near()
        near.insert("k", 1)
        near.cache = 2
        #expect(near.get("k") == nil)
        near.insert("k", 2)
        #expect(near.get("k") == 2)
        near.cache = 1
        #expect(near.get("k") == 1)
    }

    @Test(arguments: [0, 1, 19, 20, 21, 1024, 65_535])
    func keysOfEveryLength(length: Int) {
        let near = Near()
        let key = String(repeating: "x", count: length)
        let other = length == 0 ? "y" : String(repeating: "x", count: length - 1) + "y"
        let hash = Near.hash(key)  // the same for both, so that only the bytes differ
        #expect(near.insert(key, 1, hash: hash) == .stored && near.get(other, hash: hash) == nil)
        #expect(near.insert(other, 2, hash: hash) == .stored)
        #expect(near.get(key, hash: hash) == 1 && near.get(other, hash: hash) == 2 && near.get(key + "z", hash: hash) == nil)
        #expect(near.invalidate(key, upTo: 9, hash: hash) && near.get(key, hash: hash) == nil && near.get(other, hash: hash) == 2)
    }

    /// Of short keys every byte counts, wherever the record keeps it.
    @Test func keysThatDifferInOneByteAreTwoKeys() {
        for length in 1...24 {
            let near = Near(), bytes = (0..<length).map { UInt8(97 + $0) }
            let key = String(decoding: bytes, as: UTF8.self), hash = Near.hash(key)
            #expect(near.insert(key, 1, hash: hash) == .stored && near.get(key, hash: hash) == 1)
            for position in 0..<length {
                var other = bytes
                other[position] = 33
                #expect(near.get(String(decoding: other, as: UTF8.self), hash: hash) == nil, "length \(length), byte \(position)")
            }
            for other in [bytes.dropLast(), bytes + [0]] {
                #expect(near.get(String(decoding: other, as: UTF8.self), hash: hash) == nil, "length \(length)")
            }
        }
    }

    @Test func whatCannotBeStoredStillReplacesTheOlderCopy() {
        let near = Near(entries: 10, cost: 8000)
        near.insert("k", 1, stamp: 1)
        #expect(near.insert("k", 2, stamp: 2, bytes: 1000) == .notStored)  // above 1/8 of the cost
        #expect(near.get("k") == nil && near.store.usage.entries == 0 && near.store.usage.cost == 0)
        #expect(near.insert(String(repeating: "x", count: 65_536)) == .notStored)
        #expect(near.insert("k", bytes: .max) == .notStored && near.insert("k", bytes: .min) == .stored)
        #expect(Near(entries: 0).insert("k") == .notStored && Near(cost: -5).insert("k") == .notStored)
    }

    @Test func anOlderCopyIsSupersededAnEqualOneRenewsTheExpiry() {
        let near = Near()
        near.insert("k", 1, stamp: 5, expires: 10)
        #expect(near.insert("k", 2, stamp: 4) == .superseded && near.get("k") == 1)
        #expect(near.insert("k", 3, stamp: 5, expires: 20) == .stored && near.get("k", now: 15) == 3)
        #expect(near.insert("k", 4, stamp: 6) == .stored && near.get("k", now: 15) == 4)
        #expect(near.store.usage.entries == 1)
    }

    /// I40: a get is on its way; the key is removed here; the old answer arrives.
    @Test func i40_anInvalidatedCopyDoesNotComeBack() {
        let near = Near()
        near.insert("k", 1, stamp: 5)
        #expect(near.invalidate("k", upTo: 8) && near.get("k") == nil)
        #expect(near.insert("k", 1, stamp: 5) == .superseded && near.get("k") == nil)
        #expect(near.insert("k", 2, stamp: 8) == .stored && near.get("k") == 2)  // the write that invalidated
        #expect(!near.invalidate("k", upTo: 8) && near.get("k") == 2)
        #expect(!near.invalidate("k", upTo: 3) && near.insert("k", 1, stamp: 7) == .superseded)
        #expect(!near.invalidate("never held", upTo: 9) && near.insert("never held", stamp: 8) == .superseded)
    }

    @Test func evictionsAndRemoveAllRaiseNoFloors() {
        let near = Near(entries: 1)
        near.insert("a", 1, stamp: 5)
        near.insert("b", 2, stamp: 9)
        #expect(near.get("a") == nil && near.insert("a", 1, stamp: 5) == .stored && near.get("b") == nil)
        near.store.removeAll()
        #expect(near.get("a") == nil && near.insert("a", 1, stamp: 5) == .stored)
    }

    @Test func aCacheFloorMakesOlderCopiesMissesAtOnce() {
        var near = Near()
        for key in 1...100 { near.insert("\(key)", key, stamp: UInt64(key)) }
        near.cache = 300
        near.insert("other cache", 7)
        near.store.raiseCacheFloor(1, to: Stamp(clock: 50, origin: 1))
        #expect(near.get("other cache") == 7)
        near.cache = 1
        for key in 1...100 { #expect(near.get("\(key)") == (key > 50 ? key : nil)) }
        #expect(near.insert("new", stamp: 50) == .superseded && near.insert("new", stamp: 51) == .stored)
        near.store.raiseCacheFloor(1, to: Stamp(clock: 10, origin: 1))
        #expect(near.insert("newer", stamp: 50) == .superseded)
        near.store.raiseCacheFloor(.max, to: Stamp(clock: 10, origin: 1))
        near.cache = .max
        #expect(near.insert("of a cache that cannot be") == .superseded && near.get("of a cache that cannot be") == nil)
        let dropped = near.store.sweep(nowMilliseconds: 0, entriesMax: 1000)
        #expect(dropped == 50 && near.store.usage.entries == 52)
    }

    @Test func aSuspectSlotsCopiesAreMissesAtOnceAndSweptLater() {
        let near = Near()
        for key in 0..<400 { near.insert("\(key)", key) }
        func isSuspect(_ key: Int) -> Bool {
            let slot = Slot(hash: Near.hash("\(key)"))
            return slot.index % 2 == 0 || slot == Slot(hash: Near.hash("in flight"))
        }
        let inFlight = near.store.token(hash: Near.hash("in flight")), slot = Slot(hash: Near.hash("in flight"))
        near.store.suspect((0..<Slot.count).compactMap(Slot.init(index:)).filter { $0.index % 2 == 0 || $0 == slot })
        for key in 0..<400 { #expect((near.get("\(key)") == nil) == isSuspect(key)) }
        // What was asked before is suspect as well, what is asked from now on is not.
        #expect(near.insert("in flight", token: inFlight) == .superseded)
        #expect(near.insert("in flight", 5, token: near.store.token(hash: Near.hash("in flight"))) == .stored && near.get("in flight") == 5)
        let dropped = near.store.sweep(nowMilliseconds: 0, entriesMax: 1000)
        #expect(dropped == (0..<400).count(where: isSuspect))
        for key in 0..<400 { near.insert("\(key)", key + 1) }
        for key in 0..<400 { #expect(near.get("\(key)") == key + 1) }
    }

    @Test func anInvalidationByHashDropsOlderCopiesOfAllKeysWithIt() {
        let near = Near(shards: 1)
        let hash = Near.hash("k")
        for (key, stamp) in [("a", 1), ("b", 2), ("c", 3), ("a key of more than twenty bytes", 2)] as [(String, UInt64)] {
            near.insert(key, stamp: stamp, hash: hash)
        }
        #expect(near.store.invalidate(hash: hash, upTo: Stamp(clock: 3, origin: 1)) == 3)
        #expect(near.get("c", hash: hash) != nil && near.get("a", hash: hash) == nil && near.get("b", hash: hash) == nil)
        #expect(near.insert("a", stamp: 2, hash: hash) == .superseded)
    }

    @Test func sweepsGoOnWhereTheLastOneEnded() {
        let near = Near(entries: 10_000, cost: 1 << 30)
        for key in 0..<4000 { near.insert("\(key)", expires: key % 2 == 0 ? 50 : 100) }
        var dropped = 0
        for _ in 0..<100 { dropped += near.store.sweep(nowMilliseconds: 60, entriesMax: 100) }
        #expect(dropped == 2000 && near.store.usage.entries == 2000)
        for key in 0..<4000 { #expect((near.get("\(key)", now: 60) != nil) == (key % 2 == 1)) }
        let none = near.store.sweep(nowMilliseconds: 60, entriesMax: 0)
        #expect(none == 0 && near.store.sweep(nowMilliseconds: 100, entriesMax: .max) == 2000)
    }

    @Test(arguments: [1, 2, 16, 17])
    func aHitGivesASecondChance(shards: Int) {
        let near = Near(entries: 400, cost: 1 << 30, shards: shards)
        for key in 0..<2000 {
            near.insert("\(key)", key)
            for hot in 0..<20 { _ = near.get("\(hot)") }
        }
        let kept = (0..<20).filter { (key: Int) in near.get("\(key)") != nil }.count
        #expect(kept == 20 && near.store.usage.entries == 400)
    }

    /// What is used often stays although it is not used while many cold keys pass by; CLOCK alone, like LRU, loses it.
    @Test(arguments: [1, 16]) func aScanOverColdKeysDoesNotFlushTheStore(shards: Int) {
        let near = Near(entries: 800, cost: 1 << 30, shards: shards)
        for round in 0..<4 {
            for key in 0..<400 where near.get("hot \(key)") == nil { near.insert("hot \(key)", key) }
            for key in 0..<600 where near.get("warm \(round) \(key)") == nil { near.insert("warm \(round) \(key)", key) }
        }
        for key in 0..<4000 { near.insert("cold \(key)", key) }
        let kept = (0..<400).filter { (key: Int) in near.get("hot \(key)") != nil }.count
        #expect(kept >= 300, "\(kept) of 400")
        // What was cold and is used now comes in.
        for _ in 0..<8 { for key in 0..<50 where near.get("new \(key)") == nil { near.insert("new \(key)", key) } }
        let came = (0..<50).filter { (key: Int) in near.get("new \(key)") != nil }.count
        #expect(came >= 45, "\(came) of 50")
        // A write of this process need not ask.
        for key in 0..<50 { #expect(near.insert("written \(key)", key, isWrite: true) == .stored) }
    }

    @Test func lowerLimitsEvictAtOnceHigherOnesMakeRoom() {
        let count = Tracked.Count()
        let near = Near(entries: 1000, cost: 1 << 20)
        for key in 0..<1000 { near.insert("\(key)", count: count) }
        near.store.setLimits(.init(entriesMax: 1000, costMax: 20_000), nowMilliseconds: 0)
        #expect(near.store.usage.cost <= 20_000 && near.store.usage.entries >= 180 && count.value == near.store.usage.entries)
        near.store.setLimits(.init(entriesMax: 0, costMax: 0), nowMilliseconds: 0)
        #expect(near.store.usage.entries == 0 && count.value == 0 && near.insert("k") == .notStored)
        near.store.setLimits(.init(entriesMax: 2, costMax: 4096), nowMilliseconds: 0)
        for key in 0..<50 { #expect(near.insert("\(key)") == .stored) }
        #expect(near.store.usage.entries == 2)
    }

    /// SEC19: 64 of them fit, and the keys of other hashes are found as ever.
    @Test func keysOfOneHashDisplaceEachOtherOnly() {
        let count = Tracked.Count()
        let near = Near(entries: 100_000, cost: 1 << 30, shards: 1)
        for key in 0..<500 { near.insert("ordinary \(key)", key) }
        for key in 0..<10_000 {
            #expect(near.insert("hostile \(key)", key, count: count, hash: 0x5555_5555_0000_0003) == .stored)
            #expect(near.get("hostile \(key)", hash: 0x5555_5555_0000_0003) == key)
        }
        let kept = (0..<500).filter { (key: Int) in near.get("ordinary \(key)") == key }.count
        #expect(kept >= 500 - 64 && count.value <= 64 && near.store.usage.entries == kept + count.value)
        // A few more entries make the index grow while the long chain is there.
        for key in 500..<3000 { near.insert("ordinary \(key)", key) }
        let living = (0..<10_000).filter { (key: Int) in near.get("hostile \(key)", hash: 0x5555_5555_0000_0003) == key }.count
        #expect(living == count.value && living > 0)
        for key in 0..<10_000 { near.invalidate("hostile \(key)", upTo: 2, hash: 0x5555_5555_0000_0003) }
        #expect(count.value == 0)
    }

    @Test func objectsGoWithTheStore() {
        let count = Tracked.Count()
        do {
            let near = Near()
            for key in 0..<500 { near.insert("a long key that has its own memory \(key)", count: count) }
            #expect(count.value == 500)
        }
        #expect(count.value == 0)
    }
}

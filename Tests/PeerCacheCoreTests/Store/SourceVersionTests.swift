import PeerCacheCore
import PeerCacheTesting
import Testing

/// Versions of the data source decide before stamps.
@Suite struct SourceVersionTests {
    private struct Write: Hashable {
        var version: UInt64
        var stamp: Int
        var isRemoval = false
    }

    private func fixture() throws -> StoreFixture {
        let fixture = try StoreFixture()
        fixture.store.setVersioned(fixture.cache)
        return fixture
    }

    @discardableResult
    private func apply(_ write: Write, _ key: TestKey, _ fixture: StoreFixture, bytes: Int = 10) -> WriteResult {
        let stamp = StoreFixture.stamp(write.stamp), now = StoreFixture.now
        if write.isRemoval {
            return fixture.store.applyTombstone(
                key.id, key.bytes.span.bytes, version: write.version, stamp: stamp, keep: Tick(now.value &+ 1000), now: now)
        }
        let value = withUnsafeBytes(of: write.version.bigEndian) { Array($0) } + [UInt8](repeating: 1, count: bytes)
        return fixture.store.apply(
            key.id, key.bytes.span.bytes, value: value.span.bytes, stamp: stamp, ttl: nil, kind: .explicit, now: now)
    }

    private func held(_ key: TestKey, _ fixture: StoreFixture) -> Write? {
        fixture.store.heldWithVersion(key.id, key.bytes.span.bytes).map { info in
            Write(
                version: info.sourceVersion, stamp: Int(info.stamp.milliseconds - StoreFixture.milliseconds), isRemoval: info.isTombstone)
        }
    }

    @Test func anyOrderEndsWithTheHighestVersionAndOfThoseTheHighestStamp() throws {
        for seed in Seeds.chosen(1...50) {
            var random = SeededRandom(seed: seed)
            let fixture = try fixture(), key = fixture.key("a")
            let writes = (1...12).map {
                Write(version: .random(in: 1...4, using: &random), stamp: $0, isRemoval: .random(using: &random))
            }
            for _ in 0..<3 {
                for write in writes.shuffled(using: &random) {
                    // Long values lie in several pieces.
                    apply(write, key, fixture, bytes: Bool.random(using: &random) ? 10 : 20_000)
                }
            }
            let newest = writes.max { ($0.version, $0.stamp) < ($1.version, $1.stamp) }
            #expect(held(key, fixture) == newest, "replay: PEERCACHE_SEED=\(seed)")
        }
    }

    @Test func whatContradictsStampsCountsAsForgottenLater() throws {
        let fixture = try fixture(), key = fixture.key("a")
        apply(Write(version: 7, stamp: 12), key, fixture)
        #expect(apply(Write(version: 5, stamp: 15), key, fixture) == .superseded)
        let dropped = fixture.drop(key)
        #expect(dropped)
        // Another holder may still have 5 under stamp 15: whoever asks both must not take that for the newest.
        #expect(fixture.guardStamp(key) > StoreFixture.stamp(15))
    }

    /// As the journal's removals are: whatever comes of an older stamp stays away, whatever its version.
    @Test func aRemovalWithoutVersionDropsWhatIsHeldAndWhatComesLate() throws {
        let fixture = try fixture(), key = fixture.key("a"), other = fixture.key("b")
        apply(Write(version: 7, stamp: 12), key, fixture)
        #expect(fixture.applyTombstone(key, StoreFixture.stamp(11)) == .superseded)
        #expect(fixture.applyTombstone(key, StoreFixture.stamp(13)) == .forgotten)
        #expect(fixture.held(key) == nil)
        #expect(apply(Write(version: 9, stamp: 12), key, fixture) == .forgotten)
        #expect(fixture.applyTombstone(other, StoreFixture.stamp(14)) == .forgotten)
        #expect(apply(Write(version: 9, stamp: 13), other, fixture) == .forgotten)
        #expect(apply(Write(version: 1, stamp: 15), other, fixture) == .stored)
    }

    @Test func aClearedVersionDoesNotStandInTheWay() throws {
        let fixture = try fixture(), key = fixture.key("a")
        apply(Write(version: 7, stamp: 12), key, fixture)
        fixture.store.raiseCacheFloor(fixture.cache, to: StoreFixture.stamp(20))
        #expect(apply(Write(version: 9, stamp: 19), key, fixture) == .forgotten)
        #expect(apply(Write(version: 3, stamp: 21), key, fixture) == .stored)
        // A higher version of before the clearing stays away.
        #expect(apply(Write(version: 9, stamp: 19), key, fixture) == .superseded)
    }

    @Test func anOwnersWriteOfALowerVersionChangesNothing() throws {
        let fixture = try fixture(), key = fixture.key("a")
        apply(Write(version: 7, stamp: 12), key, fixture)
        let value = withUnsafeBytes(of: UInt64(6).bigEndian) { Array($0) } + [1]
        let (result, _) = fixture.store.set(
            key.id, key.bytes.span.bytes, value: value.span.bytes, ttl: nil, now: StoreFixture.now, mint: { _ in StoreFixture.stamp(30) })
        #expect(result == .superseded)
        #expect(held(key, fixture) == Write(version: 7, stamp: 12))
    }

    /// Each repairs with what the other has; 5 under the higher stamp must not win, wherever it is.
    @Test(arguments: [true, false]) func repairTakesAndShipsTheHigherVersion(isHigherHere: Bool) throws {
        let (here, there) = (try fixture(), try fixture()), key = here.key("a")
        let (high, low) = (Write(version: 7, stamp: 12), Write(version: 5, stamp: 15))
        apply(isHigherHere ? high : low, key, here)
        apply(isHigherHere ? low : high, key, there)
        let pull = PullRequest(slots: [here.slot], bucket: key.id.bucket.index % BucketIndex.perSlot, isBucketOnly: true)
        let page = try #require(there.store.page(pull, now: StoreFixture.now) { _ in Array("users".utf8) })
        let context = PageContext(
            cache: { _ in here.cache }, holds: { _, _ in true }, hash: { _, _ in key.id.hash }, accepts: { _ in true },
            now: StoreFixture.now)
        var shipped: [Stamp] = []
        _ = try page.withUnsafeBytes { bytes in
            try here.store.repair(key.id.bucket, with: bytes, context) { _, _, info, _ in shipped.append(info.stamp) }
        }
        #expect(held(key, here) == high)
        #expect(shipped == (isHigherHere ? [StoreFixture.stamp(12)] : []))
    }

    @Test func aQuorumReadTakesTheHigherVersionAndBringsItUp() throws {
        let scheme = try #require(QuorumScheme(copies: 3, readFrom: 2, ackedBy: 2))
        let (low, high) = (StoreFixture.stamp(15), StoreFixture.stamp(12))
        var read = QuorumRead(scheme, voters: 3)
        #expect(read.next() == .ask([0, 1]))
        read.answered(0, .init(guardStamp: low, isHeld: true, hasValue: true, version: 5))
        read.answered(1, .init(guardStamp: high, isHeld: true, version: 7))
        #expect(read.next() == .askForValue(1))
        read.answered(1, .init(guardStamp: high, isHeld: true, hasValue: true, version: 7))
        #expect(read.next() == .write(high, to: [0, 2]))
        #expect(read.version == 7)
        read.acked(0, high)
        #expect(read.next() == .hit(high, valueFrom: 1))
    }
}

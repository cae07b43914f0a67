import PeerCacheCore
import PeerCacheTesting
import Testing

@Suite struct PlacementTests {
    /// Peers and ranks. Debug builds, some 20 times slower, leave cases out.
    static var boundCases: [(Int, Int)] {
        #if DEBUG
        [(3, 3), (4, 3), (8, 7), (16, 3), (100, 2), (1000, 2)]
        #else
        (3...40).map { ($0, min($0 - 1, 7)) } + [(3, 3), (64, 3), (100, 7), (200, 3), (300, 3), (500, 3), (700, 3), (1000, 3), (1000, 7)]
        #endif
    }

    @Test func theOrderOfArrivalDecidesNothing() throws {
        let seed: UInt64 = 11
        var random = SeededRandom(seed: seed)
        for count in [1, 7, 30] {
            var members = PlacementMember.drawn(count, zones: 3, weights: 0...4, from: &random)
            let placement = try Placement.build(members: members, digest: 1, ranks: 3)
            for _ in 0..<2 {
                members.shuffle(using: &random)
                let other = try Placement.build(members: members + members.prefix(2), digest: 1, ranks: 3)
                #expect(other.members == placement.members, "seed \(seed), \(count) members")
                #expect(other.allSeats == placement.allSeats, "seed \(seed), \(count) members")
            }
        }
    }

    /// Peers of different builds form one cluster: whoever changes these numbers breaks rolling updates.
    @Test func theTableOfAKnownMemberSetNeverChanges() throws {
        var random = SeededRandom(seed: 12)
        let members = PlacementMember.drawn(20, zones: 3, weights: 1...3, from: &random)
        let placement = try Placement.build(members: members, digest: 1, ranks: 3)
        let fingerprint = placement.allSeats.withUnsafeBytes { publicHash($0) }
        #expect(fingerprint == 158_194_794_311_658_420)
    }

    @Test(arguments: boundCases)
    func noPeerExceedsTheBoundAtAnyRank(count: Int, ranks: Int) throws {
        var random = SeededRandom(seed: UInt64(count))
        let members = PlacementMember.drawn(count, from: &random)
        let placement = try Placement.build(members: members, digest: 1, ranks: ranks)
        for rank in 0..<ranks {
            let counts = placement.slotCounts(rank: rank)
            #expect(counts.reduce(0, +) == Slot.count)
            let most = counts.max() ?? 0
            #expect(most <= (Slot.count * 105 + 100 * count - 1) / (100 * count), "seed \(count), rank \(rank)")
        }
    }

    @Test func everySeatIsTakenByAnotherPeer() throws {
        var random = SeededRandom(seed: 13)
        for (count, ranks) in [(1, 7), (3, 7), (7, 7), (20, 3)] {
            let members = PlacementMember.drawn(count, zones: 2, weights: 1...100, from: &random)
            let placement = try Placement.build(members: members, digest: 1, ranks: ranks)
            #expect(placement.ranks == min(count, ranks))
            let repeats = Slot.all.filter { Set(placement.peerIndices(of: $0, copies: ranks)).count < min(count, ranks) }
            #expect(repeats.isEmpty, "seed 13, \(count) members")
        }
    }

    @Test func lowerRanksDoNotDependOnHowManyAreKept() throws {
        var random = SeededRandom(seed: 14)
        for (count, zones) in [(4, 1), (6, 3)] {
            let members = PlacementMember.drawn(count, zones: zones, weights: 1...9, from: &random)
            let all = try Placement.build(members: members, digest: 1, ranks: 4)
            for ranks in 1...2 {
                let fewer = try Placement.build(members: members, digest: 1, ranks: ranks)
                let same = Slot.all.allSatisfy { fewer.peerIndices(of: $0, copies: 4) == all.peerIndices(of: $0, copies: ranks) }
                #expect(same, "seed 14, \(count) members, \(ranks) ranks")
            }
        }
    }

    @Test(arguments: [(3, 3, 3), (9, 3, 3), (12, 2, 3), (20, 4, 2)])
    func holdersLieInDistinctZones(count: Int, zones: Int, copies: Int) throws {
        var random = SeededRandom(seed: UInt64(count))
        let members = PlacementMember.drawn(count, zones: zones, from: &random)
        let placement = try Placement.build(members: members, digest: 1, ranks: copies)
        let zoneOf = placement.members.map { $0.zone.utf8.last }
        let crowded = Slot.all.filter { slot in
            Set(placement.peerIndices(of: slot, copies: copies).map { zoneOf[Int($0)] }).count < min(zones, copies)
        }
        #expect(crowded.isEmpty, "seed \(count)")
    }

    /// One zone with a single peer must hold a copy of nearly everything: the bound gives way, the zones do not.
    @Test func unequalZonesBreakTheBoundAndNotTheZones() throws {
        var random = SeededRandom(seed: 15)
        var members = PlacementMember.drawn(18, from: &random)
        members[7].zone = "lonely"
        let placement = try Placement.build(members: members, digest: 1, ranks: 2)
        let lonely = try #require(placement.index(of: members[7].id))
        let without = Slot.all.filter { !placement.isHolder(lonely, of: $0, copies: 2) }
        #expect(without.isEmpty)
        let mostOwned = placement.slotCounts(rank: 0).max() ?? 0
        #expect(mostOwned <= (Slot.count * 105 + 1799) / 1800)
    }

    @Test func ownedSlotsFollowTheWeights() throws {
        var random = SeededRandom(seed: 16)
        let members = PlacementMember.drawn(9, weights: 0...3, from: &random)
        let placement = try Placement.build(members: members, digest: 1, ranks: 2)
        let total = members.reduce(0) { $0 + $1.weight }
        for rank in 0...1 {
            for (member, count) in zip(placement.members, placement.slotCounts(rank: rank)) {
                let fair = Double(Slot.count * member.weight) / Double(total)
                #expect(Double(count) <= (1.05 * fair).rounded(.up), "seed 16, rank \(rank)")
                if rank == 0 { #expect(Double(count) >= 0.9 * fair, "seed 16") }
            }
        }
    }

    @Test func impossibleWeightsTrapNowhere() throws {
        var random = SeededRandom(seed: 17)
        for weights in [[Int.max, .min, -1, 1, 1], [1000, 1, 1, 1], [0, 0], [1, 0]] {
            var members = PlacementMember.drawn(weights.count, from: &random)
            for index in members.indices { members[index].weight = weights[index] }
            let placement = try Placement.build(members: members, digest: 1, ranks: 3)
            #expect(placement.ranks == min(3, weights.count { $0 > 0 }))
            for (member, held) in zip(placement.members, placement.slotsHeld(copies: 7)) where member.weight <= 0 { #expect(held == 0) }
        }
    }

    @Test func lookupsAgree() throws {
        var random = SeededRandom(seed: 18)
        let placement = try Placement.build(members: PlacementMember.drawn(9, from: &random), digest: 77, ranks: 3)
        #expect(placement.digest == 77)
        var heldByFirst = 0
        for slot in Slot.all {
            let peers = placement.peers(of: slot, copies: 2)
            let hash = UInt64(slot.index) << 50 | random.next() >> 14
            let owner = try #require(placement.ownerIndex(hash: hash))
            guard peers.count == 2, peers.first == placement.owner(of: slot), placement.members[owner].id == peers.first else {
                Issue.record("slot \(slot.index)")
                return
            }
            if placement.isHolder(0, of: slot, copies: 2) { heldByFirst += 1 }
        }
        #expect(heldByFirst == placement.slotsHeld(copies: 2)[0])
        #expect(placement.members.indices.allSatisfy { placement.index(of: placement.members[$0].id) == $0 })
        #expect(placement.index(of: .none) == nil)
        let slot = Slot(hash: 0)
        #expect(placement.peers(of: slot, copies: -1).isEmpty)
        #expect(placement.peers(of: slot, copies: 9).count == 3)
    }

    @Test func nobodyOwnsAnythingInAnEmptyPlacement() throws {
        for placement in [Placement.empty, try Placement.build(members: [], digest: 0, ranks: 2)] {
            #expect(placement.isEmpty)
            #expect(placement.owner(of: Slot(hash: .max)) == nil)
            #expect(placement.ownerIndex(hash: .max) == nil)
            #expect(placement.peers(of: Slot(hash: .max), copies: 2).isEmpty)
            #expect(!placement.isHolder(0, of: Slot(hash: 0), copies: 2))
        }
    }

    @Test func boundsAreRefused() {
        #expect(throws: PlacementError.ranks(0)) { try Placement.build(members: [], digest: 0, ranks: 0) }
        #expect(throws: PlacementError.ranks(8)) { try Placement.build(members: [], digest: 0, ranks: 8) }
        let members = [PlacementMember](repeating: PlacementMember(id: .none), count: 65_536)
        #expect(throws: PlacementError.members(65_536)) { try Placement.build(members: members, digest: 0, ranks: 1) }
    }
}

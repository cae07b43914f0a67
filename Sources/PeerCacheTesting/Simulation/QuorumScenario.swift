package import PeerCacheCore

/// A short history of a strict cache: which faults are on, and how strong.
package struct QuorumScenario: Sendable {
    package enum Profile: String, CaseIterable, Sendable {
        /// The voters stay as they are.
        case plain
        /// The network falls in two, members are declared dead and return.
        case split
        /// Processes die and others take their place.
        case restart
        /// Entries are dropped all the time.
        case evict
        /// Loaders run.
        case lease
        /// Everything.
        case mixed
    }

    /// Mistakes that an implementation could make; each must be found.
    package enum Mutant: String, CaseIterable, Sendable {
        case onePhaseStamp, restampOnRefusal, noWriteBack, lateWriteBack, dropWithoutFloor, votesAtOnce, syncFromOne
        case placementCheckOnly, openListsKept, blindFloorMerge, acksSurviveRestart, sealQuorumIsR, idWithoutHistory, leaseAtEnd
        case nonVotersSpeak, forgetsSuccessors, keepOldOnRefusedStore, countsForgottenAcks
    }

    package var seed: UInt64
    package var profile: Profile
    package var scheme: QuorumScheme
    package var peers: Int
    package var keys: Int
    package var operations: Int
    /// Of 1,000 messages.
    package var lost: Int
    package var duplicated: Int
    /// Of 1,000 messages, those that take up to ``delayMax`` milliseconds.
    package var slow: Int
    package var delayMax: Int
    /// Milliseconds in which the operations begin.
    package var span: Int
    /// Of 1,000 operations, followed by an eviction.
    package var evictions: Int
    /// Of 1,000 operations, followed by a repair among voters.
    package var repairs: Int
    /// Of 1,000 writes at a voter, those for which it has no room.
    package var refusals: Int
    /// Of 1,000 writes, those with a ttl.
    package var expiring: Int
    /// All keys have one floor.
    package var sharesBucket: Bool
    package var membershipChanges: Int
    package var crashes: Bool
    package var splits: Bool
    package var loads: Bool
    /// Milliseconds that clocks differ at most.
    package var skew: Int
    /// Nil: more than half.
    package var minimumPeers: Int?
    package var mutant: Mutant?

    /// The seed decides everything.
    package init(seed: UInt64, profile: Profile, mutant: Mutant? = nil) {
        var random = SeededRandom(seed: seed &* 0x9E37_79B9_7F4A_7C15 &+ 1)
        func draw(_ choices: [Int]) -> Int { choices.randomElement(using: &random) ?? 0 }
        self.seed = seed
        self.profile = profile
        self.mutant = mutant
        let numbers = [(3, 2, 2), (3, 2, 2), (3, 2, 2), (5, 3, 3), (5, 2, 4), (2, 1, 2), (2, 2, 1), (3, 1, 3), (3, 3, 1), (4, 3, 2)]
        let (copies, readFrom, ackedBy) =
            profile == .plain || profile == .mixed ? numbers[draw(Array(numbers.indices))] : numbers[draw([0, 0, 0, 3, 4])]
        scheme = QuorumScheme(copies: copies, readFrom: readFrom, ackedBy: ackedBy) ?? QuorumScheme.majorityOfThree
        peers = max(scheme.copies, draw([3, 4, 5])) + (profile == .split ? draw([0, 1, 2]) : 0)
        keys = draw([1, 1, 2])
        operations = 8 + draw([0, 1, 2, 3, 4])
        span = draw([40, 100, 200])
        sharesBucket = draw([0, 1]) == 1
        lost = draw([0, 0, 50, 150, 300])
        duplicated = draw([0, 0, 200, 500])
        slow = draw([0, 50, 200, 400])
        delayMax = draw([10, 30, 80])
        let all = profile == .mixed
        evictions = profile == .evict || all ? draw([100, 300, 500]) : draw([0, 0, 100])
        refusals = profile == .evict || all ? draw([0, 50, 200]) : 0
        expiring = profile == .evict || all ? draw([0, 200, 500]) : 0
        crashes = profile == .restart || (all && draw([0, 1]) == 1)
        splits = profile == .split || (all && draw([0, 1]) == 1)
        loads = profile == .lease || (all && draw([0, 1]) == 1)
        membershipChanges = crashes || splits ? draw([1, 2, 3, 4]) : 0
        skew = draw([0, 20, 400, 4_000])
        repairs = draw([0, 300, 600])
    }
}

extension QuorumScheme {
    /// 3, 2, 2.
    package static var majorityOfThree: QuorumScheme {
        guard let scheme = QuorumScheme(copies: 3, readFrom: 2, ackedBy: 2) else { preconditionFailure("R + W > N holds") }
        return scheme
    }
}

extension QuorumScenario.Mutant {
    /// The switch of the machine, when it is one.
    var voter: VoterMutant? {
        switch self {
        case .votesAtOnce: .votesAtOnce
        case .syncFromOne: .syncFromOne
        case .placementCheckOnly: .placementCheckOnly
        case .openListsKept: .openListsKept
        case .sealQuorumIsR: .sealQuorumIsR
        case .nonVotersSpeak: .nonVotersSpeak
        case .forgetsSuccessors: .forgetsSuccessors
        default: nil
        }
    }
}

/// A set of parameters of `GOSSIP.md` §6.
package enum GossipProfile: String, Hashable, Sendable {
    /// The default.
    case p
    /// Fast: half the period, more traffic.
    case f
    /// The rules of memberlist's LAN profile, for comparison.
    case m
}

extension GossipConfiguration {
    package init(profile: GossipProfile) {
        self.init()
        switch profile {
        case .p: break
        case .f:
            period = .milliseconds(500)
            pingsAt = [.zero, .milliseconds(70), .milliseconds(140)]
            relaysAt = .milliseconds(200)
            nackAfter = .milliseconds(220)
            freshDialEvery = .milliseconds(50)
            freshDialsMax = 6
        case .m:
            pingsAt = [.zero]
            relaysAt = .milliseconds(500)
            freshDialsMax = 1
            healthScalesEveryWait = false
            suspicionFactor = 4
            pushesMax = 0
            verifyChallenges = 0
            freshFor = .zero
            gossipToDeadFor = .seconds(30)
            flushesUrgently = false
            syncsWhole = true
            usesCrashEvidence = false
            retriesTheDead = false
        }
    }

    /// Throws when a setting lies outside its range or two settings contradict each other.
    package func validate() throws(GossipConfigurationError) {
        try validateProbes()
        try validateLimits()
        let durations: [(String, Duration)] = [
            ("pushEvery", pushEvery), ("verifyEvery", verifyEvery), ("latenessMin", latenessMin), ("gossipEvery", gossipEvery),
            ("syncEvery", syncEvery), ("contactGap", contactGap), ("caseDialEvery", caseDialEvery), ("caseDialLimit", caseDialLimit),
            ("voteValidFor", voteValidFor), ("objectionRest", objectionRest), ("idleAfter", idleAfter), ("backoffMin", backoffMin),
            ("resolveEveryAlone", resolveEveryAlone), ("resolveEveryPartial", resolveEveryPartial), ("resolveEvery", resolveEvery),
            ("foreignRest", foreignRest), ("warningEvery", warningEvery), ("retryEvery", retryEvery), ("retryEverySlow", retryEverySlow),
            ("retryFastFor", retryFastFor), ("freshDialEvery", freshDialEvery), ("nackAfter", nackAfter),
        ]
        for (name, value) in durations { try require(value >= .milliseconds(1), "\(name) is \(value); at least 1 ms") }
        let fromZero: [(String, Duration)] = [
            ("freshFor", freshFor), ("gossipToDeadFor", gossipToDeadFor), ("redialJitter", redialJitter), ("verifyWait", verifyWait),
            ("rejectionSpan", rejectionSpan), ("rejectionSpanOfTwo", rejectionSpanOfTwo),
        ]
        for (name, value) in fromZero { try require(value >= .zero, "\(name) is \(value); not negative") }
        for (name, value) in durations + fromZero { try require(value <= .seconds(86_400), "\(name) is \(value); at most a day") }
        try require(dialLimit >= .milliseconds(1) && dialLimit <= .seconds(60), "dialLimit is \(dialLimit); 1 ms...1 min")
        try require(backoffMax >= backoffMin, "backoffMax is \(backoffMax); at least backoffMin (\(backoffMin))")
        let votes = caseDialEvery * max(0, rejectionsMin - 1)
        try require(
            voteValidFor > max(rejectionSpan, votes), "voteValidFor is \(voteValidFor); above the time that votes take (\(votes))")
    }

    private func validateProbes() throws(GossipConfigurationError) {
        try require(period >= .milliseconds(10) && period <= .seconds(60), "period is \(period); 10 ms...1 min")
        try require((1...16).contains(pingsAt.count) && pingsAt[0] == .zero, "pingsAt is \(pingsAt); 1...16 times, the first 0")
        for (one, next) in zip(pingsAt, pingsAt.dropFirst()) { try require(one < next, "pingsAt is \(pingsAt); not in order") }
        try require(
            relaysAt > pingsAt[pingsAt.count - 1] && relaysAt < period,
            "relaysAt is \(relaysAt); after the last ping, before the period (\(period)) ends")
        try require(nackAfter < period, "nackAfter is \(nackAfter); below the period (\(period)), as a later answer counts for nothing")
        let dials = relaysAt + freshDialEvery * max(0, freshDialsMax - 1)
        try require(dials < period, "the last fresh dial starts at \(dials); before the period (\(period)) ends")
        try require((0...16).contains(relays), "relays is \(relays); 0...16")
        try require((0...16).contains(freshDialsMax), "freshDialsMax is \(freshDialsMax); 0...16")
        try require((1...100).contains(suspicionFactor), "suspicionFactor is \(suspicionFactor); 1...100")
        try require((1...100).contains(suspicionMaxFactor), "suspicionMaxFactor is \(suspicionMaxFactor); 1...100")
        try require((0...16).contains(confirmations), "confirmations is \(confirmations); 0...16")
        try require((0...100).contains(pushesMax), "pushesMax is \(pushesMax); 0...100")
        try require((0...16).contains(verifyChallenges), "verifyChallenges is \(verifyChallenges); 0...16")
        let last = verifyEvery * max(0, verifyChallenges - 1)
        try require(
            verifyChallenges == 0 || last < verifyWait, "verifyWait is \(verifyWait); above the time of the last challenge (\(last))")
    }

    private func validateLimits() throws(GossipConfigurationError) {
        let numbers: [(String, Int, ClosedRange<Int>)] = [
            ("gossipMembers", gossipMembers, 1...64), ("sendsFactor", sendsFactor, 1...100), ("claimBytesMax", claimBytesMax, 256...32_768),
            ("roundBytesMax", roundBytesMax, 256...32_768), ("watchers", watchers, 1...64), ("rejectionsMin", rejectionsMin, 2...100),
            ("casesMax", casesMax, 1...4_096), ("fullMeshMax", fullMeshMax, 2...65_536), ("dialsMax", dialsMax, 1...4_096),
            ("candidateDialsMax", candidateDialsMax, 1...max(1, dialsMax)), ("membersMax", membersMax, 2...65_536),
            ("departedMax", departedMax, 1...65_536), ("departedHours", Int(clamping: departedHours), 1...1_000),
            ("candidatesMax", candidatesMax, 1...65_536),
        ]
        for (name, value, range) in numbers {
            try require(range.contains(value), "\(name) is \(value); \(range.lowerBound)...\(range.upperBound)")
        }
    }

    private func require(_ condition: Bool, _ message: String) throws(GossipConfigurationError) {
        if !condition { throw GossipConfigurationError(message: "gossip.\(message)") }
    }
}

/// An impossible setting; the message names it, its value and the rule.
package struct GossipConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    package var message: String

    package var description: String { message }
}

/// Times and limits of membership. The defaults are those of `GOSSIP.md`.
package struct GossipConfiguration: Hashable, Sendable {
    /// Period of heartbeats on each connection, 10 ms...1 min.
    package var heartbeatEvery: Duration = .seconds(1)
    /// A connection that brought a frame within this time outweighs the verdict of others. At least one heartbeat.
    package var freshFor: Duration = .milliseconds(1_500)
    /// A connection that brought nothing for so long is doubted and a fresh one is dialled. At least two heartbeats.
    package var quietAfter: Duration = .seconds(3)
    /// A member that brought nothing for so long and cannot be dialled is dead. At least `quietAfter` + `dialLimit`.
    package var silentAfter: Duration = .seconds(10)

    /// Time for one dial, handshake included, 1 ms...1 min.
    package var dialLimit: Duration = .seconds(2)
    /// Dials in flight, 1...4,096.
    package var dialsMax = 64
    /// Of those, dials to addresses that discovery named and that nobody is known at, 1...`dialsMax`.
    package var candidateDialsMax = 3
    /// First wait before an address that did not answer is dialled again, at least 1 ms; doubles up to `backoffMax`.
    package var backoffMin: Duration = .milliseconds(20)
    package var backoffMax: Duration = .seconds(5)

    /// Wait after a break before the first re-dial: random, from 0 to this.
    package var redialJitter: Duration = .milliseconds(20)
    /// Wait between re-dials while a port refuses.
    package var redialEvery: Duration = .milliseconds(100)
    /// Refused dials in a row that prove a crash, at least 2 …
    package var crashRefusals = 2
    /// … if the first and the last lie so far apart.
    package var crashSpan: Duration = .milliseconds(100)
    /// After a member refuted a verdict of ours we do not judge it again for so long, unless we connected meanwhile: it is our path that
    /// is broken. Doubles with each wrong verdict, up to 20 times.
    package var verdictRest: Duration = .seconds(30)

    /// Members in the table, the departed included, 2...65,536. Also the most that one message may name.
    package var membersMax = 4_096
    /// Departed members kept: the larger of this and four times the present ones, oldest dropped first.
    package var departedMax = 1_024
    /// Whole hours for which the departed are kept, 1...1,000.
    package var departedHours: UInt64 = 24
    /// Full exchanges that unequal digests may start per heartbeat period, at least 1.
    package var syncsPerHeartbeat = 4

    /// Addresses kept from discovery, 1...65,536.
    package var candidatesMax = 4_096
    /// Period of discovery: before the first contact, while some answers are no members, otherwise. ±10 %.
    package var resolveEveryAlone: Duration = .seconds(5)
    package var resolveEveryPartial: Duration = .seconds(15)
    package var resolveEvery: Duration = .seconds(60)
    /// A foreign address is not dialled for so long.
    package var foreignRest: Duration = .seconds(60)
    /// Least time between two warnings about the same thing.
    package var warningEvery: Duration = .seconds(600)

    /// Period of dials to a random dead member in the 10 minutes after its verdict (±10 %), and later.
    package var retryEvery: Duration = .seconds(5)
    package var retryEverySlow: Duration = .seconds(30)
    package var retryFastFor: Duration = .seconds(600)

    package init() {}

    /// Throws when a setting lies outside its range or two settings contradict each other.
    package func validate() throws(GossipConfigurationError) {
        let durations: [(String, Duration)] = [
            ("backoffMin", backoffMin), ("redialEvery", redialEvery), ("verdictRest", verdictRest),
            ("resolveEveryAlone", resolveEveryAlone),
            ("resolveEveryPartial", resolveEveryPartial), ("resolveEvery", resolveEvery), ("foreignRest", foreignRest),
            ("warningEvery", warningEvery), ("retryEvery", retryEvery), ("retryEverySlow", retryEverySlow), ("retryFastFor", retryFastFor),
        ]
        for (name, value) in durations { try require(value >= .milliseconds(1), "\(name) is \(value); at least 1 ms") }
        try require(
            heartbeatEvery >= .milliseconds(10) && heartbeatEvery <= .seconds(60), "heartbeatEvery is \(heartbeatEvery); 10 ms...1 min")
        try require(freshFor >= heartbeatEvery, "freshFor is \(freshFor); at least heartbeatEvery (\(heartbeatEvery))")
        try require(quietAfter >= heartbeatEvery * 2, "quietAfter is \(quietAfter); at least two heartbeats (\(heartbeatEvery * 2))")
        try require(dialLimit >= .milliseconds(1) && dialLimit <= .seconds(60), "dialLimit is \(dialLimit); 1 ms...1 min")
        try require(
            silentAfter >= quietAfter + dialLimit,
            "silentAfter is \(silentAfter); at least quietAfter + dialLimit (\(quietAfter + dialLimit))")
        try require(backoffMax >= backoffMin, "backoffMax is \(backoffMax); at least backoffMin (\(backoffMin))")
        try require(redialJitter >= .zero, "redialJitter is \(redialJitter); not negative")
        try require(crashRefusals >= 2, "crashRefusals is \(crashRefusals); at least 2, as a proxy may refuse once for a live peer")
        try require(crashSpan >= .zero && crashSpan <= silentAfter, "crashSpan is \(crashSpan); 0...silentAfter (\(silentAfter))")
        try require((1...4_096).contains(dialsMax), "dialsMax is \(dialsMax); 1...4,096")
        try require((1...dialsMax).contains(candidateDialsMax), "candidateDialsMax is \(candidateDialsMax); 1...dialsMax (\(dialsMax))")
        try require((2...65_536).contains(membersMax), "membersMax is \(membersMax); 2...65,536")
        try require((1...65_536).contains(departedMax), "departedMax is \(departedMax); 1...65,536")
        try require((1...1_000).contains(departedHours), "departedHours is \(departedHours); 1...1,000")
        try require(syncsPerHeartbeat >= 1, "syncsPerHeartbeat is \(syncsPerHeartbeat); at least 1")
        try require((1...65_536).contains(candidatesMax), "candidatesMax is \(candidatesMax); 1...65,536")
    }

    private func require(_ condition: Bool, _ message: String) throws(GossipConfigurationError) {
        if !condition { throw GossipConfigurationError(message: "gossip.\(message)") }
    }
}

/// An impossible setting; the message names it, its value and the rule.
package struct GossipConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    package var message: String

    package var description: String { message }
}

/// Times, switches and limits of membership. The defaults are profile P of `GOSSIP.md` §6.
package struct GossipConfiguration: Hashable, Sendable {
    /// Follows the table of others without being in it: neither probes nor votes, and tells nothing (`GOSSIP.md` §10).
    package var isObserver = false
    /// Connections that an observer keeps to ask for the table; 1...64.
    package var observedPeers = 2

    // MARK: Probes

    /// One member is probed per period, 10 ms...1 min.
    package var period: Duration = .seconds(1)
    /// Direct pings at these times of the period, in order, the first at 0. At most 16.
    package var pingsAt: [Duration] = [.zero, .milliseconds(100), .milliseconds(200)]
    /// When others are asked to probe, and fresh dials begin.
    package var relaysAt: Duration = .milliseconds(300)
    /// 0...16.
    package var relays = 3
    /// A relay that heard nothing for so long says so.
    package var nackAfter: Duration = .milliseconds(500)
    /// Fresh dials from `relaysAt` on, so far apart and at most so many, 0...16.
    package var freshDialEvery: Duration = .milliseconds(100)
    package var freshDialsMax = 7
    /// Local health lengthens every wait; else the period alone.
    package var healthScalesEveryWait = true

    // MARK: Suspicion

    /// Shortest suspicion: this × max(1, log10 N) × period; 1...100.
    package var suspicionFactor = 3
    /// Longest: this × the shortest; 1...100.
    package var suspicionMaxFactor = 6
    /// Confirmations after which it is shortest, 0...16.
    package var confirmations = 2
    /// Whoever suspects challenges the suspect so often and at most so many times; 0: not.
    package var pushEvery: Duration = .milliseconds(400)
    package var pushesMax = 8
    /// Challenges before a verdict, 0...16; 0: none, and nothing is waited for.
    package var verifyChallenges = 4
    package var verifyEvery: Duration = .milliseconds(100)
    package var verifyWait: Duration = .milliseconds(400)
    /// A connection that brought a frame within this time outweighs the verdict of others, until the member was challenged.
    package var freshFor: Duration = .seconds(1)
    /// `now` so far past a deadline: this process stood still.
    package var latenessMin: Duration = .milliseconds(200)

    // MARK: Dissemination

    package var gossipEvery: Duration = .milliseconds(200)
    /// Members per round, 1...64.
    package var gossipMembers = 3
    /// Sends per item: this × ⌈log10(N + 1)⌉; 1...100.
    package var sendsFactor = 4
    /// Members that died within this time still get gossip; 0: none.
    package var gossipToDeadFor: Duration = .zero
    /// News of status goes out at once.
    package var flushesUrgently = true
    /// Bytes of claims on pings, acks and nacks, and of a round to each member. 256...32 Ki.
    package var claimBytesMax = 1_200
    package var roundBytesMax = 8_192

    // MARK: Tables

    /// A random member is compared with, ± 10 %.
    package var syncEvery: Duration = .seconds(30)
    /// Whole tables instead of digests, and above 32 members less often.
    package var syncsWhole = false
    /// Also after so long without contact.
    package var contactGap: Duration = .seconds(5)
    /// Members in the table, the departed included, 2...65,536. Also the most that one message may name.
    package var membersMax = 4_096
    /// Departed members kept: the larger of this and four times the present ones, oldest dropped first.
    package var departedMax = 1_024
    /// Whole hours for which the departed are kept, 1...1,000.
    package var departedHours: UInt64 = 24

    // MARK: Crash evidence

    package var usesCrashEvidence = true
    /// Members that are obliged to keep a connection to a given one and vote on its crash, 1...64.
    package var watchers = 12
    /// Wait after a break before the first re-dial: random, from 0 to this.
    package var redialJitter: Duration = .milliseconds(20)
    package var caseDialEvery: Duration = .milliseconds(100)
    package var caseDialLimit: Duration = .milliseconds(250)
    /// Rejections in a row that make a vote, 2...100 …
    package var rejectionsMin = 3
    /// … if the first and the last lie so far apart, and with two members in all so far.
    package var rejectionSpan: Duration = .milliseconds(500)
    package var rejectionSpanOfTwo: Duration = .seconds(1)
    package var voteValidFor: Duration = .seconds(2)
    /// After an objection there is no case about the member for so long.
    package var objectionRest: Duration = .seconds(30)
    /// Open cases, 1...4,096.
    package var casesMax = 64

    // MARK: Connections

    /// Up to so many members every pair keeps a connection; above, members and their watchers do.
    package var fullMeshMax = 128
    /// Other connections are closed after so long without a message.
    package var idleAfter: Duration = .seconds(300)
    /// Time for one dial, handshake included, 1 ms...1 min.
    package var dialLimit: Duration = .seconds(2)
    /// Dials in flight, 1...4,096.
    package var dialsMax = 64
    /// Of those, dials to addresses that discovery named and that nobody is known at, 1...`dialsMax`.
    package var candidateDialsMax = 3
    /// First wait before an address that did not answer is dialled again, at least 1 ms; doubles up to `backoffMax`.
    package var backoffMin: Duration = .milliseconds(20)
    package var backoffMax: Duration = .seconds(5)

    // MARK: Discovery and retries

    /// Addresses kept from discovery, 1...65,536.
    package var candidatesMax = 4_096
    /// Period of discovery: before the first contact, while some answers are no members, otherwise. ± 10 %.
    package var resolveEveryAlone: Duration = .seconds(5)
    package var resolveEveryPartial: Duration = .seconds(15)
    package var resolveEvery: Duration = .seconds(60)
    /// A foreign address is not dialled for so long.
    package var foreignRest: Duration = .seconds(60)
    /// Least time between two warnings about the same thing.
    package var warningEvery: Duration = .seconds(600)
    package var retriesTheDead = true
    /// Period of dials to a random dead member in the 10 minutes after its verdict (± 10 %), and later.
    package var retryEvery: Duration = .seconds(5)
    package var retryEverySlow: Duration = .seconds(30)
    package var retryFastFor: Duration = .seconds(600)

    package init() {}
}

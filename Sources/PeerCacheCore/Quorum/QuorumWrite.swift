/// One write of a strict cache in two phases (`CONTRACT.md` §6.1): R voters tell their guards, one stamp is minted above them, and W voters
/// must take the content in. After Attiya, Bar-Noy and Dolev, "Sharing Memory Robustly in Message-Passing Systems", 1995.
///
/// A pure value. Voters are named by their position in the slot's list.
package struct QuorumWrite: Sendable {
    package enum Step: Hashable, Sendable {
        /// Ask these for their guards.
        case ask([Int])
        /// Mint a stamp above this one and call ``minted(_:)``.
        case mint(above: Stamp)
        /// Send the content to all voters.
        case write(Stamp)
        case wait
        case done(Stamp)
        /// Too few can answer; the write may have taken effect if a stamp was minted.
        case noQuorum
        /// So many voters can never hold this write that it is of no use to send it again under this placement.
        case forgotten(Stamp)
    }

    private enum Voter: Sendable { case unasked, asked, silent, answered }
    private enum Ack: Sendable { case none, refused, forgotten, given }

    private let scheme: QuorumScheme
    private var voters: [Voter]
    private var highest = Stamp.zero
    private var acks: [Ack]
    private var isWritten = false
    /// Minted, once and for ever.
    package private(set) var stamp: Stamp?

    /// - Parameter stamp: of a former attempt under another placement, or of a lease; nil: to be minted.
    package init(_ scheme: QuorumScheme, voters: Int, stamp: Stamp?) {
        self.scheme = scheme
        self.voters = Array(repeating: .unasked, count: max(0, voters))
        self.stamp = stamp
        acks = Array(repeating: .none, count: max(0, voters))
    }

    /// A guard came.
    package mutating func answered(_ voter: Int, guard stamp: Stamp) {
        guard voters.indices.contains(voter), voters[voter] != .answered else { return }
        voters[voter] = .answered
        highest = max(highest, stamp)
    }

    package mutating func failed(_ voter: Int) {
        guard voters.indices.contains(voter) else { return }
        voters[voter] = .silent
    }

    package mutating func minted(_ stamp: Stamp) { self.stamp = self.stamp ?? stamp }

    /// A voter has taken the content in, or has something newer.
    package mutating func acked(_ voter: Int) { if acks.indices.contains(voter) { acks[voter] = .given } }

    /// A voter has not, and may when it is asked again.
    package mutating func refused(_ voter: Int) { note(.refused, voter) }

    /// A voter cannot keep the content. That is final: its floor is at the stamp, which stays the same.
    package mutating func forgot(_ voter: Int) { note(.forgotten, voter) }

    private mutating func note(_ ack: Ack, _ voter: Int) { if acks.indices.contains(voter), acks[voter] == .none { acks[voter] = ack } }

    /// Asks everybody else now: somebody takes long.
    package mutating func hurry() -> Step { stamp == nil ? take(voters.count) : .wait }

    /// What to do next; `.ask` and `.write` count as done.
    package mutating func next() -> Step {
        guard voters.count >= scheme.votersMin else { return .noQuorum }
        if let stamp {
            if !isWritten {
                isWritten = true
                return .write(stamp)
            }
            let given = acks.count { $0 == .given }, forgotten = acks.count { $0 == .forgotten }
            if given >= scheme.ackedBy { return .done(stamp) }
            if acks.count - forgotten < scheme.ackedBy { return .forgotten(stamp) }
            return given + acks.count { $0 == .none } < scheme.ackedBy ? .noQuorum : .wait
        }
        let answers = voters.count { $0 == .answered }
        if answers >= scheme.readFrom { return .mint(above: highest) }
        let waiting = voters.count { $0 == .asked }
        if answers + waiting >= scheme.readFrom { return .wait }
        let step = take(scheme.readFrom - answers - waiting)
        if case .ask(let more) = step, more.isEmpty { return waiting > 0 ? .wait : .noQuorum }
        return step
    }

    private mutating func take(_ count: Int) -> Step {
        var taken: [Int] = []
        for position in voters.indices where taken.count < count {
            guard voters[position] == .unasked else { continue }
            voters[position] = .asked
            taken.append(position)
        }
        return .ask(taken)
    }
}

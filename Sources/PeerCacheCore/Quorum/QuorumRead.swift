/// One read of a strict cache (`CONTRACT.md` §6.2): asks voters until R of them know nothing newer than the newest value held, and W nothing
/// older; those that lag are brought up first, so that no later read goes back behind this one.
///
/// A pure value. Voters are named by their position in the slot's list.
package struct QuorumRead: Sendable {
    package enum Step: Hashable, Sendable {
        /// Ask these; the first few are asked at once.
        case ask([Int])
        /// Ask this one for the value: it held the newest.
        case askForValue(Int)
        /// Bring these up to the value, and wait for their acks.
        case write(Stamp, to: [Int])
        case wait
        case hit(Stamp, valueFrom: Int)
        /// No value; `guard` is the highest stamp seen.
        case miss(guard: Stamp)
        /// Too few voters answered: nobody knows.
        case noQuorum
    }

    /// What a voter knows of the key.
    package struct Answer: Hashable, Sendable {
        /// Of what is held, else of what was dropped.
        package var guardStamp: Stamp
        package var isHeld: Bool
        package var isTombstone: Bool
        /// The answer brought the value.
        package var hasValue: Bool
        /// ``SourceVersion`` of what is held; 0: the cache has none.
        package var version: UInt64

        package init(guardStamp: Stamp, isHeld: Bool, isTombstone: Bool = false, hasValue: Bool = false, version: UInt64 = 0) {
            (self.guardStamp, self.isHeld) = (guardStamp, isHeld)
            (self.isTombstone, self.hasValue, self.version) = (isTombstone, hasValue, version)
        }

        /// Of two things held: by version, then by stamp.
        func isOlder(than other: Answer) -> Bool {
            version != other.version ? version < other.version : guardStamp < other.guardStamp
        }

        /// What the voter knows is not newer than what another one holds: it may have forgotten nothing better.
        func isNotNewer(than newest: Answer) -> Bool { isHeld || guardStamp <= newest.guardStamp }

        /// The voter holds nothing older, and takes nothing older in. Of versions a floor says nothing.
        func isNotOlder(than newest: Answer) -> Bool {
            isHeld ? !isOlder(than: newest) : newest.version == 0 && guardStamp >= newest.guardStamp
        }

        func isSame(as other: Answer) -> Bool { isHeld && guardStamp == other.guardStamp && version == other.version }
    }

    /// Of what ``Step/write(_:to:)`` brings voters up to.
    package private(set) var version: UInt64 = 0

    private enum Voter: Sendable {
        case unasked, asked, silent
        case answered(Answer)
    }

    private let scheme: QuorumScheme
    private let answersMin: Int
    private var voters: [Voter]
    private enum Write: Sendable, Equatable { case none, sent(version: UInt64), failed }
    /// Bringing up of each voter.
    private var writes: [Write]
    /// Asked for the value, and not heard of.
    private var asking: Int?
    /// Asked for the value before.
    private var tried: [Int] = []

    /// - Parameters:
    ///   - voters: how many are in the slot's list.
    ///   - answersMin: voters that must have answered before the key counts as missed; at least R.
    package init(_ scheme: QuorumScheme, voters: Int, answersMin: Int = 0) {
        self.scheme = scheme
        self.answersMin = max(answersMin, scheme.readFrom)
        self.voters = Array(repeating: .unasked, count: max(0, voters))
        writes = Array(repeating: .none, count: max(0, voters))
    }

    package mutating func answered(_ voter: Int, _ answer: Answer) {
        guard voters.indices.contains(voter) else { return }
        if asking == voter { asking = nil }
        voters[voter] = .answered(answer)
    }

    /// It does not answer, does not vote, or took nothing in.
    package mutating func failed(_ voter: Int) {
        guard voters.indices.contains(voter) else { return }
        if asking == voter { asking = nil }
        if case .sent = writes[voter] { writes[voter] = .failed }
        if case .answered = voters[voter] { return }  // what it said before still holds
        voters[voter] = .silent
    }

    /// It has taken the value in, or knows something newer; in caches without versions also: its floor is as high.
    package mutating func acked(_ voter: Int, _ stamp: Stamp) {
        guard voters.indices.contains(voter) else { return }
        guard case .sent(let version) = writes[voter] else { return }
        writes[voter] = .none
        let written = Answer(guardStamp: stamp, isHeld: true, version: version)
        if case .answered(let answer) = voters[voter], answer.isNotOlder(than: written) { return }
        voters[voter] = .answered(written)
    }

    /// Asks everybody else now: somebody takes long.
    package mutating func hurry() -> Step { take(voters.count) }

    /// What to do next; `.ask` and `.write` count as done.
    package mutating func next() -> Step {
        let answers = voters.enumerated().compactMap { position, voter -> (Int, Answer)? in
            if case .answered(let answer) = voter { (position, answer) } else { nil }
        }
        let isWaiting = voters.contains { if case .asked = $0 { true } else { false } }
        guard let newest = answers.map(\.1).filter(\.isHeld).max(by: { $0.isOlder(than: $1) }) else {
            if answers.count >= answersMin { return .miss(guard: answers.map(\.1.guardStamp).max() ?? .zero) }
            return askMore(max(scheme.votersMin, answersMin) - answers.count, isWaiting, otherwise: .noQuorum)
        }
        let stamp = newest.guardStamp
        let highest = answers.map(\.1.guardStamp).max() ?? .zero
        // Whoever dropped something newer may have forgotten better.
        guard answers.count(where: { $0.1.isNotNewer(than: newest) }) >= scheme.readFrom else {
            let otherwise = missed(answers.count, highest)
            return askMore(
                answers.count >= scheme.votersMin ? voters.count : scheme.votersMin - answers.count, isWaiting, otherwise: otherwise)
        }
        let source = answers.first { $0.1.isSame(as: newest) && ($0.1.hasValue || $0.1.isTombstone) }
        guard let source else {
            if asking != nil { return .wait }
            guard let holder = answers.first(where: { $0.1.isSame(as: newest) && !tried.contains($0.0) }) else {
                return missed(answers.count, highest)
            }
            tried.append(holder.0)
            asking = holder.0
            return .askForValue(holder.0)
        }
        if answers.count(where: { $0.1.isNotOlder(than: newest) }) >= scheme.ackedBy {
            return source.1.isTombstone ? .miss(guard: highest) : .hit(stamp, valueFrom: source.0)
        }
        let lagging = voters.indices.filter { position in
            if case .answered(let answer) = voters[position] { return !answer.isNotOlder(than: newest) && writes[position] == .none }
            return writes[position] == .none
        }
        let isWriting = writes.contains { if case .sent = $0 { true } else { false } }
        if lagging.isEmpty { return isWriting ? .wait : missed(answers.count, highest) }
        for position in lagging { writes[position] = .sent(version: newest.version) }
        version = newest.version
        return .write(stamp, to: lagging)
    }

    private func missed(_ answers: Int, _ highest: Stamp) -> Step { answers >= answersMin ? .miss(guard: highest) : .noQuorum }

    private mutating func askMore(_ count: Int, _ isWaiting: Bool, otherwise: Step) -> Step {
        let waiting = voters.count { if case .asked = $0 { true } else { false } }
        if waiting >= count { return .wait }
        let step = take(count - waiting)
        if case .ask(let more) = step, more.isEmpty { return isWaiting ? .wait : otherwise }
        return step
    }

    private mutating func take(_ count: Int) -> Step {
        var taken: [Int] = []
        for position in voters.indices where taken.count < count {
            guard case .unasked = voters[position] else { continue }
            voters[position] = .asked
            taken.append(position)
        }
        return .ask(taken)
    }
}

/// What callers did to one key and what they got, and whether one register that may forget explains it (`CONTRACT.md` §11).
///
/// Search with memory of (done, value) after Wing and Gong, "Testing and Verifying Concurrent Objects", 1993, and Lowe, "Testing for
/// Linearizability", 2017.
package struct RegisterHistory: Sendable {
    package enum Action: Hashable, Sendable {
        /// Each value is written once; nil: a removal.
        case write(Int?)
        /// A hit; a miss says nothing.
        case read(Int)
    }

    package struct Event: Hashable, Sendable {
        package var action: Action
        package var start: Int64
        /// `Int64.max`: it is not known whether or when it took effect.
        package var end: Int64

        package init(_ action: Action, start: Int64, end: Int64) { (self.action, self.start, self.end) = (action, start, end) }
    }

    package var events: [Event] = []
    /// Steps before the search gives up, which counts as a failure.
    package static let stepsMax = 200_000

    package init() {}

    private struct State: Hashable {
        var done: UInt64
        var value: Int?
    }

    /// Whether some order of the events, each within its time, explains every hit. At most 63 events.
    package var isLinearizable: Bool {
        guard events.count < 64 else { return false }
        let certain = events.indices.reduce(UInt64(0)) { events[$1].end < .max ? $0 | 1 << UInt64($1) : $0 }
        var seen: Set<State> = []  // asked for membership, never iterated
        var stack = [State(done: 0, value: nil)]
        var steps = 0
        while let state = stack.popLast() {
            if state.done & certain == certain { return true }
            guard seen.insert(state).inserted else { continue }
            steps += 1
            if steps > Self.stepsMax { return false }
            // Whatever began after some undone event had ended comes later than that.
            var limit = Int64.max
            for index in events.indices where state.done >> UInt64(index) & 1 == 0 { limit = min(limit, events[index].end) }
            for index in events.indices where state.done >> UInt64(index) & 1 == 0 && events[index].start <= limit {
                let done = state.done | 1 << UInt64(index)
                switch events[index].action {
                case .write(let value): stack.append(State(done: done, value: value))
                case .read(let value): if state.value == value { stack.append(State(done: done, value: value)) }
                }
            }
        }
        return false
    }
}

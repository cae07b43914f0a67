internal import DequeModule

/// How many chunks may be on their way: what is between the two ends, in the sockets' buffers above all, is ahead of every small item.
///
/// As many as fill the line without a queue, found as TCP Vegas does (Brakmo, O'Malley and Peterson, 1994): one more when all of them were
/// taken in about as fast as the fastest of late, one less when one takes half as long again. A value type under the connection's lock.
package struct ChunkWindow: Sendable {
    /// 6 MiB: 50 ms at a gigabit per second.
    package static let sizeMax = 24
    /// The fastest of so many chunks is what the next ones are compared with: lines change.
    private static let period = 512

    /// Chunks that may be on their way.
    package private(set) var size = 1
    /// Those that have not been taken in: when they were sent, in nanoseconds. The time of short ones says nothing.
    private var sent = Deque<(at: Int64, isWhole: Bool)>()
    /// When the last one was taken in.
    private var lastTaken = Int64.min
    /// The shortest time from sending a chunk until it was taken in, of this period and the one before; and of this one.
    private var shortest = Int64.max, shortestNow = Int64.max
    /// Chunks of this period.
    private var count = 0
    /// Chunks in a row that were taken in about as fast.
    private var fast = 0

    package init() {}

    package var isOpen: Bool { sent.count < size }

    /// Since when the next one waits without anything being taken in; nil: it need not wait.
    package var waitingSince: Int64? { isOpen ? nil : sent.first.map { max($0.at, lastTaken) } }

    package mutating func sent(at nanoseconds: Int64, isWhole: Bool = true) { sent.append((nanoseconds, isWhole)) }

    /// The peer has taken in so many. More than were sent count as those.
    package mutating func taken(_ count: Int, at nanoseconds: Int64) {
        let isFull = !isOpen
        for _ in 0..<min(max(0, count), sent.count) {
            guard let chunk = sent.popFirst() else { return }
            lastTaken = nanoseconds
            if chunk.isWhole { took(max(1, nanoseconds &- chunk.at), isFull: isFull) }
        }
    }

    private mutating func took(_ time: Int64, isFull: Bool) {
        count += 1
        (shortest, shortestNow) = (min(shortest, time), min(shortestNow, time))
        if count == Self.period {
            // With half the window there is no queue, which would be taken for the line.
            (shortest, shortestNow, count, size, fast) = (shortestNow, .max, 0, max(1, size / 2), 0)
        }
        let more = max(0, time - shortest)
        if more > shortest / 2 {
            (size, fast) = (max(1, size - 1), 0)
        } else if more > shortest / 4 {
            fast = 0
        } else if isFull {
            fast += 1
            if fast >= size { (size, fast) = (min(Self.sizeMax, size + 1), 0) }
        }
    }
}

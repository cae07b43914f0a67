internal import DequeModule

/// How many chunks may be on their way: what is between the two ends, in the sockets' buffers above all, is ahead of every small item.
///
/// As many as fill the line without a queue, found as TCP Vegas does (Brakmo, O'Malley and Peterson, 1994): one more when all of them were
/// taken in about as fast as the fastest one ever was, one less when one takes half as long again. A value type under the connection's lock.
package struct ChunkWindow: Sendable {
    /// 6 MiB: 50 ms at a gigabit per second.
    package static let sizeMax = 24

    /// Chunks that may be on their way.
    package private(set) var size = 1
    /// When those were sent that have not been taken in, in nanoseconds.
    private var sentAt = Deque<Int64>()
    /// The shortest time from sending a chunk until it was taken in.
    private var shortest = Int64.max
    /// Chunks in a row that were taken in about as fast.
    private var fast = 0

    package init() {}

    package var isOpen: Bool { sentAt.count < size }

    /// When the oldest was sent of those that the next one waits for; nil: it need not wait.
    package var waitingSince: Int64? { isOpen ? nil : sentAt.first }

    package mutating func sent(at nanoseconds: Int64) { sentAt.append(nanoseconds) }

    /// The peer has taken in so many. More than were sent count as those.
    package mutating func taken(_ count: Int, at nanoseconds: Int64) {
        for _ in 0..<min(max(0, count), sentAt.count) {
            guard let sent = sentAt.popFirst() else { return }
            let time = max(1, nanoseconds &- sent)
            shortest = min(shortest, time)
            if time - shortest > shortest / 2 {
                (size, fast) = (max(1, size - 1), 0)
            } else if time - shortest > shortest / 4 {
                fast = 0
            } else {
                fast += 1
                if fast >= size { (size, fast) = (min(Self.sizeMax, size + 1), 0) }
            }
        }
    }
}

/// Timers by time, then in the order in which they were set: a binary heap. There is no removal; whoever set a timer recognises a stale one
/// by its generation.
struct TimerQueue<Task: Sendable>: Sendable {
    struct Entry: Sendable {
        var at: Int64
        var order: UInt64
        var task: Task
    }
    private var heap: [Entry] = []
    private var order: UInt64 = 0

    var count: Int { heap.count }
    /// When the first one is due.
    var earliest: Int64? { heap.first?.at }

    /// O(log count).
    mutating func add(_ task: Task, at: Int64) {
        order &+= 1
        heap.append(Entry(at: at, order: order, task: task))
        var index = heap.count - 1
        while index > 0 {
            let parent = (index - 1) / 2
            guard precedes(index, parent) else { return }
            heap.swapAt(index, parent)
            index = parent
        }
    }

    /// Takes out the first one if it is due. O(log count).
    mutating func popDue(at now: Int64) -> Task? {
        guard let first = heap.first, first.at <= now else { return nil }
        let last = heap.removeLast()
        if heap.isEmpty { return first.task }
        heap[0] = last
        var index = 0
        while true {
            var smallest = index
            let left = 2 * index + 1, right = left + 1
            if left < heap.count, precedes(left, smallest) { smallest = left }
            if right < heap.count, precedes(right, smallest) { smallest = right }
            if smallest == index { return first.task }
            heap.swapAt(index, smallest)
            index = smallest
        }
    }

    /// Every timer later by so much: the order stays.
    mutating func delayAll(by nanoseconds: Int64) {
        for index in heap.indices {
            let (sum, overflow) = heap[index].at.addingReportingOverflow(nanoseconds)
            heap[index].at = overflow ? .max : sum
        }
    }

    private func precedes(_ one: Int, _ other: Int) -> Bool {
        heap[one].at != heap[other].at ? heap[one].at < heap[other].at : heap[one].order < heap[other].order
    }
}

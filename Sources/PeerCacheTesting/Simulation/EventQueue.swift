/// What is still to happen, ordered by (time, sequence): a binary heap of small keys beside a slab of payloads, so that sifting moves 24 bytes.
struct EventQueue<Payload> {
    private struct Key {
        var time: Int64
        var sequence: UInt64
        var slot: Int
    }
    private var heap: [Key] = []
    private var slab: [Payload?] = []
    private var free: [Int] = []
    private var sequence: UInt64 = 0

    var count: Int { heap.count }

    /// Time of the earliest entry in nanoseconds.
    var nextTime: Int64? { heap.first?.time }

    /// O(log entries). Entries of one time come out in the order in which they went in.
    mutating func push(_ payload: Payload, at time: Int64) {
        let slot: Int
        if let reused = free.popLast() {
            slot = reused
            slab[slot] = payload
        } else {
            slot = slab.count
            slab.append(payload)
        }
        sequence += 1
        heap.append(Key(time: time, sequence: sequence, slot: slot))
        siftUp()
    }

    /// O(log entries).
    mutating func pop() -> (time: Int64, payload: Payload)? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if !heap.isEmpty {
            heap[0] = last
            siftDown()
        }
        guard let payload = slab[first.slot] else { return nil }
        slab[first.slot] = nil
        free.append(first.slot)
        return (first.time, payload)
    }

    private static func isBefore(_ one: Key, _ other: Key) -> Bool {
        one.time != other.time ? one.time < other.time : one.sequence < other.sequence
    }

    private mutating func siftUp() {
        heap.withUnsafeMutableBufferPointer { heap in
            var child = heap.count - 1
            let key = heap[child]
            while child > 0 {
                let parent = (child - 1) / 2
                guard Self.isBefore(key, heap[parent]) else { break }
                heap[child] = heap[parent]
                child = parent
            }
            heap[child] = key
        }
    }

    private mutating func siftDown() {
        heap.withUnsafeMutableBufferPointer { heap in
            var parent = 0
            let key = heap[0]
            while true {
                var child = 2 * parent + 1
                guard child < heap.count else { break }
                if child + 1 < heap.count, Self.isBefore(heap[child + 1], heap[child]) { child += 1 }
                guard Self.isBefore(heap[child], key) else { break }
                heap[parent] = heap[child]
                parent = child
            }
            heap[parent] = key
        }
    }
}

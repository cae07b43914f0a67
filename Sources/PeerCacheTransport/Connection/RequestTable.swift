/// The requests in flight of one connection: id, deadline, and who waits. A value type under the connection's lock.
///
/// An id is a slot of the table and its generation, so an answer to an earlier user of the slot is recognised and dropped. The table
/// belongs to one connection: an answer that arrives on another connection can never be taken for one of this (`CONTRACT.md` I30).
package struct RequestTable<Waiter> {
    private enum State {
        case free(next: Int)
        case waiting(Waiter)
    }
    private struct Entry {
        var generation: UInt32
        var sentNanoseconds: Int64
        var deadlineNanoseconds: Int64
        var state: State
    }

    private var entries: [Entry] = []
    private var firstFree = -1
    private let countMax: Int
    /// Requests in flight.
    package private(set) var count = 0

    package init(countMax: Int) { self.countMax = countMax }

    /// Puts a waiter in under a new id; nil when `countMax` requests are in flight. O(1).
    package mutating func insert(_ waiter: Waiter, nowNanoseconds: Int64, deadlineNanoseconds: Int64) -> UInt64? {
        guard count < countMax else { return nil }
        count += 1
        var index = entries.count
        if firstFree >= 0, case .free(let next) = entries[firstFree].state {
            index = firstFree
            firstFree = next
            entries[index].sentNanoseconds = nowNanoseconds
            entries[index].deadlineNanoseconds = deadlineNanoseconds
            entries[index].state = .waiting(waiter)
        } else {
            entries.append(
                Entry(
                    generation: 1, sentNanoseconds: nowNanoseconds, deadlineNanoseconds: deadlineNanoseconds, state: .waiting(waiter)))
        }
        return Self.id(index, entries[index].generation)
    }

    /// Whether somebody waits under this id. O(1).
    package func isWaiting(_ id: UInt64) -> Bool {
        guard let index = index(of: id), case .waiting = entries[index].state else { return false }
        return true
    }

    /// Takes the waiter out: answered, failed, or giving up. Nil when nobody waits under this id (late, unknown, repeated).
    package mutating func take(_ id: UInt64) -> Waiter? {
        guard let index = index(of: id), case .waiting(let waiter) = entries[index].state else { return nil }
        release(index)
        return waiter
    }

    /// Takes out all whose deadline has passed, and all that were sent before `sentBefore`. O(table).
    package mutating func takeExpired(nowNanoseconds: Int64, sentBefore: Int64) -> [(id: UInt64, waiter: Waiter)] {
        guard count > 0 else { return [] }
        var expired: [(UInt64, Waiter)] = []
        for index in entries.indices
        where entries[index].deadlineNanoseconds <= nowNanoseconds || entries[index].sentNanoseconds < sentBefore {
            if case .waiting(let waiter) = entries[index].state {
                expired.append((Self.id(index, entries[index].generation), waiter))
                release(index)
            }
        }
        return expired
    }

    /// Takes out everybody: the connection ended.
    package mutating func takeAll() -> [Waiter] {
        var all: [Waiter] = []
        for index in entries.indices {
            if case .waiting(let waiter) = entries[index].state {
                all.append(waiter)
                release(index)
            }
        }
        return all
    }

    private mutating func release(_ index: Int) {
        entries[index].generation = entries[index].generation == .max ? 1 : entries[index].generation + 1
        entries[index].state = .free(next: firstFree)
        firstFree = index
        count -= 1
    }

    private func index(of id: UInt64) -> Int? {
        let index = Int(id & 0xFFFF_FFFF) - 1
        guard entries.indices.contains(index), entries[index].generation == UInt32(id >> 32) else { return nil }
        if case .free = entries[index].state { return nil }
        return index
    }

    /// Never 0, which on the wire means that no answer is wanted.
    private static func id(_ index: Int, _ generation: UInt32) -> UInt64 { UInt64(generation) << 32 | UInt64(index + 1) }
}

/// Which peers may have near copies of the keys that this peer answers for: the directory of a directory-based coherence protocol (Censier and
/// Feautrier, "A New Solution to Coherence Problems in Multicache Systems", IEEE Transactions on Computers, 1978).
///
/// Of a fixed size: four entries to a set, and what finds its set full displaces the entry that would be over first, whose sharers must be told
/// to drop their copies. Sharers are a set of up to 64 bits; what a bit stands for is the caller's.
package struct SharerDirectory: Sendable {
    private struct Entry {
        var hash: UInt64 = 0
        /// 0: the entry is free.
        var sharers: UInt64 = 0
        /// Clock of the newest stamp that was shared.
        var clock: UInt64 = 0
        /// When the last copy is over, in milliseconds.
        var until: UInt64 = 0
    }
    private static let ways = 4
    /// Of one entry.
    package static let entryBytes = MemoryLayout<Entry>.stride

    /// What had to give way.
    package struct Displaced: Equatable, Sendable {
        package var hash: UInt64
        package var sharers: UInt64

        package init(hash: UInt64, sharers: UInt64) {
            self.hash = hash
            self.sharers = sharers
        }
    }

    /// Empty until the first copy is shared: many peers share none.
    private var entries: [Entry] = []
    private let setCount: Int

    /// - Parameter bytesMax: rounded down to a power of two, at least one set.
    package init(bytesMax: Int) {
        var count = 1
        while count * 2 <= bytesMax / (Self.ways * Self.entryBytes) { count *= 2 }
        setCount = count
    }

    /// Most entries there can be.
    package var capacity: Int { setCount * Self.ways }

    /// Notes that sharers get copies of a key. O(1).
    /// - Parameters:
    ///   - clock: of the copies' stamp.
    ///   - until: when they are over; `now` and this in milliseconds.
    package mutating func share(_ hash: UInt64, clock: UInt64, with sharers: UInt64, until: UInt64, now: UInt64) -> Displaced? {
        if entries.isEmpty { entries = Array(repeating: Entry(), count: capacity) }
        let first = first(of: hash)
        var victim = first
        for index in first..<first + Self.ways {
            if entries[index].sharers != 0, entries[index].hash == hash {
                entries[index].sharers |= sharers
                entries[index].clock = max(entries[index].clock, clock)
                entries[index].until = max(entries[index].until, until)
                return nil
            }
            if isFree(index, now) || (!isFree(victim, now) && entries[index].until < entries[victim].until) { victim = index }
        }
        let old = entries[victim], isFree = isFree(victim, now)
        entries[victim] = Entry(hash: hash, sharers: sharers, clock: clock, until: until)
        return isFree ? nil : Displaced(hash: old.hash, sharers: old.sharers)
    }

    /// Who must be told that a key has changed. The entry stays when what it shared is not older: then some have the new content. O(1).
    package mutating func changed(_ hash: UInt64, clock: UInt64, now: UInt64) -> UInt64 {
        guard !entries.isEmpty else { return 0 }
        let first = first(of: hash)
        for index in first..<first + Self.ways where entries[index].sharers != 0 && entries[index].hash == hash {
            let sharers = isFree(index, now) ? 0 : entries[index].sharers
            if entries[index].clock < clock { entries[index].sharers = 0 }
            return sharers
        }
        return 0
    }

    /// All sharers have been told to drop everything.
    package mutating func removeAll() { entries = [] }

    private func isFree(_ index: Int, _ now: UInt64) -> Bool { entries[index].sharers == 0 || entries[index].until <= now }

    private func first(of hash: UInt64) -> Int { Int(truncatingIfNeeded: hash & UInt64(setCount - 1)) * Self.ways }
}

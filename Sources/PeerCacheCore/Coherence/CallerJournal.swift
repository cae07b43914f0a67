/// What a caller wrote and knows only its owner to have: until there is a copy, it can tell the next owner that what that one holds is
/// older (`CONTRACT.md` §5.2). Bounded.
package struct CallerJournal: Sendable {
    package struct Entry: Sendable, Hashable {
        package var cache: CacheIndex
        package var key: [UInt8]
        package var stamp: Stamp

        package init(cache: CacheIndex, key: [UInt8], stamp: Stamp) {
            self.cache = cache
            self.key = key
            self.stamp = stamp
        }

        /// In bytes, as charged.
        var cost: Int { key.count + 64 }
    }
    private var byOwner: [PeerID: [Entry]] = [:]
    package private(set) var count = 0
    private var cost = 0
    private let countMax: Int
    private let bytesMax: Int

    package init(countMax: Int = 65_536, bytesMax: Int = 4 << 20) {
        self.countMax = countMax
        self.bytesMax = bytesMax
    }

    /// Owners of entries, in id order.
    package var owners: [PeerID] { byOwner.keys.sorted() }

    /// False: there is no room.
    package mutating func note(_ entry: Entry, at owner: PeerID) -> Bool {
        guard count < countMax, cost + entry.cost <= bytesMax else { return false }
        byOwner[owner, default: []].append(entry)
        count += 1
        cost += entry.cost
        return true
    }

    /// The owner's writes up to this clock have copies. O(entries of the owner).
    package mutating func copied(through clock: UInt64, by owner: PeerID) {
        guard let entries = take(of: owner) else { return }
        for entry in entries where entry.stamp.clock > clock { _ = note(entry, at: owner) }
    }

    /// Takes out the entries of an owner that is gone.
    package mutating func take(of owner: PeerID) -> [Entry]? {
        guard let entries = byOwner.removeValue(forKey: owner) else { return nil }
        count -= entries.count
        cost -= entries.reduce(0) { $0 + $1.cost }
        return entries
    }
}

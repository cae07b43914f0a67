/// Counts inserts in eras of a sixteenth of a turnover. An entry carries the era in which it was last put to the front of a list, so a hit
/// in the same era needs no move and writes nothing (`STORE.md` §7).
///
/// Inserts and not seconds: without inserts nothing moves, and where the list turns over faster than a fixed interval, an interval would
/// turn LRU into FIFO.
package struct EraClock {
    package private(set) var era: UInt8 = 0
    private var inserts = 0

    package init() {}

    /// - Parameter entries: how many there are.
    /// - Returns: whether a new era begins.
    @inline(__always) @discardableResult
    package mutating func inserted(entries: Int) -> Bool {
        inserts &+= 1
        guard inserts >= max(1, entries &>> 4) else { return false }
        inserts = 0
        era &+= 1
        return true
    }
}
